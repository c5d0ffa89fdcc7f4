"""Normalisation layers against their definitions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.models import NORMALIZATIONS, Standardization, make_normalization
from fewshot.models.normalization import BatchNormalization, is_transductive
from fewshot.models.pooling import max_pooled

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, 2.0, (5, 4, 4, 6)).astype("float32")


def normalized(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-3)


@pytest.mark.parametrize(("kind", "axes"), [("batch", (0, 1, 2)), ("support", (0, 1, 2)), ("instance", (1, 2))])
def test_statistics_are_those_of_the_definition(kind: str, axes: tuple[int, ...]) -> None:
    layer = make_normalization(kind)
    np.testing.assert_allclose(layer(X, training=True), normalized(X, axes), rtol=1e-4, atol=1e-4)


def test_groups_share_statistics() -> None:
    layer = make_normalization("group")  # 8 groups asked for; 6 channels give 3 groups of 2
    grouped = X.reshape(5, 4, 4, 3, 2)
    expected = normalized(grouped, (1, 2, 4)).reshape(X.shape)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-4, atol=1e-4)


def test_support_statistics_are_kept_for_queries() -> None:
    layer = make_normalization("support")
    layer(X, training=True)
    query = RNG.normal(0.0, 1.0, (3, 4, 4, 6)).astype("float32")
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(layer(query), (query - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-4)


def test_task_normalization_blends_support_and_image() -> None:
    layer = make_normalization("task")
    layer(X, training=True)
    query = RNG.normal(0.0, 1.0, (3, 4, 4, 6)).astype("float32")
    layer.share_offset.assign(40.0)  # all support
    support = make_normalization("support")
    support(X, training=True)
    np.testing.assert_allclose(layer(query), support(query), rtol=1e-3, atol=1e-4)
    layer.share_offset.assign(-40.0)  # all image
    np.testing.assert_allclose(layer(query), normalized(query, (1, 2)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_first_derivative_is_that_of_the_forward_pass(kind: str) -> None:
    """The derivative that is written out, against a central difference in float64."""
    keras.config.set_dtype_policy("float64")
    try:
        layer = make_normalization(kind)
        x = tf.constant(X[:3].astype("float64"))
        layer(x, training=True)
        weight = tf.constant(RNG.standard_normal(x.shape))
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(weight * layer(x, training=True))
        gradient = tape.gradient(loss, x)
        direction = tf.constant(RNG.standard_normal(x.shape))
        ends = [tf.reduce_sum(weight * layer(x + sign * 1e-6 * direction, training=True)) for sign in (1, -1)]
    finally:
        keras.config.set_dtype_policy("float32")
    expected = float(tf.reduce_sum(gradient * direction))
    assert float((ends[0] - ends[1]) / 2e-6) == pytest.approx(expected, rel=1e-6)


def test_only_batch_statistics_are_transductive() -> None:
    assert [kind for kind in NORMALIZATIONS if is_transductive(make_normalization(kind))] == ["batch"]
    assert is_transductive(keras.layers.BatchNormalization())


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="expected one of batch, support, task, instance, group, none"):
        make_normalization("layer")


@pytest.mark.parametrize("kind", [*NORMALIZATIONS])
def test_pooling_with_the_layer_is_pooling_after_it(kind: str) -> None:
    apart, together = make_normalization(kind), make_normalization(kind, pool=2)
    for layer in (apart, together):
        layer(X, training=True)
        if kind != "none":
            layer.gamma.assign([1.0, -0.5, 0.0, 2.0, -1.0, 0.3])  # the least pixel counts where it is negative
            layer.beta.assign(np.linspace(-1, 1, 6))
    for training in (True, False):
        expected = keras.layers.MaxPooling2D(2)(apart(X, training=training))
        np.testing.assert_allclose(together(X, training=training), expected, rtol=1e-5, atol=1e-5)
    assert together.compute_output_shape((None, 4, 4, 6)) == (None, 2, 2, 6)


@pytest.mark.parametrize(("scale", "offset"), [(1e4, 0.0), (255.0, 3.0), (0.1, 1e-4)])
def test_standardised_inputs_do_not_depend_on_the_unit(scale: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.02, 0.4, (4, 6, 6, 3)).astype(np.float32)
    layer = Standardization()
    found = layer(x * scale + offset, training=True).numpy()
    expected = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_missing_band_is_nothing() -> None:
    x = np.random.default_rng(0).uniform(100, 3000, (2, 4, 4, 3)).astype(np.float32)
    x[..., 1], x[..., 2] = 0, 255
    found = Standardization()(x, training=True).numpy()
    assert np.abs(found[..., 1:]).max() == 0


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("graph", [False, True])
def test_queries_take_the_quick_way_to_the_same_values_and_derivatives(pool: int, *, graph: bool) -> None:
    rng = np.random.default_rng(4)
    layer = BatchNormalization(pool=pool)
    x = tf.constant(rng.normal(3, 2, (5, 8, 8, 6)), tf.float32)
    layer.build(x.shape)
    layer.gamma.assign(rng.normal(size=6))  # of either sign
    layer.beta.assign(rng.normal(size=6))
    weight = tf.constant(rng.normal(size=layer(x).shape), tf.float32)
    given = [x, layer.gamma.value, layer.beta.value]

    def values(*, training: bool) -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = layer(x, training=training)
                loss = tf.reduce_sum(weight * tf.tanh(y))
            first = inner.gradient(loss, given)
            size = tf.add_n([tf.reduce_sum(gradient**3) for gradient in first])
        return [y, *first, *outer.gradient(size, given)]

    found = (tf.function(values) if graph else values)(training=False)
    for ours, written_out in zip(found, values(training=True), strict=True):
        largest = np.abs(written_out).max()
        np.testing.assert_allclose(ours / largest, written_out / largest, atol=1e-5)


def test_pooling_has_tensorflow_s_second_derivative_also_of_ties() -> None:
    x = tf.constant(np.random.default_rng(5).integers(0, 3, (2, 7, 6, 3)), tf.float64)

    def second(pooled: Any) -> tf.Tensor:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(pooled(x) ** 3)
            size = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(size, x)

    expected = second(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"))
    np.testing.assert_allclose(second(lambda x: max_pooled(x, 2)), expected)
    assert np.abs(expected).max() > 1
