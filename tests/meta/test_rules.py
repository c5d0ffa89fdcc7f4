"""Inner rules: what they remember, and that they equal what is known of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Support, adapt, make_rule
from fewshot.meta.descent import Rule
from fewshot.meta.rules import RULES, AdamRule, MetaLstmRule, MomentumRule, logarithmic
from fewshot.models import make_head, mlp

RNG = np.random.default_rng(9)
X = tf.constant(RNG.standard_normal((8, 3)), tf.float32)
Y = tf.constant(RNG.standard_normal((8, 1)), tf.float32)
W = tf.constant(RNG.standard_normal((3, 1)), tf.float32)
RATE = tf.constant([0.1])


class Line:
    """`x @ w` under Keras's stateless protocol."""

    def stateless_call(self, parameters: Any, state: Any, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, Any]:
        return x @ parameters[0], state


def moved(rule: Rule | None, steps: int | tf.Tensor = 4, begin: list[tf.Tensor] | None = None) -> list[tf.Tensor]:
    inner = InnerLoop(steps=steps, loss="squared_error")
    return adapt(Line(), begin or [W], [RATE], Support(X, Y), inner, rule=rule).parameters


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        (MomentumRule(0.8), keras.optimizers.SGD(0.1, momentum=0.8)),
        (AdamRule(0.7, 0.99), keras.optimizers.Adam(0.1, beta_1=0.7, beta_2=0.99, epsilon=1e-8)),
        (AdamRule(0.0), keras.optimizers.Adam(0.1, beta_1=0.0, epsilon=1e-8)),
    ],
    ids=["momentum", "adam", "reptiles-adam"],
)
def test_rules_are_those_of_keras(rule: Rule, optimizer: keras.optimizers.Optimizer) -> None:
    weight = keras.Variable(W)
    for _ in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.math.squared_difference(X @ weight.value, Y))
        optimizer.apply([tape.gradient(loss, weight.value)], [weight])
    np.testing.assert_allclose(moved(rule)[0], weight.numpy(), rtol=1e-4, atol=1e-5)


def test_meta_lstm_with_zero_networks_and_set_biases_is_gradient_descent() -> None:
    rule = MetaLstmRule()
    for variable in rule.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    forget, enter = rule.gates
    forget.bias.assign([40.0])  # the sigmoid is 1
    enter.bias.assign([np.log(0.1 / 0.9)])  # ... and the rate
    np.testing.assert_allclose(moved(rule)[0], moved(None)[0], rtol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "hierarchical"])
def test_a_learned_optimiser_begins_close_to_the_start(kind: str) -> None:
    """Its output counts a hundredth."""
    rule = make_rule(kind)
    assert 0 < np.abs(moved(rule, steps=1)[0] - W).max() < 0.05


@pytest.mark.parametrize("kind", RULES)
def test_memory_goes_on_across_calls_and_in_graphs(kind: str) -> None:
    rule = make_rule(kind)
    whole = moved(rule)
    rest = moved(rule, steps=3, begin=moved(rule, steps=1))
    graph = tf.function(lambda steps: moved(rule, steps))(tf.constant(4))
    for ours, later, looped in zip(whole, rest, graph, strict=True):
        np.testing.assert_allclose(later, ours, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(looped, ours, rtol=1e-5, atol=1e-6)


def test_sizes_of_numbers_become_logarithms() -> None:
    values = tf.constant([[1.0], [-np.exp(-5)], [1e-6], [0.0]])
    expected = np.array([[0, 1], [-0.5, -1], [-1, np.exp(10) * 1e-6], [-1, 0]])
    np.testing.assert_allclose(logarithmic(values), expected, rtol=1e-5, atol=1e-6)


def learner(rule: str, *, rates: str = "constant", head: str = "prototype", steps: int = 2) -> MetaLearner:
    keras.utils.set_random_seed(4)
    return MetaLearner(
        mlp((4,), units=(5,)),
        make_head(head, outputs=3),
        InnerRates(rates, initial=0.1),
        InnerLoop(steps=steps),
        rule=make_rule(rule),
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", RULES)
def test_a_learner_learns_its_rule_and_a_curve_passes_through_single_answers(kind: str) -> None:
    made = learner(kind, steps=4)  # what the uppermost of three networks remembers takes four to matter
    y = np.array([[0, 1, 2, 0, 1, 2]] * 2, "int32")
    x = RNG.standard_normal((2, 6, 4)).astype("float32")
    curve = made.predict_after((x, y, x), [1, 2]).numpy()
    np.testing.assert_allclose(curve[1], made.predict_after((x, y, x), [2])[0], rtol=1e-4, atol=1e-5)
    before = [variable.numpy() for variable in made.trainable_variables]
    made.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    made.fit(tf.data.Dataset.from_tensors(((x, y, x), y)), verbose=0)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(made.trainable_variables, before, strict=True))


def test_one_learned_rate_serves_all() -> None:
    made = learner("gradient", rates="scalar")
    assert [variable.shape for variable in made.inner_rates.trainable_variables] == [(1,)]
    rates = made.inner_rates.values()
    assert len(rates) == len(made.moving)
    assert all(rate is not None and float(rate[0]) == pytest.approx(0.1) for rate in rates)


def test_rules_that_cannot_be_are_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match="A learned rule has no rates"):
        learner("lstm", rates="per_parameter")
    with pytest.raises(RecipeError, match="Nothing adapts"):
        learner("adam", head="matching", steps=0)
    with pytest.raises(RecipeError, match="Unknown rule 'newton'"):
        make_rule("newton")
    with pytest.raises(RecipeError, match="from 0 to below 1"):
        make_rule("momentum", decay=1.0)
