"""The outer rate that learns, against its formula."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.training.hypergradient import HypergradientSGD
from fewshot.training.recipe import read_recipe
from fewshot.training.train import require_consistent

CURVATURE = np.array([1.0, 0.3], "float32")


def test_the_rate_follows_the_product_of_successive_gradients() -> None:
    """On a quadratic, two variables as one vector, by hand and in a graph."""
    variables = [keras.Variable([2.0]), keras.Variable([-1.0])]
    optimizer = HypergradientSGD(0.1, hyper_rate=0.02)
    optimizer.build(variables)

    @tf.function
    def update() -> None:
        optimizer.apply([c * variable.value for c, variable in zip(CURVATURE, variables, strict=True)], variables)

    point, rate, last = np.array([2.0, -1.0], "float32"), 0.1, np.zeros(2, "float32")
    for _ in range(5):
        gradient = CURVATURE * point
        rate += 0.02 * float(gradient @ last)
        point, last = point - rate * gradient, gradient
        update()
        np.testing.assert_allclose(np.concatenate([one.numpy() for one in variables]), point, rtol=1e-5)
        np.testing.assert_allclose(optimizer.learning_rate.numpy(), rate, rtol=1e-5)
    assert rate > 0.1


def test_what_it_knows_is_among_the_weights_that_a_resumed_run_reads() -> None:
    variable = keras.Variable([1.0, 2.0])
    optimizer = HypergradientSGD(0.1, hyper_rate=0.02)
    optimizer.build([variable])
    optimizer.apply([tf.constant([0.5, 0.5])], [variable])
    held = [one.numpy() for one in optimizer.variables]
    assert any(np.array_equal(one, [0.5, 0.5]) for one in held)
    assert any(one.shape == () and one == pytest.approx(0.1) for one in held)


def test_a_rate_that_learns_has_no_schedule() -> None:
    settings = ["training.hyper_rate=0.01", "training.optimizer=sgd"]
    with pytest.raises(RecipeError, match="Use 'sgd' and"):
        require_consistent(read_recipe("sine-10shot", settings=["training.hyper_rate=0.01"]))
    require_consistent(read_recipe("sine-10shot", settings=[*settings, "training.schedule=constant"]))
