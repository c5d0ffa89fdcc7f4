"""The inner loop against its own definition."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import DivergedError, RecipeError, ShapeError
from fewshot.meta import InnerLoop, Support, adapt, support_loss


class Linear:
    """`x @ w + b` under Keras's stateless protocol."""

    def stateless_call(self, parameters: Any, state: Any, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, Any]:
        return x @ parameters[0] + parameters[1], state


RNG = np.random.default_rng(0)
X = tf.constant(RNG.standard_normal((6, 4)), tf.float64)
Y = tf.constant([0, 1, 2, 0, 1, 2])
W = tf.constant(RNG.standard_normal((4, 3)), tf.float64)
B = tf.zeros(3, tf.float64)


def rates(value: float, *, steps: int = 1) -> list[tf.Tensor]:
    return [tf.fill([steps], tf.constant(value, tf.float64)), tf.fill([steps], tf.constant(value, tf.float64))]


def by_hand(w: tf.Tensor, b: tf.Tensor, rate: float) -> tuple[tf.Tensor, tf.Tensor]:
    """One step of softmax regression, its gradient written out."""
    residual = (tf.nn.softmax(X @ w + b) - tf.one_hot(Y, 3, dtype=tf.float64)) / 6
    return w - rate * tf.transpose(X) @ residual, b - rate * tf.reduce_sum(residual, 0)


def test_steps_follow_the_gradient_of_the_support_loss() -> None:
    adapted = adapt(Linear(), [W, B], rates(0.3), Support(X, Y), InnerLoop(steps=2))
    expected = by_hand(*by_hand(W, B, 0.3), 0.3)
    np.testing.assert_allclose(adapted.parameters[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(adapted.parameters[1], expected[1], rtol=1e-12)
    assert adapted.losses.shape == (2,)
    assert adapted.losses[1] < adapted.losses[0]


def test_a_number_of_steps_known_to_the_graph_alone_gives_the_same() -> None:
    """Second derivatives included: the loop of the graph against the unrolled one."""

    def gradient(steps: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(W)
            adapted = adapt(Linear(), [W, B], rates(0.3), Support(X, Y), InnerLoop(steps=steps))
            loss = support_loss(
                Linear().stateless_call(adapted.parameters, [], X * 0.5, False)[0], Support(X, Y), "cross_entropy"
            )
        return adapted.parameters[0], tape.gradient(loss, W)

    unrolled = gradient(3)
    looped = tf.function(gradient)(tf.constant(3))
    np.testing.assert_allclose(looped[0], unrolled[0], rtol=1e-12)
    np.testing.assert_allclose(looped[1], unrolled[1], rtol=1e-10)


def test_a_support_loss_asks_for_no_way_back() -> None:
    """In a graph whose outputs include the losses, TensorFlow would compute one for each of them."""
    with tf.GradientTape() as tape:
        tape.watch(W)
        adapted = adapt(Linear(), [W, B], rates(0.3), Support(X, Y), InnerLoop(steps=2))
    assert tape.gradient(adapted.losses, W) is None


def test_zero_steps_leave_the_parameters() -> None:
    adapted = adapt(Linear(), [W, B], rates(0.3), Support(X, Y), InnerLoop(steps=0))
    assert adapted.parameters[0] is W
    assert adapted.losses.shape == (0,)


def test_each_step_uses_its_own_rate_and_later_steps_the_last() -> None:
    rows = [tf.constant([0.3, 0.1], tf.float64)] * 2
    adapted = adapt(Linear(), [W, B], rows, Support(X, Y), InnerLoop(steps=3))
    expected = by_hand(*by_hand(*by_hand(W, B, 0.3), 0.1), 0.1)
    np.testing.assert_allclose(adapted.parameters[0], expected[0], rtol=1e-12)


def test_adaptation_can_be_continued() -> None:
    rows = [tf.constant([0.3, 0.1, 0.2], tf.float64)] * 2
    whole = adapt(Linear(), [W, B], rows, Support(X, Y), InnerLoop(steps=3))
    first = adapt(Linear(), [W, B], rows, Support(X, Y), InnerLoop(steps=1))
    rest = adapt(Linear(), first.parameters, rows, Support(X, Y), InnerLoop(steps=2, first_step=1))
    np.testing.assert_array_equal(rest.parameters[0], whole.parameters[0])


def test_a_parameter_without_a_rate_stays() -> None:
    adapted = adapt(Linear(), [W, B], [None, rates(0.3)[1]], Support(X, Y), InnerLoop(steps=2))
    assert adapted.parameters[0] is W
    assert np.abs(adapted.parameters[1]).max() > 0


def test_first_order_is_the_gradient_at_the_adapted_parameters() -> None:
    """FOMAML (Finn 2017, sec. 5.2): the meta-gradient is the query gradient at the adapted parameters, no more."""
    query = Support(X[:3] * 0.5, Y[:3])

    def query_loss(parameters: list[tf.Tensor]) -> tf.Tensor:
        return support_loss(Linear().stateless_call(parameters, [], query.x, False)[0], query, "cross_entropy")

    with tf.GradientTape() as tape:
        tape.watch(W)
        adapted = adapt(Linear(), [W, B], rates(0.3), Support(X, Y), InnerLoop(steps=2, backward="first_order"))
        loss = query_loss(adapted.parameters)
    meta_gradient = tape.gradient(loss, W)
    with tf.GradientTape() as tape:
        tape.watch(adapted.parameters)
        loss = query_loss(adapted.parameters)
    np.testing.assert_allclose(meta_gradient, tape.gradient(loss, adapted.parameters)[0], rtol=1e-12)


def test_ignored_labels_and_weights() -> None:
    some = Support(X, tf.constant([0, 1, 2, -1, -1, -1]))
    first = Support(X[:3], Y[:3])
    weighted = Support(X, Y, tf.constant([2.0, 2, 2, 0, 0, 0]))
    alone = adapt(Linear(), [W, B], rates(0.3), first, InnerLoop())
    for support in (some, weighted):
        adapted = adapt(Linear(), [W, B], rates(0.3), support, InnerLoop())
        np.testing.assert_allclose(adapted.parameters[0], alone.parameters[0], rtol=1e-12)


def test_clipping_bounds_the_step() -> None:
    by_value = adapt(Linear(), [W, B], rates(1.0), Support(X, Y), InnerLoop(clip_value=1e-3))
    assert np.abs(by_value.parameters[0] - W).max() <= 1e-3 + 1e-15
    by_norm = adapt(Linear(), [W, B], rates(1.0), Support(X, Y), InnerLoop(clip_norm=1e-2))
    moved = np.concatenate([np.ravel(a - b) for a, b in zip(by_norm.parameters, (W, B), strict=True)])
    assert np.linalg.norm(moved) == pytest.approx(1e-2)


def test_divergence_names_the_step() -> None:
    huge = Support(X * 1e200, Y)
    with pytest.raises(DivergedError, match="inner step 1"):
        adapt(Linear(), [W, B], rates(1e200), huge, InnerLoop(steps=3))


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeError, match="support_x has 6 examples and support_y has 5"):
        adapt(Linear(), [W, B], rates(0.1), Support(X, Y[:5]), InnerLoop())
    with pytest.raises(ShapeError, match="2 parameters, 1 rates"):
        adapt(Linear(), [W, B], rates(0.1)[:1], Support(X, Y), InnerLoop())


def test_settings_out_of_range() -> None:
    for settings in ({"steps": -1}, {"loss": "hinge"}, {"clip_norm": 0.0}, {"backward_steps": 0}, {"proximity": -1.0}):
        with pytest.raises(RecipeError):
            InnerLoop(**settings)


def test_any_keras_network_adapts() -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)])
    values = [tf.convert_to_tensor(v) for v in network.trainable_variables]
    adapted = adapt(network, values, [tf.constant([0.5])] * 4, Support(tf.cast(X, tf.float32), Y), InnerLoop(steps=5))
    assert adapted.losses[-1] < adapted.losses[0]
