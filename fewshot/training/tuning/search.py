"""How values are proposed: an evolution strategy, and drawing at random, the baseline that it has to beat.

The evolution strategy is the plain one: particles are drawn from a normal distribution of its own mean and deviation in
each setting, and mean and deviation of the best of them are those of the next generation. The deviation keeps a floor,
so that a few lucky particles do not end the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float64]
Method = Literal["evolution", "random"]

FIRST_DEVIATION = 0.3
LEAST_DEVIATION = 0.05
"""Of the places from 0 to 1 of a setting."""


@dataclass(frozen=True)
class Search:
    """How many particles a generation has, and how the next is made of it.

    Attributes:
        method: `evolution`, or `random`, which learns nothing.
        particles: Of a generation.
        elites: How many of the best make the next generation.
        seed: The same seed proposes the same, given the same figures.
    """

    method: Method = "evolution"
    particles: int = 8
    elites: int = 3
    seed: int = 0

    def propose(self, generation: int, settings: int, before: Sequence[tuple[Places, float]]) -> Places:
        """Return the places [particles, settings], from 0 to 1, that a generation tries.

        Args:
            generation: Its number, from 0.
            settings: How many are varied.
            before: Places and figures of the generation before, greater ones better; none for the first.
        """
        rng = np.random.default_rng([self.seed, generation])
        if self.method == "random":
            return rng.random((self.particles, settings))
        mean, deviation = np.full(settings, 0.5), np.full(settings, FIRST_DEVIATION)
        if before:
            best = sorted(before, key=lambda tried: tried[1], reverse=True)[: self.elites]
            elites = np.stack([places for places, _ in best])
            mean, deviation = elites.mean(axis=0), np.maximum(elites.std(axis=0), LEAST_DEVIATION)
        return reflected(mean + deviation * rng.standard_normal((self.particles, settings)))


def reflected(places: Places) -> Places:
    """Return places from 0 to 1: those outside are mirrored at the ends, so that the ends are not favoured."""
    around = np.mod(places, 2.0)
    return np.minimum(around, 2.0 - around)
