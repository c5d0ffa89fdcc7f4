import numpy as np
import pytest

from fewshot.assessment.design import Design, allocate, expected_error, places_for_error
from fewshot.errors import RecipeError

# The example of Olofsson et al. (2014), section 5.1: four classes and their expected user's accuracies.
NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
SHARES = PIXELS / PIXELS.sum()
EXPECTED = dict(zip(NAMES, (0.7, 0.6, 0.9, 0.95), strict=True))


def test_the_number_of_places_is_the_published_one() -> None:
    assert places_for_error(0.01, SHARES, list(EXPECTED.values()), int(PIXELS.sum())) == 641


def test_places_are_allocated_as_in_the_paper() -> None:
    """Table 5: equal is 160 each; in proportion to area 13, 10, 205 and 413, give or take what rounding gives."""
    equal = allocate(Design(640, allocation="equal", least=0), NAMES, PIXELS, SHARES)
    assert equal.tolist() == [160] * 4
    proportional = allocate(Design(641, least=0), NAMES, PIXELS, SHARES)
    assert np.abs(proportional - [13, 10, 205, 413]).max() <= 1
    least = allocate(Design(error=0.01, least=75, expected=EXPECTED), NAMES, PIXELS, SHARES)
    assert least[:2].tolist() == [75, 75] and least.sum() == 641 and least[3] > least[2] > 150


def test_neyman_is_the_allocation_of_least_error() -> None:
    accuracies = np.array(list(EXPECTED.values()))
    errors = {
        kind: expected_error(
            SHARES,
            accuracies,
            allocate(Design(640, allocation=kind, least=2, expected=EXPECTED), NAMES, PIXELS, SHARES),
        )
        for kind in ("neyman", "proportional", "equal")
    }
    assert errors["neyman"] < errors["proportional"] < errors["equal"]


def test_no_class_gets_more_places_than_it_has_pixels() -> None:
    found = allocate(Design(60), ("a", "b", "c"), np.array([10, 1000, 0]), np.array([0.9, 0.1, 0]))
    assert found.tolist() == [10, 50, 0]


def test_places_by_hand() -> None:
    found = allocate(Design(by_hand={"b": 3}), ("a", "b"), np.array([10, 10]), np.array([0.5, 0.5]))
    assert found.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("design", "said"),
    [
        ({}, "received 0 of them"),
        ({"places": 5, "error": 0.1}, "received 2 of them"),
        ({"error": 2.0}, "between 0 and 0.5"),
        ({"places": 5, "expected": {"a": 1.0}}, r"--expect 1 \(a\)"),
    ],
)
def test_designs_that_contradict_themselves_are_refused(design: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Design(**design)


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Design(30), "ask for --n 40 or more"),
        (Design(30, least=0), "the map has 20 pixels"),
        (Design(by_hand={"z": 3}), "has no class 'z'; it has a, b"),
        (Design(by_hand={"a": 30}), "has 10 pixels of it"),
    ],
)
def test_what_a_map_cannot_give_is_refused(design: Design, said: str) -> None:
    pixels = np.array([10, 10]) if "40" not in said else np.array([100, 100])
    with pytest.raises(RecipeError, match=said):
        allocate(design, ("a", "b"), pixels, np.array([0.5, 0.5]))
