"""How values are proposed: an evolution strategy, and drawing at random, the baseline that it has to beat.

The evolution strategy is the plain one: particles are drawn from a normal distribution of its own mean and deviation in
each setting, and mean and deviation of the best of them are those of the next generation. The deviation keeps a floor,
so that a few lucky particles do not end the search. Particles of `forward` begin at random and follow derivatives
(`fewshot.training.tuning.forward`), each by steps that shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float64]
Method = Literal["evolution", "random", "forward"]

FIRST_DEVIATION = 0.3
LEAST_DEVIATION = 0.05
"""Of the places from 0 to 1 of a setting."""
FIRST_STEP, SHRINKS = 0.15, 0.7
"""Along a derivative, in the same places; each next one is so much of it."""


class Tried(NamedTuple):
    """What came of one particle.

    Attributes:
        places: From 0 to 1, of each setting.
        worth: Greater is better.
        uphill: In which direction it would be better still, as far as that is known.
    """

    places: Places
    worth: float
    uphill: Sequence[float] | None = None


@dataclass(frozen=True)
class Search:
    """How many particles a generation has, and how the next is made of it.

    Attributes:
        method: `evolution`; `random`, which learns nothing; or `forward`, by derivatives.
        particles: Of a generation.
        elites: How many of the best make the next generation.
        seed: The same seed proposes the same, given the same figures.
    """

    method: Method = "evolution"
    particles: int = 8
    elites: int = 3
    seed: int = 0

    def propose(self, generation: int, settings: int, before: Sequence[Tried]) -> Places:
        """Return the places [particles, settings], from 0 to 1, that a generation tries.

        Args:
            generation: Its number, from 0.
            settings: How many are varied.
            before: The generation before; nothing for the first.
        """
        rng = np.random.default_rng([self.seed, generation])
        if self.method != "evolution":
            anew = rng.random((self.particles, settings))
            return anew if self.method == "random" else followed(before, anew, FIRST_STEP * SHRINKS**generation)
        mean, deviation = np.full(settings, 0.5), np.full(settings, FIRST_DEVIATION)
        if before:
            best = sorted(before, key=lambda tried: tried.worth, reverse=True)[: self.elites]
            elites = np.stack([tried.places for tried in best])
            mean, deviation = elites.mean(axis=0), np.maximum(elites.std(axis=0), LEAST_DEVIATION)
        return reflected(mean + deviation * rng.standard_normal((self.particles, settings)))


def followed(before: Sequence[Tried], anew: Places, step: float) -> Places:
    """Return particles [particles, settings] a step further uphill; those that do not know where that is begin anew.

    Args:
        before: The particles; none at first.
        anew: Where they begin.
        step: Its length.
    """
    moved = anew.copy()
    for number, tried in enumerate(before):
        way = np.asarray(tried.uphill or np.zeros(anew.shape[1]))
        length = np.linalg.norm(way)
        if 0 < length < np.inf:
            moved[number] = np.clip(tried.places + step * way / length, 0, 1)
    return moved


def reflected(places: Places) -> Places:
    """Return places from 0 to 1: those outside are mirrored at the ends, so that the ends are not favoured."""
    around = np.mod(places, 2.0)
    return np.minimum(around, 2.0 - around)
