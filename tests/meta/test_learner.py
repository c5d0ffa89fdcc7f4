"""The meta-learner as a Keras model: fit, predict, divergence, heads, devices, precision."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import DivergedError, RecipeError, ShapeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.meta.baselines import fine_tuner
from fewshot.meta.nearest import nearest_neighbour
from fewshot.models import conv4, make_head, mlp, unet
from fewshot.models.heads import ABSENT

IMAGE = (8, 8, 1)


def make(  # noqa: PLR0913 (each test names what it is about)
    head: str = "prototype",
    *,
    normalization: str = "support",
    steps: int = 2,
    rate: float = 0.1,
    adapts: str = "all",
    rates: str = "per_parameter",
) -> MetaLearner:
    keras.utils.set_random_seed(0)
    return MetaLearner(
        conv4(IMAGE, filters=4, blocks=2, normalization=normalization),
        make_head(head, outputs=3),
        InnerRates(rates, initial=rate, steps=steps),
        InnerLoop(steps=steps),
        adapts=adapts,
    )


def episodes(tasks: int = 2, ways: int = 3, shots: int = 2, queries: int = 4) -> tuple:
    """Classes differ in brightness; images are otherwise noise."""
    rng = np.random.default_rng(1)
    sy, qy = np.repeat(np.arange(ways, dtype="int32"), shots), np.repeat(np.arange(ways, dtype="int32"), queries)

    def images(labels: np.ndarray) -> np.ndarray:
        noise = rng.random((tasks, len(labels), *IMAGE))
        return (noise * 0.5 + labels[None, :, None, None, None] / ways).astype("float32")

    return (images(sy), np.tile(sy, (tasks, 1)), images(qy)), np.tile(qy, (tasks, 1))


def compile_(learner: MetaLearner) -> MetaLearner:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    learner.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    return learner


def test_fit_lowers_the_loss_and_predict_returns_logits() -> None:
    learner = compile_(make())
    x, y = episodes()
    history = learner.fit(tf.data.Dataset.from_tensors((x, y)).repeat(30), verbose=0, epochs=2, steps_per_epoch=15)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert learner.evaluate(tf.data.Dataset.from_tensors((x, y)), verbose=0)[1] > 0.8
    from_arrays = learner.predict(x, batch_size=2, verbose=0)
    from_batches = learner.predict(tf.data.Dataset.from_tensors((x,)), verbose=0)
    assert from_arrays.shape == (2, 12, 3)
    np.testing.assert_allclose(from_arrays, from_batches, atol=1e-5)


@pytest.mark.parametrize("head", ["shared", "prototype"])
@pytest.mark.parametrize("ways", [2, 3, 7])
def test_heads_take_any_number_of_classes(head: str, ways: int) -> None:
    x, _ = episodes(ways=ways)
    assert make(head)(x).shape == (2, 4 * ways, ways)


@pytest.mark.parametrize("head", ["shared", "prototype"])
def test_heads_are_indifferent_to_the_order_of_classes(head: str) -> None:
    learner = make(head)
    (sx, sy, qx), _ = episodes()
    order = np.array([2, 0, 1], "int32")
    straight, permuted = learner((sx, sy, qx)).numpy(), learner((sx, order[sy], qx)).numpy()
    np.testing.assert_allclose(permuted[..., order], straight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalization", ["support", "task", "instance", "group", "none"])
def test_inductive_predictions_do_not_depend_on_other_queries(normalization: str) -> None:
    learner = make(normalization=normalization)
    assert not learner.transductive
    (sx, sy, qx), _ = episodes()
    together, alone = learner((sx, sy, qx)).numpy(), learner((sx, sy, qx[:, :1])).numpy()
    np.testing.assert_allclose(together[:, :1], alone, rtol=1e-4, atol=1e-5)


def test_batch_statistics_are_declared_transductive_and_are() -> None:
    learner = make(normalization="batch")
    assert learner.transductive
    (sx, sy, qx), _ = episodes()
    together, alone = learner((sx, sy, qx)).numpy(), learner((sx, sy, qx[:, :1])).numpy()
    assert np.abs(together[:, :1] - alone).max() > 1e-3


def test_prototypes_without_steps_are_a_prototypical_network() -> None:
    learner = make(steps=0, normalization="none")
    (sx, sy, qx), _ = episodes(tasks=1)
    support, query = learner.body(sx[0]).numpy(), learner.body(qx[0]).numpy()
    means = np.stack([support[sy[0] == c].mean(0) for c in range(3)])
    nearest = ((query[:, None] - means[None]) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(learner((sx, sy, qx)).numpy()[0].argmax(-1), nearest)


def test_a_restricted_fixed_head_answers_only_with_classes_shown() -> None:
    keras.utils.set_random_seed(0)
    learner = MetaLearner(
        mlp(IMAGE, units=(8,)),
        make_head("fixed", outputs=6, restrict=True),
        InnerRates(initial=0.1),
        InnerLoop(steps=1),
    )
    (sx, sy, qx), _ = episodes()
    assert set(np.unique(learner((sx, sy + 2, qx)).numpy().argmax(-1))) <= {2, 3, 4}


def test_what_adapts() -> None:
    for adapts, still in (("head", lambda name: True), ("no_normalization", lambda name: name in ("gamma", "beta"))):
        learner = make("fixed", adapts=adapts)
        entries = learner.inner_rates.values()
        for variable, entry in zip(learner.body.trainable_variables, entries, strict=False):
            assert (entry is None) == still(variable.name)
        assert entries[-1] is not None
    with pytest.raises(RecipeError, match="no_normalization"):
        make(adapts="body")


@pytest.mark.slow
def test_a_curve_passes_through_the_single_results() -> None:
    learner = make("fixed", steps=3, rates="per_tensor")
    x, _ = episodes()
    curve = learner.predict_after(x, [0, 1, 3]).numpy()
    for position, steps in enumerate([0, 1, 3]):
        np.testing.assert_allclose(curve[position], learner.predict_after(x, [steps]).numpy()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_many_tasks_and_unknown_numbers_of_tasks_give_the_same() -> None:
    """More tasks than run side by side, and a number known only when the graph runs."""
    learner = make()
    x, _ = episodes(tasks=10)
    one_by_one = np.concatenate([learner(tuple(part[i : i + 1] for part in x)) for i in range(10)])
    np.testing.assert_allclose(learner(x), one_by_one, rtol=1e-4, atol=1e-5)
    signature = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in x]
    unknown = tf.function(lambda *parts: learner(parts), input_signature=signature)
    np.testing.assert_allclose(unknown(*x), one_by_one, rtol=1e-4, atol=1e-5)


def test_divergence_in_training_has_a_remedy() -> None:
    learner = compile_(make(normalization="none", rate=1e30, rates="constant", head="fixed"))
    x, y = episodes()
    with pytest.raises(DivergedError, match=r"inner step 1 .*inner.rate|inner step 1 .*rate"):
        learner.fit(tf.data.Dataset.from_tensors((x, y)), verbose=0)


def test_inputs_must_hold_the_same_number_of_tasks() -> None:
    (sx, sy, qx), _ = episodes()
    with pytest.raises(ShapeError, match="same number of tasks"):
        make().predict_after((sx, sy, qx[:1]), [1])


def test_example_weights_reach_the_inner_loss() -> None:
    learner = make("fixed")
    (sx, sy, qx), _ = episodes()
    even = learner((sx, sy, qx)).numpy()
    np.testing.assert_allclose(learner((sx, sy, qx, np.full(sy.shape, 2.0, "float32"))), even, rtol=1e-4, atol=1e-5)
    uneven = np.where(sy == 0, 1.0, 0.1).astype("float32")
    assert np.abs(learner((sx, sy, qx, uneven)).numpy() - even).max() > 1e-3


@pytest.mark.parametrize("pixels", [False, True])
def test_prototypes_are_weighted_means(pixels: bool) -> None:
    """A weight counts before the first step too, and one of 0 makes no prototype."""
    rng = np.random.default_rng(5)
    head = make_head("prototype")
    head.build_for(4)
    shape = (6, 3, 3) if pixels else (6,)
    features = rng.standard_normal((*shape, 4)).astype("float32")
    labels = np.broadcast_to(np.array([0, 0, 1, 1, 2, -1]).reshape(-1, *[1] * (len(shape) - 1)), shape).astype("int32")
    weight = np.array([1, 3, 0, 2, 0, 1], "float32").reshape(-1, *[1] * (len(shape) - 1))
    kernel, bias = head.start(tf.constant(features), tf.constant(labels), 3, tf.constant(weight))
    whole = np.broadcast_to(weight, shape)
    scale = 2 * np.exp(float(head.log_temperature))
    for label in (0, 1):
        mean = np.average(features[labels == label], axis=0, weights=whole[labels == label])
        np.testing.assert_allclose(kernel[:, label] / scale, mean, atol=1e-6)
        np.testing.assert_allclose(bias[label], -scale / 2 * (mean**2).sum(), rtol=1e-5)
    assert bias[2] < ABSENT / 2, "the only example of the class counts nothing, so that it is ruled out"


def test_cosines_are_those_of_weighted_mean_directions() -> None:
    rng = np.random.default_rng(6)
    head = make_head("cosine")
    head.build_for(4)
    head.share.assign(rng.uniform(0.5, 2, 4))
    features, queries = (rng.standard_normal((n, 4)).astype("float32") for n in (5, 3))
    labels, weight = np.array([0, 0, 1, 2, -1], "int32"), np.array([1, 3, 2, 0, 1], "float32")
    layer = head.start(tf.constant(features), tf.constant(labels), 3, tf.constant(weight))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    vectors = np.stack([(unit[0] + 3 * unit[1]) / 4, unit[2]]) * head.share.numpy()
    cosines = queries @ vectors.T / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(vectors, axis=1))
    found = head.read(tf.constant(queries), layer)
    np.testing.assert_allclose(found[:, :2], 10 * cosines, rtol=1e-4, atol=1e-5)
    assert (found[:, 2] < ABSENT / 2).numpy().all(), "the only example of the class counts nothing: it is ruled out"


@pytest.mark.parametrize("backward", ["implicit", "neumann"])
def test_the_derivative_of_the_minimum_is_refused_where_a_head_reads_with_weights(backward: str) -> None:
    inner = InnerLoop(steps=16, backward=backward, proximity=2.0)
    with pytest.raises(RecipeError, match="would pass no gradient to the weights that this head reads"):
        MetaLearner(mlp(IMAGE, units=(4,)), make_head("cosine"), InnerRates(initial=0.1), inner)


def test_example_weights_count_before_the_first_step() -> None:
    learner = make("prototype", steps=0, normalization="none")
    (sx, sy, qx), _ = episodes()
    even = learner.predict_after((sx, sy, qx), [0]).numpy()
    weight = np.tile(np.array([1, 0, 1, 1, 1, 1], "float32"), (2, 1))
    weighted = learner.predict_after((sx, sy, qx, weight), [0]).numpy()
    left_out = learner.predict_after((sx, np.where(weight > 0, sy, -1), qx), [0]).numpy()
    assert np.abs(weighted - even).max() > 1e-3
    np.testing.assert_allclose(weighted, left_out, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalization", ["support", "task", "batch"])
@pytest.mark.parametrize("pixels", [False, True])
def test_examples_that_do_not_count_move_no_statistics(normalization: str, pixels: bool) -> None:
    """Nor anything else: with labels of -1, or of weight 0, they are as good as not sent."""
    learner = make("prototype", normalization=normalization)
    (sx, sy, qx), _ = episodes()
    if pixels:
        body = unet(IMAGE, filters=(4,), normalization=normalization)
        learner = MetaLearner(body, make_head("prototype"), InnerRates(initial=0.1), InnerLoop(steps=2))
        sy = np.where(np.random.default_rng(2).random((*sy.shape, *IMAGE[:2])) < 0.2, sy[..., None, None], -1)
    each = (2, 2, *[1] * (sy.ndim - 2))
    more = np.concatenate([sx, 3 * sx[:, :2]], axis=1)
    alone = learner.predict_after((sx, sy, qx), [0, 2]).numpy()
    ignored = np.concatenate([sy, np.full((2, 2, *sy.shape[2:]), -1, sy.dtype)], axis=1)
    np.testing.assert_allclose(learner.predict_after((more, ignored, qx), [0, 2]), alone, rtol=1e-4, atol=1e-5)
    weight = np.concatenate([np.ones((2, 6, *each[2:])), np.zeros(each)], axis=1).astype("float32")
    weighted = (more, np.concatenate([sy, sy[:, :2]], axis=1), qx, weight)
    np.testing.assert_allclose(learner.predict_after(weighted, [0, 2]), alone, rtol=1e-4, atol=1e-5)


def test_a_support_set_of_which_nothing_counts_is_no_error() -> None:
    (sx, sy, qx), _ = episodes()
    assert np.isfinite(make("fixed")((sx, np.full_like(sy, -1), qx))).all()


def test_weights_survive_the_disk(tmp_path: Path) -> None:
    learner, x = make(), episodes()[0]
    learner.save_weights(tmp_path / "run.weights.h5")
    other = make()
    for variable in other.trainable_variables:
        variable.assign(variable + 1.0)
    other.load_weights(tmp_path / "run.weights.h5")
    np.testing.assert_array_equal(other(x), learner(x))


@pytest.mark.slow
def test_mixed_precision_trains() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        learner = compile_(make())
        assert learner.body.layers[1].compute_dtype == "bfloat16"
        x, y = episodes()
        logits = learner(x)
        assert logits.dtype == tf.float32
        history = learner.fit(tf.data.Dataset.from_tensors((x, y)).repeat(), verbose=0, epochs=2, steps_per_epoch=15)
    finally:
        keras.config.set_dtype_policy("float32")
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_random_fine_tuning_and_nearest_neighbour() -> None:
    (sx, sy, qx), qy = episodes()
    tuned = fine_tuner(conv4(IMAGE, filters=4, blocks=2, normalization="support"), rate=0.1)
    assert (tuned((sx, sy, qx)).numpy().argmax(-1) == qy).mean() > 0.6
    nearest = nearest_neighbour(sx, sy, qx, 3).numpy()
    flat_s, flat_q = sx.reshape(2, 6, -1), qx.reshape(2, 12, -1)
    expected = [sy[t][((flat_q[t][:, None] - flat_s[t][None]) ** 2).sum(-1).argmin(-1)] for t in range(2)]
    np.testing.assert_array_equal(nearest.argmax(-1), expected)
