"""Sine waves, the yardstick of few-shot regression: drawn by `fewshot.data.waves`, read from nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fewshot.data.region import RegionSet
from fewshot.data.source import Source
from fewshot.errors import RecipeError


@dataclass(frozen=True)
class Sine(Source):
    """Sine waves."""

    name: ClassVar[str] = "sine"
    reads_files: ClassVar[bool] = False
    draws_waves: ClassVar[bool] = True

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Refuse: there are no regions.

        Raises:
            RecipeError: always.
        """
        raise RecipeError("Sine waves are drawn, not read from regions.")
