"""Derivatives by numbers of the inner loop in forward mode: those of reverse mode, and where a search goes by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import make_head, mlp
from fewshot.training.recipe import read_recipe
from fewshot.training.tuning import Search, TuneRequest, read_varied, tune
from fewshot.training.tuning.forward import PROXIMITY, RATE, put_numbers, require_numbers, slopes
from fewshot.training.tuning.search import FIRST_STEP, SHRINKS, Tried

RNG = np.random.default_rng(4)


@pytest.fixture
def without_graphs() -> Iterator[None]:
    """Small cases run faster than they trace."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def double_precision(without_graphs: None) -> Iterator[None]:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(("normalization", "steps"), [("none", 2), pytest.param("support", 3, marks=pytest.mark.slow)])
def test_forward_mode_is_reverse_mode(normalization: str, steps: int) -> None:
    """Of inner rate, regularisation and temperature."""
    keras.utils.set_random_seed(1)
    head = make_head("prototype")
    body = mlp((3,), units=(5,), normalization=normalization)
    learner = MetaLearner(body, head, InnerRates(initial=0.1), InnerLoop(steps=steps))
    numbers = [*(tf.constant(value, tf.float64) for value in (0.2, 0.4)), head.log_temperature.value]
    task = (tf.constant(RNG.random((1, 6, 3))), tf.constant([[0, 0, 1, 1, 2, 2]]), tf.constant(RNG.random((1, 4, 3))))

    def loss() -> tf.Tensor:
        put_numbers(learner, {RATE: numbers[0], PROXIMITY: numbers[1]})
        logits = learner.predict_after(task, [steps])[0]
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([[0, 1, 2, 1]], logits))

    with tf.GradientTape() as tape:
        tape.watch(numbers[:2])
        value = loss()
    reverse = tape.gradient(value, numbers)
    assert all(abs(float(slope)) > 1e-6 for slope in reverse)
    np.testing.assert_allclose(slopes(loss, numbers), reverse, rtol=1e-10)


def test_particles_go_uphill_and_those_that_are_lost_begin_anew() -> None:
    search = Search("forward", particles=3, seed=2)
    before = [Tried(np.full(2, 0.5), 0.0, [3.0, -4.0]), Tried(np.full(2, 0.5), -np.inf), Tried(np.ones(2), 0.0, [1, 0])]
    moved = search.propose(1, 2, before)
    step = FIRST_STEP * SHRINKS
    np.testing.assert_allclose(moved[0], [0.5 + 0.6 * step, 0.5 - 0.8 * step])
    np.testing.assert_array_equal(moved[1], search.propose(1, 2, [])[1])
    np.testing.assert_array_equal(moved[2], [1, 1])


def test_what_has_no_derivative_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"network\.filters is none of them"):
        require_numbers([read_varied("learner.rate=1e-3..1:log"), read_varied("network.filters=8..64")], "constant")
    with pytest.raises(RecipeError, match=r"learner\.rates = 'scalar' learn"):
        require_numbers([read_varied("learner.rate=1e-3..1:log")], "scalar")


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_a_search_follows_the_inner_rate(tmp_path: Path) -> None:
    settings = ("training.validate_every=2", "training.validation_tasks=4", "network.units=[8]")
    request = TuneRequest(
        lambda more: read_recipe("sine-10shot", learner="maml", settings=(*settings, *more)),
        [read_varied("learner.rate=1e-4..1e-2:log")],
        updates=2,
        generations=2,
        search=Search("forward", particles=2, seed=1),
    )
    trials = tune(request, tmp_path).trials
    assert all(trial.uphill and np.isfinite(trial.uphill).all() for trial in trials)
    for first, second in zip(trials[:2], trials[2:], strict=True):
        assert first.uphill is not None
        rose = float(second.values["learner.rate"]) - float(first.values["learner.rate"])
        assert np.sign(rose) == np.sign(first.uphill[0]), "hardly trained waves ask for larger steps"
