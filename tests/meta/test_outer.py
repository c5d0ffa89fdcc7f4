"""Outer objectives: Reptile's distance, the multi-step loss, and the change from first to second order."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Outer, Support, adapt
from fewshot.models import make_head, mlp

RNG = np.random.default_rng(8)
Y = np.array([[0, 1, 2, 0, 1, 2]], "int32")
X = RNG.standard_normal((1, 6, 4)).astype("float32")
QUERIES = X + 0.1


def learner(outer: Outer | None = None, *, head: str = "fixed", rates: str = "constant", **loop: Any) -> MetaLearner:
    keras.utils.set_random_seed(2)
    inner = InnerLoop(**{"steps": 3, **loop})
    made = MetaLearner(
        mlp((4,), units=(5,)), make_head(head, outputs=3), InnerRates(rates, initial=0.5), inner, outer=outer
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.SGD(0.2), loss, metrics=["accuracy"], run_eagerly=True)
    return made


def update_gradient(made: MetaLearner) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The loss of one update, and its gradient, as Keras's own `train_step` takes them."""
    inputs = tuple(tf.constant(part) for part in (X, Y, QUERIES))
    with tf.GradientTape() as tape:
        answers = made(inputs, training=True)
        loss = made.compute_loss(inputs, tf.constant(Y), answers, training=True)
    return loss, tape.gradient(loss, [variable.value for variable in made.trainable_variables])


def test_reptiles_gradient_is_the_way_back_from_the_adapted_parameters_to_the_bit() -> None:
    made = learner(Outer("reptile"))
    both = Support(tf.concat([X[0], QUERIES[0]], axis=0), tf.concat([Y[0], Y[0]], axis=0))
    start = made.start()
    begin = made.start_parameters(start, both, 3)
    adapted = adapt(made.network, begin, start.rates, both, made.inner).parameters
    _, gradient = update_gradient(made)
    for ours, first, last in zip(gradient, begin, adapted, strict=True):
        assert np.abs(ours).max() > 0
        np.testing.assert_array_equal(ours, first - last)


def test_reptile_trains_through_fit() -> None:
    made = learner(Outer("reptile"))
    inputs = tuple(tf.constant(part) for part in (X, Y, QUERIES))
    tasks = tf.data.Dataset.from_tensors((inputs, Y))
    history = made.fit(tasks.repeat(10), epochs=5, steps_per_epoch=2, validation_data=tasks, verbose=0).history
    assert set(history) == {"loss", "val_loss", "val_accuracy"}  # of training tasks the distance alone is known
    assert history["val_loss"][-1] < history["val_loss"][0]


def test_weights_of_the_steps_fade_to_the_last() -> None:
    outer = Outer(fading=100)
    np.testing.assert_allclose(outer.step_weights(4, tf.constant(0)), [0.25] * 4)
    np.testing.assert_allclose(outer.step_weights(4, tf.constant(50)), [0.125] * 3 + [0.625])
    np.testing.assert_allclose(outer.step_weights(4, tf.constant(10_000)), [0.0075] * 3 + [0.9775], rtol=1e-6)


def test_the_multi_step_loss_is_the_weighted_loss_after_each_step() -> None:
    made = learner(Outer(fading=100))
    loss, _ = update_gradient(made)
    each = made.predict_after((X, Y, QUERIES), [1, 2, 3])
    losses = [keras.losses.sparse_categorical_crossentropy(Y, one, from_logits=True).numpy().mean() for one in each]
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
    history = made.fit(tf.data.Dataset.from_tensors(((X, Y, QUERIES), Y)).repeat(3), verbose=0).history
    assert set(history) == {"loss", "accuracy"}


@pytest.mark.slow
def test_first_updates_are_of_first_order_and_later_ones_exact() -> None:
    annealed, first, exact = learner(Outer(first_order_updates=2)), learner(backward="first_order"), learner()
    for updates, wanted in ((0, first), (2, exact)):
        annealed.optimizer.iterations.assign(updates)
        for ours, theirs in zip(update_gradient(annealed)[1], update_gradient(wanted)[1], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    apart = [np.abs(a - b).max() for a, b in zip(update_gradient(first)[1], update_gradient(exact)[1], strict=True)]
    assert max(apart) > 1e-3


def test_steps_of_mini_batches_see_every_example_in_turn() -> None:
    made = learner(batch=2)
    start, support = made.start(), Support(tf.constant(X[0]), tf.constant(Y[0]))
    begin = made.start_parameters(start, support, 3)
    whole = adapt(made.network, begin, start.rates, support, made.inner).parameters
    order = tf.random.experimental.stateless_shuffle(tf.range(6), (3, 1)).numpy()
    current = begin
    for step in range(3):
        rows = order[2 * step : 2 * step + 2]
        some = Support(tf.constant(X[0, rows]), tf.constant(Y[0, rows]))
        current = adapt(made.network, current, start.rates, some, InnerLoop(steps=1)).parameters
    for ours, theirs in zip(whole, current, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"outer": Outer("reptile"), "head": "shared"}, r"learner\.head = 'fixed'"),
        ({"outer": Outer("reptile"), "rates": "per_tensor"}, r"learner\.rates = 'constant'"),
        ({"outer": Outer(fading=10), "steps": 1}, "two steps or more"),
        ({"outer": Outer(fading=10), "backward": "truncated"}, "after the last inner step alone"),
    ],
)
def test_objectives_that_would_teach_nothing_are_refused_with_the_reason(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        learner(**settings)


def test_objectives_have_names_and_fit_together() -> None:
    with pytest.raises(RecipeError, match="Unknown outer objective 'maml'"):
        Outer("maml")
    with pytest.raises(RecipeError, match="nothing can fade"):
        Outer("reptile", fading=3)
