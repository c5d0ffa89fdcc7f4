"""What may be varied, how it is written, and which values a place from 0 to 1 stands for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fewshot.errors import RecipeError
from fewshot.training.tuning.space import Varied, read_varied, require_distinct


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learner.rate=1e-3..1:log", Varied("learner.rate", 1e-3, 1.0, log=True)),
        ("augment.noise=0..0.2", Varied("augment.noise", 0.0, 0.2)),
        ("learner.steps=1..5", Varied("learner.steps", 1, 5, whole=True)),
        ("network.filters=8..64:log", Varied("network.filters", 8, 64, whole=True, log=True)),
        ("x.y=-2..-1", Varied("x.y", -2, -1, whole=True)),
        ("network.normalization = support, batch", Varied("network.normalization", choices=("support", "batch"))),
    ],
)
def test_ranges_and_choices_are_read(text: str, expected: Varied) -> None:
    assert read_varied(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learner.rate", "expects table.key=LOW..HIGH"),
        ("rate=1..2", "expects table.key"),
        ("learner.rate=", "expects table.key"),
        ("learner.rate=0.1", "expects table.key"),
        ("learner.rate=a..b", "expects table.key"),
        ("learner.rate=a,,b", "expects table.key"),
        ("learner.rate=1..1", "rises from a number to a greater one; received 1.0 to 1.0"),
        ("learner.rate=1..inf", "rises from a number to a greater one"),
        ("learner.rate=0..1:log", "begins above 0; received 0.0"),
    ],
)
def test_what_is_neither_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_varied(text)


def test_nothing_and_one_setting_twice_are_refused() -> None:
    with pytest.raises(RecipeError, match="Nothing is varied"):
        require_distinct([])
    with pytest.raises(RecipeError, match=r"names a\.b more than once"):
        require_distinct([Varied("a.b", 0, 1), Varied("a.c", 0, 1), Varied("a.b", 1, 2)])


def test_places_are_spread_over_values() -> None:
    rate = Varied("a.b", 1e-3, 10.0, log=True)
    assert [rate.at(place) for place in (0, 0.5, 1)] == [0.001, 0.1, 10.0]
    assert Varied("a.b", -1.0, 3.0).at(0.25) == 0.0
    kinds = Varied("a.b", choices=("x", "y", "z"))
    assert [kinds.at(place) for place in (0, 0.34, 0.99, 1)] == ["x", "y", "z", "z"]


def test_each_whole_number_has_the_same_share() -> None:
    steps = Varied("a.b", 1, 5, whole=True)
    found = Counter(steps.at(float(place)) for place in np.linspace(0, 1, 1001))
    assert found.keys() == {1, 2, 3, 4, 5}
    assert max(found.values()) - min(found.values()) <= 2
