"""Pictures of a scene for the screen: tiles of any level, in the bands and the stretch that are asked for."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import RecipeError
from fewshot.geo.composing import PicturePlan
from fewshot.geo.matching import read_spectra
from fewshot.geo.pictures import open_pictures
from fewshot.geo.showing import open_numbers
from fewshot.geo.spectrum import part_of_spectrum
from fewshot.geo.windows import Window, intersection

TILE = 256
_SMALL = 1024  # most rows and columns of the copy of the whole scene that is kept
_AT_ONCE = 512  # rows of the scene that are read at a time for it
_CUTS = (0, 1, 2, 5)  # percent of the pixels that are black, and that are white
_USUAL_CUT = 2
AS_THEY_ARE = PicturePlan()
"""For scenes of which all is shown."""
_PRESETS = {"true": ("red", "green", "blue"), "false": ("nir", "red", "green")}


@dataclass(frozen=True)
class Look:
    """How numbers become colours.

    Attributes:
        bands: Three of the scene's, counted from 1: red, green, blue; or one for grey.
        low: Of each, what is black.
        high: Of each, what is white.
        gamma: Over 1 brightens what is dark.
    """

    bands: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    gamma: float = 1.0

    def __post_init__(self) -> None:
        """Check that there are as many of each.

        Raises:
            RecipeError: if not.
        """
        if len(self.bands) not in (1, 3) or not len(self.bands) == len(self.low) == len(self.high):
            raise RecipeError("expected one band or three, and as many for low and high")
        numbers = (*self.low, *self.high, self.gamma)
        if not all(map(math.isfinite, numbers)) or not 0.05 <= self.gamma <= 20:
            raise RecipeError("low and high are numbers, and gamma is 0.05 to 20")

    def colours(self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """Return RGBA [H, W, 4] of pixels [H, W, bands], transparent where they are not valid."""
        low, high = (np.asarray(ends, np.float32) for ends in (self.low, self.high))
        shown = (pixels.astype(np.float32) - low) / np.where(high > low, high - low, 1)
        shown = np.clip(shown, 0, 1) ** np.float32(1 / self.gamma)
        rgba = np.empty((*pixels.shape[:2], 4), np.uint8)
        rgba[..., :3] = np.round(255 * shown)
        rgba[..., 3] = np.where(valid.all(axis=-1), 255, 0)
        return rgba


@dataclass(frozen=True, eq=False)
class SmallCopy:
    """A whole scene, with few pixels.

    Attributes:
        step: Pixels of the scene in one, along each side.
        pixels: [H, W, bands] as they are stored.
        valid: [H, W, bands] where there is data.
    """

    step: int
    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]


class ScenePictures:
    """A scene as pictures; threads may share it.

    The first levels are taken from a small copy, which is made once: without overviews in its files, each of these
    tiles would read all of the scene.
    """

    def __init__(self, sources: Sequence[str | Path], plan: PicturePlan = AS_THEY_ARE, *, sensor: str = "") -> None:
        """Open a scene.

        Args:
            sources: Files, as neighbours or with a band each; products, STAC items, and dates before their names.
            plan: Which files of it are read, and how several dates become one.
            sensor: What recorded it, where it does not say.

        Raises:
            FewshotError: if it cannot be read as one raster.
        """
        self.info, self._read = open_numbers(open_pictures(sources, plan), plan.composite, sensor=sensor)
        self.spectra = read_spectra(self.info, sensor=sensor)
        self._closed = threading.Event()
        beside = ThreadPoolExecutor(1, "small copy")
        self._small = beside.submit(self._make_small)
        beside.shutdown(wait=False)

    def close(self) -> None:
        """Stop reading the whole scene for the first levels; who waits for them is told."""
        self._closed.set()

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.info.grid.height, self.info.grid.width

    @property
    def levels(self) -> int:
        """Of the pyramid of tiles; the last shows each pixel."""
        return 1 + max(0, math.ceil(math.log2(max(self.size) / TILE)))

    @cached_property
    def presets(self) -> dict[str, list[int]]:
        """Bands for true and false colour, those of the two that the scene has; else "true" as the bands come."""
        parts = [part_of_spectrum(own.wavelength) if own.wavelength else "" for own in self.spectra]
        found = {
            name: [parts.index(part) + 1 for part in wanted]
            for name, wanted in _PRESETS.items()
            if set(wanted) <= set(parts)
        }
        first = list(range(1, 1 + self.info.bands))[:3]
        return found or {"true": first if len(first) == 3 else first[:1]}

    @cached_property
    def stretches(self) -> dict[str, list[tuple[float, float]]]:
        """What is black and white in each band, by the percent that are cut off at each end of the whole scene."""
        small = self._small.result()
        shown = [small.pixels[..., band][small.valid[..., band]] for band in range(self.info.bands)]
        return {str(cut): [_ends(own, cut) for own in shown] for cut in _CUTS}

    @property
    def stretch(self) -> list[tuple[float, float]]:
        """What is usually black and white in each band."""
        return self.stretches[str(_USUAL_CUT)]

    def document(self) -> dict[str, Any]:
        """Return what the page has to know to show the scene."""
        grid = self.info.grid
        named = enumerate(zip(self.spectra, self.info.names, strict=True), start=1)
        return {
            **{"width": grid.width, "height": grid.height},
            "bands": [
                {"index": number, "name": own.name or name or f"band {number}", "wavelength": own.wavelength}
                for number, (own, name) in named
            ],
            "crs": grid.crs.to_string()[:200] if grid.crs is not None else None,
            "pixel_size": grid.pixel_sides(),
            "lonlat": bool(grid.crs is not None and grid.crs.is_geographic),
            **{"stretch": self.stretch, "stretches": self.stretches, "presets": self.presets},
            **{"tile": TILE, "levels": self.levels},
        }

    def usual_look(self) -> Look:
        """Return true colours, or what comes nearest, in the usual stretch."""
        bands = next(iter(self.presets.values()))
        low, high = zip(*(self.stretch[band - 1] for band in bands), strict=True)
        return Look(tuple(bands), low, high)

    def tile(self, level: int, column: int, row: int, look: Look) -> npt.NDArray[np.uint8] | None:
        """Return a tile [TILE, TILE, 4], transparent where the scene has no data, None where there is no tile.

        Args:
            level: 0 shows all of the scene in one tile, the last each pixel.
            column: Of the tile.
            row: Of the tile.
            look: Bands and stretch.

        Raises:
            RecipeError: if a band is not there.
            RasterError: if the scene cannot be read.
        """
        if not 0 <= level < self.levels:
            return None
        step = 1 << (self.levels - 1 - level)
        side = TILE * step
        inside = intersection(Window(row * side, column * side, side, side), Window(0, 0, *self.size))
        if inside is None or min(row, column) < 0:
            return None
        wrong = [band for band in look.bands if not 1 <= band <= self.info.bands]
        if wrong:
            raise RecipeError(f"the scene has bands 1 to {self.info.bands}; received {wrong[0]}")
        rgba = np.zeros((TILE, TILE, 4), np.uint8)
        shown = look.colours(*self._reduced(inside, look.bands, step))
        rgba[: shown.shape[0], : shown.shape[1]] = shown
        return rgba

    def _reduced(
        self, window: Window, bands: Sequence[int], step: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return a window with fewer pixels: from the small copy, every so many of its own, where that has enough."""
        if step >= self._step:
            small = self._small.result()
            every, first = step // small.step, (window.row // small.step, window.column // small.step)
            rows = slice(first[0], first[0] - (-window.height // small.step), every)
            columns = slice(first[1], first[1] - (-window.width // small.step), every)
            chosen = [band - 1 for band in bands]
            return small.pixels[rows, columns][..., chosen], small.valid[rows, columns][..., chosen]
        return self.read(window, bands, step)

    @property
    def _step(self) -> int:
        """Pixels of the scene in one of the small copy."""
        return 1 << max(0, math.ceil(math.log2(max(self.size) / _SMALL)))

    def _make_small(self) -> SmallCopy:
        """Read the whole scene once, piece by piece.

        Raises:
            CancelledError: if it is closed before.
        """
        (height, width), step = self.size, self._step
        bands, parts = range(1, self.info.bands + 1), []
        for row in range(0, height, max(_AT_ONCE, step)):
            if self._closed.is_set():
                raise CancelledError
            window = Window(row, 0, min(max(_AT_ONCE, step), height - row), width)
            parts.append(self.read(window, bands, step))
        pixels, valid = (np.concatenate(own) for own in zip(*parts, strict=True))
        return SmallCopy(step, pixels, valid)

    def read(self, window: Window, bands: Sequence[int], step: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Read a window of the scene, averaged to fewer pixels.

        Args:
            window: Inside the scene; it begins at a multiple of the step.
            bands: Counted from 1.
            step: Pixels of the scene in one of what is returned, along each side.

        Returns:
            Pixels [H, W, bands] as they are stored, and where they are valid.
        """
        return self._read(window, bands, step)


def _ends(shown: npt.NDArray[Any], cut: float) -> tuple[float, float]:
    """Return two percentiles that are apart."""
    low, high = np.percentile(shown, (cut, 100 - cut)).tolist() if shown.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0
