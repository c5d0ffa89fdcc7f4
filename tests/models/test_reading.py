"""Heads that read: their answers against formulas written out, and what a memory keeps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_head, mlp
from fewshot.models.heads import ABSENT, Head
from fewshot.models.reading import ALPHA, KEPT

KINDS = ("matching", "siamese", "relation", "propagation")
RNG = np.random.default_rng(6)
LABELS = np.array([0, 0, 0, 1, 1, 2], "int32")
X = RNG.standard_normal((6, 4)).astype("float32")
Q = RNG.standard_normal((5, 4)).astype("float32")
SHARES = np.array([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1])


def made(kind: str) -> Head:
    head = make_head(kind)
    tf.random.set_seed(3)
    head.build_for(4)
    for variable in head.trainable_variables:
        variable.assign(variable + 0.3 * RNG.standard_normal(variable.shape))
    return head


def answers(head: Head, x: np.ndarray = X, y: np.ndarray = LABELS, weight: np.ndarray | None = None) -> np.ndarray:
    given = None if weight is None else tf.constant(weight, tf.float32)
    return head.read(tf.constant(Q), head.start(tf.constant(x), tf.constant(y), int(y.max()) + 1, given)).numpy()


def by_class(scores: np.ndarray) -> np.ndarray:
    """Sum what each example [queries, n] gives its class."""
    return scores @ np.eye(3)[LABELS]


def test_matching_is_the_attention_on_each_class_of_equal_part() -> None:
    head = made("matching")
    unit, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Q))
    attention = SHARES * np.exp(np.exp(head.log_scale.numpy()) * queries @ unit.T)
    expected = by_class(attention / attention.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(tf.nn.softmax(answers(head)), expected, rtol=1e-4, atol=1e-6)
    head.log_scale.assign(8.0)  # a scale so large that the nearest example alone answers
    np.testing.assert_array_equal(answers(head).argmax(axis=1), LABELS[(queries @ unit.T).argmax(axis=1)])


def test_siamese_is_the_mean_of_the_pairs() -> None:
    head = made("siamese")
    pairs = np.abs(Q[:, None] - X[None]) @ head.difference.numpy() + head.same.numpy()
    np.testing.assert_allclose(answers(head), by_class(SHARES * pairs), rtol=1e-4, atol=1e-5)


def test_relation_compares_with_class_means() -> None:
    head = made("relation")
    means = np.stack([X[label == LABELS].mean(axis=0) for label in range(3)])
    queries = Q @ head.query_kernel.numpy() + head.hidden_bias.numpy()
    hidden = np.maximum(queries[:, None] + (means @ head.class_kernel.numpy())[None], 0)
    np.testing.assert_allclose(answers(head), (hidden @ head.relation.numpy())[..., 0], rtol=1e-4, atol=1e-5)


def test_propagation_solves_for_the_labels_that_reach_each_query() -> None:
    head = made("propagation")
    head.scale_bias.assign(2.0)  # no example is alone in float64
    nodes = np.concatenate([X, Q])
    scale = np.maximum(nodes @ head.scale_kernel.numpy(), 0) @ head.scale_out.numpy() + head.scale_bias.numpy()
    scaled = nodes / (np.log1p(np.exp(scale)) + 1e-6)
    edges = np.exp(-((scaled[:, None] - scaled[None]) ** 2).sum(axis=-1) / 2)
    np.fill_diagonal(edges, 0)  # eleven nodes are all neighbours
    root = edges.sum(axis=1) ** -0.5
    given = np.zeros((11, 3))
    given[np.arange(6), LABELS] = SHARES
    reached = np.linalg.solve(np.eye(11) - ALPHA * root[:, None] * edges * root, given)
    np.testing.assert_allclose(answers(head), reached[6:], rtol=1e-3, atol=1e-4)
    alone = head.read(tf.constant(Q[:1]), head.start(tf.constant(X), tf.constant(LABELS), 3)).numpy()
    assert np.abs(alone - answers(head)[:1]).max() > 1e-3, "the other queries are part of the graph"


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_count_is_left_out_and_absent_classes_are_ruled_out(kind: str) -> None:
    head = made(kind)
    kept = np.arange(6) != 1
    alone = answers(head, X[kept], LABELS[kept])
    np.testing.assert_allclose(answers(head, y=np.where(kept, LABELS, -1)), alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answers(head, weight=kept.astype("float32")), alone, rtol=1e-4, atol=1e-5)
    apart = answers(head, y=np.array([0, 2, 3], "int32")[LABELS])
    np.testing.assert_allclose(apart[:, [0, 2, 3]], answers(head), rtol=1e-4, atol=1e-5)
    assert (apart[:, 1] < ABSENT / 2).all()


@pytest.mark.parametrize("kind", ["matching", "siamese", "propagation"])
def test_a_memory_keeps_some_of_each_class_the_same_ones_every_time(kind: str) -> None:
    head = made(kind)
    labels = np.r_[np.zeros(500, "int32"), np.ones(3, "int32")]
    x = tf.constant(RNG.standard_normal((503, 4)), tf.float32)
    memory, shares = head.start(x, tf.constant(labels), 2)
    assert memory.shape == (KEPT, 4, 2)
    assert (shares.numpy() > 0).sum(axis=0).tolist() == [KEPT, 3]
    np.testing.assert_allclose(tf.reduce_sum(shares, axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(head.start(x, tf.constant(labels), 2)[0], memory)


def test_a_memory_keeps_as_many_as_it_is_told_to() -> None:
    head = make_head("matching", kept=5)
    head.build_for(4)
    labels = np.r_[np.zeros(500, "int32"), np.ones(3, "int32")]
    memory, shares = head.start(tf.constant(RNG.standard_normal((503, 4)), tf.float32), tf.constant(labels), 2)
    assert memory.shape == (5, 4, 2)
    assert (shares.numpy() > 0).sum(axis=0).tolist() == [5, 3]
    with pytest.raises(RecipeError, match=r"learner.kept = 0"):
        make_head("siamese", kept=0)


def test_labels_reach_examples_that_are_all_far_from_each_other() -> None:
    nodes = np.concatenate([np.concatenate([X, Q]), 15 * np.eye(11)], axis=1).astype("float32")
    squares = ((nodes[:, None] - nodes[None]).astype("float64") ** 2).sum(axis=-1)
    assert np.exp(-squares[0, 1] / 2).astype("float32") == 0
    edges = np.exp(-squares / 2) * (1 - np.eye(11))
    root = edges.sum(axis=1) ** -0.5
    given = np.concatenate([SHARES[:, None] * np.eye(3)[LABELS], np.zeros((5, 3))])
    reached = np.linalg.solve(np.eye(11) - ALPHA * root[:, None] * edges * root, given)
    head = make_head("propagation")
    head.build_for(15)
    head.scale_out.assign(tf.zeros_like(head.scale_out))
    head.scale_bias.assign(np.log(np.expm1(1)))  # every scale is 1
    layer = head.start(tf.constant(nodes[:6]), tf.constant(LABELS), 3)
    np.testing.assert_allclose(head.read(tf.constant(nodes[6:]), layer), reached[6:], rtol=1e-2)


def test_pixels_are_examples_and_queries() -> None:
    head = made("matching")
    windows, labels = X.reshape(3, 2, 1, 4), LABELS.reshape(3, 2, 1)
    layer = head.start(tf.constant(windows), tf.constant(labels), 3)
    found = head.read(tf.constant(Q[:4].reshape(1, 2, 2, 4)), layer).numpy()
    np.testing.assert_allclose(found.reshape(4, 3), answers(head)[:4], rtol=1e-4, atol=1e-5)


def learner(kind: str, steps: int = 0) -> MetaLearner:
    body = conv4((8, 8, 1), filters=4, blocks=2, normalization="support")
    return MetaLearner(body, make_head(kind), InnerRates(), InnerLoop(steps=steps))


def test_they_take_no_steps_and_label_propagation_is_declared_transductive() -> None:
    assert [learner(kind).transductive for kind in KINDS] == [False, False, False, True]
    with pytest.raises(RecipeError, match="takes no inner steps"):
        learner("matching", steps=1)
    body = mlp((4,), units=(4,))
    with pytest.raises(RecipeError, match="takes no inner steps"):
        MetaLearner(body, make_head("relation"), InnerRates(), InnerLoop(steps=0), evaluation_steps=2)


@pytest.mark.parametrize("kind", KINDS)
def test_more_steps_than_none_change_nothing(kind: str) -> None:
    """A client may ask for steps; nothing moves."""
    images = RNG.random((1, 6, 8, 8, 1)).astype("float32")
    found = learner(kind).predict_after((images, LABELS[None], images), [0, 2]).numpy()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)
