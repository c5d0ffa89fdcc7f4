"""Where learned inner rates start."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fewshot.errors import RecipeError
from fewshot.meta import InnerRates
from fewshot.training.recipe import read_recipe


def started(kind: str, seed: int = 0) -> list[np.ndarray]:
    keras.utils.set_random_seed(seed)
    rates = InnerRates(kind, initial=0.1, least=0.005, steps=3)
    rates.build_for([(400,), (3, 5), (2,)], [True, True, False])
    return [np.asarray(value) for value in rates.values() if value is not None]


def test_random_starts_fill_their_range_and_are_the_same_for_the_same_seed() -> None:
    first, second = started("per_parameter")
    assert first.shape == (1, 400)
    assert 0.005 <= first.min() < 0.02 < 0.09 < first.max() <= 0.1
    assert not np.isin(second, first).any()
    np.testing.assert_array_equal(first, started("per_parameter")[0])
    assert (first != started("per_parameter", seed=1)[0]).any()


@pytest.mark.parametrize(("kind", "shape"), [("scalar", (1,)), ("per_tensor", (3,))])
def test_other_learned_rates_start_at_random_too(kind: str, shape: tuple[int, ...]) -> None:
    for value in started(kind):
        assert value.shape == shape
        assert ((value >= 0.005) & (value <= 0.1)).all()


@pytest.mark.parametrize(("kind", "least"), [("constant", 0.005), ("per_parameter", 0.2), ("per_tensor", -0.1)])
def test_a_range_that_holds_no_rate_is_refused(kind: str, least: float) -> None:
    with pytest.raises(RecipeError, match=r"Learned rates start between learner.least_rate and learner.rate; received"):
        InnerRates(kind, initial=0.1, least=least)


def test_the_papers_recipe_has_them() -> None:
    learner = read_recipe("papers/omniglot-5w1s", learner="meta-sgd").learner
    assert (learner.rates, learner.least_rate, learner.rate) == ("per_parameter", 0.005, 0.1)
