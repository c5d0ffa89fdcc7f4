"""The evolution strategy finds what drawing at random finds later; both are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from fewshot.training.tuning.search import LEAST_DEVIATION, Method, Search, Tried, reflected


def best_of(search: Search, generations: int = 6) -> float:
    """The best figure on a bowl with its top at (0.8, 0.3, 0.55)."""
    before: list[Tried] = []
    best = -np.inf
    for generation in range(generations):
        proposed = search.propose(generation, 3, before)
        before = [Tried(place, -float(((place - (0.8, 0.3, 0.55)) ** 2).sum())) for place in proposed]
        best = max(best, *(figure for _, figure, _ in before))
    return best


def test_evolution_comes_nearer_than_chance() -> None:
    found: dict[Method, float] = {}
    for method in ("evolution", "random"):
        found[method] = float(np.mean([best_of(Search(method, seed=seed)) for seed in range(40)]))
    assert found["evolution"] > found["random"] / 3, "distances squared, below zero"


@pytest.mark.parametrize("method", ["evolution", "random"])
def test_the_same_seed_and_figures_propose_the_same(method: Method) -> None:
    before = [Tried(np.full(2, 0.1 * number), float(number)) for number in range(8)]
    first, again, other = (Search(method, seed=seed).propose(1, 2, before) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (8, 2)
    assert ((first >= 0) & (first <= 1)).all()


def test_the_next_generation_is_that_of_the_best() -> None:
    before = [Tried(np.array([0.2 + 0.001 * number]), 1.0 + number) for number in range(3)]
    before += [Tried(np.array([0.9]), -np.inf)] * 5
    proposed = Search(particles=4000, elites=3).propose(1, 1, before)
    assert proposed.mean() == pytest.approx(0.201, abs=0.01)
    assert proposed.std() == pytest.approx(LEAST_DEVIATION, rel=0.1)


def test_places_outside_are_mirrored() -> None:
    assert reflected(np.array([-0.1, 0.4, 1.2, 2.3])) == pytest.approx([0.1, 0.4, 0.8, 0.3])
