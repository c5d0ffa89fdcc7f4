"""How many places to look at, and how many of them in each class of a map.

Olofsson et al. (2014), sec. 5.1: the number that a wanted standard error of the overall accuracy asks for (eq. 13), and
its allocation to the classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fewshot.assessment.estimates import FloatArray, IntArray
from fewshot.errors import RecipeError

Allocation = Literal["proportional", "equal", "neyman"]
ALLOCATIONS: tuple[Allocation, ...] = ("proportional", "equal", "neyman")


@dataclass(frozen=True)
class Design:
    """What is to be drawn from a map.

    Attributes:
        places: How many in all; or
        error: the wanted standard error of the overall accuracy.
        allocation: To classes by their area, the same to each, or by area and expected spread (Neyman).
        least: Places in a class at least, as far as it has pixels.
        by_hand: Places of classes, by name; nothing but these is drawn where it is given.
        expected: User's accuracy that a class is expected to have, by name.
        otherwise: The same, of all others.
    """

    places: int | None = None
    error: float | None = None
    allocation: Allocation = "proportional"
    least: int = 20
    by_hand: Mapping[str, int] | None = None
    expected: Mapping[str, float] | None = None
    otherwise: float = 0.8

    def __post_init__(self) -> None:
        """Refuse a design that says nothing, or contradicts itself.

        Raises:
            RecipeError: if it is not one of number, error and numbers by hand, or a value is out of range.
        """
        asked = [self.places is not None, self.error is not None, bool(self.by_hand)]
        if sum(asked) != 1:
            raise RecipeError(
                "expected one of --n (places in all), --error (wanted standard error of the overall accuracy) and "
                f"--allocate (places of each class); received {sum(asked)} of them"
            )
        if self.error is not None and not 0 < self.error < 0.5:
            raise RecipeError(f"--error {self.error:g}: expected a standard error between 0 and 0.5, such as 0.02")
        for name, value in {**(self.expected or {}), "every class": self.otherwise}.items():
            if not 0 < value < 1:
                raise RecipeError(f"--expect {value:g} ({name}): expected a share between 0 and 1, such as 0.9")


def places_for_error(error: float, shares: npt.ArrayLike, accuracies: npt.ArrayLike, units: int) -> int:
    """Return how many places a wanted standard error of the overall accuracy asks for (Olofsson et al. 2014, eq. 13).

    Args:
        error: Standard error, as a share.
        shares: [classes] of the map's area.
        accuracies: [classes] expected user's accuracies.
        units: Pixels of the map, which matter where they are few.
    """
    weight, expected = np.asarray(shares, np.float64), np.asarray(accuracies, np.float64)
    variance = expected * (1 - expected)
    spread = float((weight * np.sqrt(variance)).sum())
    return math.ceil(spread**2 / (error**2 + float((weight * variance).sum()) / units))


def allocate(design: Design, names: Sequence[str], pixels: IntArray, shares: FloatArray) -> IntArray:
    """Return how many places [classes] to draw from each class.

    Args:
        design: What is asked for.
        names: Of the classes.
        pixels: [classes] of the map.
        shares: [classes] of the map's area.

    Raises:
        RecipeError: if a named class is not there, or there are fewer places or pixels than asked for.
    """
    for name in {**(design.by_hand or {}), **(design.expected or {})}:
        if name not in names:
            raise RecipeError(f"the map has no class {name!r}; it has {', '.join(names)}")
    if design.by_hand:
        wanted = np.array([design.by_hand.get(name, 0) for name in names], np.int64)
        for name, count, there in zip(names, wanted.tolist(), pixels.tolist(), strict=True):
            if not 0 <= count <= there:
                raise RecipeError(f"--allocate {name}={count}: the map has {there} pixels of it")
        return wanted
    accuracies = expected_accuracies(design, names)
    places = design.places or places_for_error(design.error or 0.0, shares, accuracies, int(pixels.sum()))
    worth = {
        "proportional": shares,
        "equal": (pixels > 0).astype(np.float64),
        "neyman": shares * np.sqrt(accuracies * (1 - accuracies)),
    }[design.allocation]
    if places > pixels.sum():
        raise RecipeError(f"{places} places were asked for; the map has {int(pixels.sum())} pixels")
    least = np.minimum(design.least, pixels)
    if design.places is not None and least.sum() > places:
        raise RecipeError(
            f"--n {places} is too few for at least {design.least} places in each of {int((pixels > 0).sum())} classes; "
            f"ask for --n {int(least.sum())} or more, or for fewer with --minimum"
        )
    return _shared_out(max(places, int(least.sum())), worth, least, pixels)


def expected_accuracies(design: Design, names: Sequence[str]) -> FloatArray:
    """Return the user's accuracy [classes] that each class is expected to have."""
    return np.array([(design.expected or {}).get(name, design.otherwise) for name in names])


def expected_error(shares: FloatArray, accuracies: FloatArray, places: IntArray) -> float:
    """Return the standard error of the overall accuracy that a design leads one to expect (eq. 5).

    Args:
        shares: [classes] of the map's area.
        accuracies: [classes] expected user's accuracies.
        places: [classes] drawn.
    """
    drawn = places >= 2
    return float(np.sqrt((shares**2 * accuracies * (1 - accuracies) / np.maximum(places - 1, 1))[drawn].sum()))


def _shared_out(places: int, worth: FloatArray, least: IntArray, most: IntArray) -> IntArray:
    """Share places out in proportion to `worth`, between `least` and `most` of each, to the last one."""
    lower, upper = 0.0, places / worth[worth > 0].min()
    for _ in range(200):  # the sum rises with the factor, so halving finds it
        middle = (lower + upper) / 2
        exact = np.clip(middle * worth, least, most)
        lower, upper = (middle, upper) if exact.sum() < places else (lower, middle)
    found = np.floor(exact + 1e-9).astype(np.int64)
    fraction = np.where(found < most, exact - found, -1)
    found[np.argsort(-fraction, kind="stable")[: max(0, places - int(found.sum()))]] += 1
    return found
