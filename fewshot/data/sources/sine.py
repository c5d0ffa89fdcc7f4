"""Sine waves, the yardstick of few-shot regression (Finn et al. 2017; ranges of Li et al. 2017, Meta-SGD)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot.data.region import FloatArray, RegionSet
from fewshot.data.source import Source
from fewshot.errors import RecipeError


@dataclass(frozen=True)
class Sine(Source):
    """Waves y = amplitude * sin(frequency * x + phase), each drawn uniformly from ranges.

    Attributes:
        amplitude: Least and greatest.
        frequency: Least and greatest, radians per unit of x.
        phase: Least and greatest, radians.
        x: Least and greatest.
        told: An example is x and the three numbers of its wave, which no learner could know: what an oracle is given.
    """

    name: ClassVar[str] = "sine"
    reads_files: ClassVar[bool] = False
    draws_waves: ClassVar[bool] = True

    amplitude: tuple[float, float] = (0.1, 5.0)
    frequency: tuple[float, float] = (0.8, 1.2)
    phase: tuple[float, float] = (0.0, math.pi)
    x: tuple[float, float] = (-5.0, 5.0)
    told: bool = False

    @property
    def inputs(self) -> int:
        """Numbers of an example."""
        return 4 if self.told else 1

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Refuse: there are no regions."""
        raise RecipeError("Sine waves are drawn, not read from regions.")


def draw_sines(
    rng: np.random.Generator, count: int, shots: int, queries: int, *, waves: Sine | None = None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Draw `count` waves, with examples at random places of each.

    Args:
        rng: Every draw comes from it.
        count: Waves; each is a task.
        shots: Support examples a wave.
        queries: Query examples a wave.
        waves: Ranges; those of Meta-SGD's table 1 if None.

    Returns:
        support_x [count, shots, inputs], support_y [count, shots, 1], query_x [count, queries, inputs] and
        query_y [count, queries, 1], all float32.
    """
    waves = waves or Sine()
    numbers = [rng.uniform(*limits, (count, 1, 1)) for limits in (waves.amplitude, waves.frequency, waves.phase)]
    x: npt.NDArray[Any] = rng.uniform(*waves.x, (count, shots + queries, 1))
    amplitude, frequency, phase = numbers
    y = amplitude * np.sin(frequency * x + phase)
    if waves.told:
        x = np.concatenate([x, *(np.broadcast_to(number, x.shape) for number in numbers)], axis=2)
    x, y = x.astype(np.float32), y.astype(np.float32)
    return x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:]
