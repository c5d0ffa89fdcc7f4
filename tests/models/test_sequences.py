"""Heads that read a sequence: their answers against formulas written out, gaps, and that each of them learns."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError, ShapeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Outer
from fewshot.models import make_head, mlp
from fewshot.models.heads import ABSENT
from fewshot.models.sequences import MemoryCell, RecurrentHead, SequenceHead, SnailHead

KINDS = ("lstm", "mann", "snail")
RNG = np.random.default_rng(8)
LABELS = np.array([0, 0, 1, 1, 2], "int32")
X = RNG.standard_normal((5, 4)).astype("float32")
Q = RNG.standard_normal((6, 4)).astype("float32")


def made(kind: str, shots: int = 2) -> Any:
    keras.utils.set_random_seed(3)
    head = make_head(kind, outputs=3, shots=shots)
    head.build_for(4)
    return head


def layer_of(head: SequenceHead, y: np.ndarray = LABELS, weight: np.ndarray | None = None) -> list[tf.Tensor]:
    given = None if weight is None else tf.constant(weight, tf.float32)
    return head.start(tf.constant(X[: len(y)]), tf.constant(y), 3, given)


def answers(head: SequenceHead, layer: list[tf.Tensor], queries: np.ndarray = Q) -> np.ndarray:
    return head.read(tf.constant(queries), layer).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_every_query_is_asked_apart(kind: str) -> None:
    head = made(kind)
    layer = layer_of(head)
    alone = np.concatenate([answers(head, layer, query[None]) for query in Q])
    np.testing.assert_allclose(answers(head, layer), alone, rtol=1e-4, atol=1e-6)
    assert np.ptp(alone, axis=0).max() > 1e-4, "and answers differ from query to query"


@pytest.mark.parametrize("kind", KINDS)
def test_answers_depend_on_the_labels_and_not_on_what_does_not_count(kind: str) -> None:
    head = made(kind)
    found = answers(head, layer_of(head))
    assert np.abs(answers(head, layer_of(head, np.array([1, 0, 2, 1, 0], "int32"))) - found).max() > 1e-4
    four = answers(head, layer_of(head, LABELS[:4]))
    ignored = np.array([0, 0, 1, 1, -1], "int32")
    np.testing.assert_allclose(answers(head, layer_of(head, ignored)), four, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(answers(head, layer_of(head, weight=ignored >= 0)), four, rtol=1e-4, atol=1e-6)
    assert (four[:, 2] < ABSENT / 2).all(), "a class that nothing shows is ruled out"
    assert (found[:, 2] > ABSENT / 2).all()


@pytest.mark.parametrize("kind", ["lstm", "mann"])
def test_recurrent_heads_take_a_step_an_example_and_pass_over_gaps(kind: str) -> None:
    head: RecurrentHead = made(kind)
    layer = layer_of(head)  # the third class has one example of two
    cell, memory = head.network.cell, layer[0].numpy()
    states = cell.get_initial_state(batch_size=1)
    for place, label in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        _, states = cell(tf.constant(np.r_[memory[place, :, label], np.eye(3)[label]][None], tf.float32), states)
    said = [cell(tf.constant(np.r_[query, 0, 0, 0][None], tf.float32), states)[0] for query in Q]
    np.testing.assert_allclose(answers(head, layer), head.out(tf.concat(said, axis=0)), rtol=1e-4, atol=1e-5)


def test_a_memory_is_written_and_found_as_in_the_paper() -> None:
    keras.utils.set_random_seed(4)
    cell = MemoryCell()
    cell.build((None, 5))
    hidden, inner, _, usage, reading = (RNG.random(state.shape) for state in cell.get_initial_state(2))
    memory = RNG.standard_normal((2, cell.slots, cell.width))
    reading /= reading.sum(axis=-1, keepdims=True)
    states = [tf.constant(state, tf.float32) for state in (hidden, inner, memory, usage, reading)]
    element = tf.constant(RNG.random((2, 5)), tf.float32)
    output, (after, _, *_, used, read) = cell(element, states)

    keys = cell.key(after).numpy().reshape(2, cell.heads, cell.width)
    gate = cell.gate(after).numpy()[:, :, None]
    least = np.zeros((2, cell.heads, cell.slots))
    for task, order in enumerate(usage.argsort(axis=1)[:, : cell.heads]):
        memory[task, order] = 0
        least[task, np.arange(cell.heads), order] = 1
    write = gate * reading + (1 - gate) * least
    memory = memory + np.einsum("nhs,nhw->nsw", write, keys)
    unit, asked = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (memory, keys))
    near = np.exp(10 * np.einsum("nhw,nsw->nhs", asked, unit))
    near /= near.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(read, near, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(used, 0.95 * usage + (near + write).sum(axis=1), rtol=1e-4)
    found = np.einsum("nhs,nsw->nhw", near, memory).reshape(2, -1)
    np.testing.assert_allclose(output, np.concatenate([after, found], axis=1), rtol=1e-3, atol=1e-5)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def dense(layer: keras.layers.Dense, rows: np.ndarray) -> np.ndarray:
    return rows @ layer.kernel.numpy() + layer.bias.numpy()


def test_snail_is_a_causal_network_on_the_sequence_with_the_query_at_its_end() -> None:
    head: SnailHead = made("snail")
    layer = layer_of(head, np.array([0, 0, 1, 1, 2], "int32"))
    memory = layer[0].numpy()
    labels = np.concatenate([np.tile(np.eye(3), (2, 1)), np.zeros((1, 3))])
    rows = np.concatenate([memory.transpose(0, 2, 1).reshape(6, 4), Q[:1]])
    rows = np.concatenate([rows, labels], axis=1)
    rows[5] = 0  # the gap
    seen = np.tril(np.ones((7, 7), bool))
    seen[:, 5] = False
    np.fill_diagonal(seen, True)  # noqa: FBT003 (NumPy's signature)
    for block in head.blocks:
        if hasattr(block, "dilation"):
            before = np.concatenate([np.zeros((block.dilation, rows.shape[1])), rows])[:7]
            both = np.concatenate([before, rows], axis=1)
            added = np.tanh(dense(block.content, both)) * sigmoid(dense(block.gate, both))
        else:
            scores = dense(block.question, rows) @ dense(block.key, rows).T / block.key.units**0.5
            shares = np.where(seen, np.exp(scores - scores.max(axis=1, keepdims=True)), 0)
            added = shares / shares.sum(axis=1, keepdims=True) @ dense(block.value, rows)
        rows = np.concatenate([rows, added], axis=1)
    assert [block.dilation for block in head.blocks if hasattr(block, "dilation")] == [1, 2, 4, 1, 2, 4]
    np.testing.assert_allclose(answers(head, layer)[0], dense(head.out, rows)[6], rtol=1e-3, atol=1e-5)


def learner(kind: str, **parts: Any) -> MetaLearner:
    head = make_head(kind, outputs=2, shots=1)
    return MetaLearner(mlp((4,), units=(16,), normalization="none"), head, InnerRates(), InnerLoop(steps=0), **parts)


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(RecipeError, match="'snail' needs the number of classes"):
        make_head("snail")
    with pytest.raises(RecipeError, match="Reptile moves the start"):
        learner("lstm", outer=Outer("reptile"))
    with pytest.raises(RecipeError, match="takes no inner steps"):
        learner("mann", evaluation_steps=2)
    head = made("lstm")
    with pytest.raises(ShapeError, match="pictures alone"):
        head.read(tf.zeros([1, 2, 2, 4]), layer_of(head))


def draw_tasks(tasks: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Two classes, each a direction of its own in every task, numbered at random: only the support tells which."""
    centre = 2 * RNG.standard_normal((tasks, 2, 4))
    support_y = np.tile(np.array([0, 1], "int32"), (tasks, 1))
    query_y = RNG.integers(0, 2, (tasks, 8)).astype("int32")
    near = [np.take_along_axis(centre, y[:, :, None], axis=1) for y in (support_y, query_y)]
    x = [part + 0.3 * RNG.standard_normal(part.shape) for part in near]
    return (x[0].astype("float32"), support_y, x[1].astype("float32")), query_y


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_learns_to_tell_classes_that_it_has_never_seen(kind: str) -> None:
    keras.utils.set_random_seed(2)
    model = learner(kind)
    model.compile(
        keras.optimizers.Adam(3e-3, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*draw_tasks(1200), batch_size=4, epochs=1, verbose=0)
    assert model.evaluate(*draw_tasks(160), batch_size=4, verbose=0, return_dict=True)["accuracy"] > 0.85
