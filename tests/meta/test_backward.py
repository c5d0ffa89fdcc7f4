"""Ways back through the inner loop, against the exact one and against closed forms; the grid has their differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Support, adapt
from fewshot.models import make_head, mlp

RNG = np.random.default_rng(1)
X = tf.constant(RNG.standard_normal((8, 3)))
Y = tf.constant(RNG.standard_normal((8, 1)))
W = tf.constant(RNG.standard_normal((3, 1)))
UPSTREAM = tf.constant(RNG.standard_normal((3, 1)))
PULL, RATE = 1.5, tf.constant([0.3], tf.float64)
LONG = InnerLoop(steps=60, loss="squared_error", proximity=PULL, backward_steps=60)


class Line:
    """`x @ w` under Keras's stateless protocol."""

    def stateless_call(self, parameters: Any, state: Any, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, Any]:
        return x @ parameters[0], state


def meta_gradient(inner: InnerLoop, x: tf.Tensor = X, y: tf.Tensor = Y) -> tuple[tf.Tensor, tf.Tensor]:
    """The adapted weights, and the gradient of their product with UPSTREAM in the start."""
    with tf.GradientTape() as tape:
        tape.watch(W)
        adapted = adapt(Line(), [W], [RATE], Support(x, y), inner)
        loss = tf.reduce_sum(adapted.parameters[0] * UPSTREAM)
    return adapted.parameters[0], tape.gradient(loss, W)


@pytest.mark.parametrize("backward", ["exact", "checkpointed", "implicit", "neumann"])
def test_at_the_minimum_of_a_quadratic_all_equal_the_closed_form(backward: str) -> None:
    """(H + pull I) u = pull v, H = 2 X'X / n."""
    hessian = 2 * tf.transpose(X) @ X / 8 + PULL * tf.eye(3, dtype=tf.float64)
    found, gradient = meta_gradient(replace(LONG, backward=backward))
    minimum = tf.linalg.solve(hessian, 2 * tf.transpose(X) @ Y / 8 + PULL * W)
    np.testing.assert_allclose(found, minimum, rtol=1e-10)
    np.testing.assert_allclose(gradient, PULL * tf.linalg.solve(hessian, UPSTREAM), rtol=1e-8)


def test_damping_is_a_stronger_pull_on_the_way_back_alone() -> None:
    found, gradient = meta_gradient(replace(LONG, backward="implicit", damping=4.0))
    undamped, _ = meta_gradient(replace(LONG, backward="implicit"))
    np.testing.assert_array_equal(found, undamped)
    hessian = 2 * tf.transpose(X) @ X / 8 + (PULL + 4) * tf.eye(3, dtype=tf.float64)
    np.testing.assert_allclose(gradient, (PULL + 4) * tf.linalg.solve(hessian, UPSTREAM), rtol=1e-8)


@pytest.mark.parametrize(("backward", "kept"), [("exact", True), ("first_order", False), ("implicit", False)])
def test_activations_are_kept_of_steps_alone_that_a_way_back_goes_through(backward: str, *, kept: bool) -> None:
    """What a loop of the graph keeps of its turns for a way back, it pushes to lists."""
    inner = InnerLoop(steps=12, backward=backward, backward_steps=2, proximity=PULL)
    made = MetaLearner(mlp((4,), units=(5,)), make_head("fixed", outputs=3), InnerRates(initial=0.1), inner)
    x, y = tf.zeros([1, 6, 4]), tf.zeros([1, 6], tf.int32)

    made.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def update() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = made.compute_loss((x, y, x), y, [])
        return tape.gradient(loss, made.body.trainable_variables)

    graph = tf.function(update).get_concrete_function().graph.as_graph_def()
    nodes = [node for part in graph.library.function for node in part.node_def]
    assert any("While" in node.op for node in nodes), "the steps are a loop"
    pushed = {node.input[1].partition(":")[0].split("/")[-1] for node in nodes if node.op == "TensorListPushBack"}
    assert ("Relu" in pushed) == kept


@pytest.mark.slow
@pytest.mark.parametrize("backward", ["checkpointed", "truncated", "implicit", "neumann"])
def test_the_same_in_a_graph_with_steps_that_it_alone_knows(backward: str) -> None:
    inner = replace(LONG, steps=30, backward=backward)
    eager = meta_gradient(inner)
    graph = tf.function(lambda steps, *support: meta_gradient(replace(inner, steps=steps), *support))
    for ours, theirs in zip(graph(tf.constant(30), X, Y), eager, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_truncation_tends_to_the_exact_gradient_and_meets_it() -> None:
    inner = InnerLoop(steps=12, loss="squared_error")
    _, exact = meta_gradient(inner)
    errors = []
    for last in (1, 3, 6, 12):
        _, gradient = meta_gradient(replace(inner, backward="truncated", backward_steps=last))
        errors.append(float(tf.norm(gradient - exact)))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1 * float(tf.norm(exact))
    assert errors[-1] < 1e-12


def test_the_pull_keeps_adaptation_near_its_start_across_calls() -> None:
    """A second call that goes on pulls to where the first began."""
    rates, support = [tf.constant([0.1], tf.float64)], Support(X, Y)
    whole = adapt(Line(), [W], rates, support, replace(LONG, steps=6))
    first = adapt(Line(), [W], rates, support, replace(LONG, steps=2))
    rest = adapt(Line(), first.parameters, rates, support, replace(LONG, steps=4, first_step=2), anchor=[W])
    np.testing.assert_allclose(rest.parameters[0], whole.parameters[0], rtol=1e-12)
    free = adapt(Line(), [W], rates, support, replace(LONG, steps=6, proximity=0.0))
    assert tf.norm(whole.parameters[0] - W) < tf.norm(free.parameters[0] - W)


def learner(rates: str = "constant", *, vary_steps: bool = False, **loop: Any) -> MetaLearner:
    body = mlp((4,), units=(4,))
    return MetaLearner(body, make_head("fixed", outputs=2), InnerRates(rates), InnerLoop(**loop), vary_steps=vary_steps)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"backward": "implicit", "steps": 16}, "learner.proximity above 0"),
        ({"backward": "neumann", "steps": 16, "proximity": 2.0, "rates": "per_tensor"}, "never learn"),
        ({"backward": "implicit", "steps": 3, "proximity": 2.0}, "which 3 inner steps do not reach"),
        ({"backward": "exact", "damping": 2.0}, "of learner.backward = 'implicit' alone"),
        ({"backward": "truncated", "steps": 8, "vary_steps": True}, "after the last inner step alone"),
    ],
)
def test_ways_back_that_would_be_wrong_are_refused_with_the_reason(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        learner(**settings)


def test_unknown_ways_back_are_named() -> None:
    with pytest.raises(RecipeError, match="Unknown backward 'sideways'; expected one of exact"):
        meta_gradient(InnerLoop(backward="sideways", loss="squared_error"))
