"""Pictures of a scene for the screen: tiles of any level, in the bands and the stretch that are asked for."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import RecipeError
from fewshot.geo.matching import read_spectra
from fewshot.geo.mosaic import ReadNumbers
from fewshot.geo.rasters import RasterInfo
from fewshot.geo.spectrum import part_of_spectrum
from fewshot.geo.windows import Window, intersection

TILE = 256
_SMALL = 2048  # most rows and columns of the copy of the whole scene that is kept
_AT_ONCE = 512  # rows of the scene that are read at a time for it
_HANDS = 2  # threads that make it
_ALL = slice(None)
_SAMPLES, _SAMPLE = 5, 128  # windows each way of a large scene that tell the stretch, and pixels of their sides
_CUTS = (0, 1, 2, 5)  # percent of the pixels that are black, and that are white
_USUAL_CUT = 2
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


Strip = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]
"""Rows of the whole scene with few pixels: [H, W, bands] as they are stored, and where there is data."""


class ScenePictures:
    """A scene as pictures; threads may share it.

    The first levels are taken from a small copy, which is made once, strip by strip from the top: without overviews
    in its files, each of these tiles would read all of the scene.
    """

    def __init__(self, info: RasterInfo, read: ReadNumbers, *, names: Sequence[str] = (), sensor: str = "") -> None:
        """Show a scene.

        Args:
            info: What it says of itself.
            read: Reads it, from several threads.
            names: Of its bands, where they are given and as many; its own else.
            sensor: What recorded it, where it does not say.
        """
        self.info, self._read = info, read
        self.spectra = read_spectra(info, names if len(names) == info.bands else (), sensor)
        self._closed = threading.Event()
        self._step = 1 << max(0, math.ceil(math.log2(max(self.size) / _SMALL)))  # pixels in one of the small copy
        beside = ThreadPoolExecutor(_HANDS, "small copy")
        self._rows = max(_AT_ONCE, self._step)  # of the scene in a strip
        self._strips = [beside.submit(self._strip, row) for row in range(0, self.size[0], self._rows)]
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
        """What is black and white in each band, by the percent that are cut off at each end.

        Of the whole scene; of a large one, so that nobody waits until all of it is read, of windows all over it.
        """
        shown = self._sampled() if self._step > 1 else []
        if not all(own.size for own in shown) or not shown:
            pixels, valid = _joined(self._strips)
            shown = [pixels[..., band][valid[..., band]] for band in range(self.info.bands)]
        return {str(cut): [_ends(own, cut) for own in shown] for cut in _CUTS}

    def waited_for(self, level: int, row: int) -> Sequence[Future[Strip]]:
        """Return what a row of tiles of a level is made of, where that may take a while: strips of the small copy."""
        if not 0 <= level < self.levels or self._pixels_of(level) < self._step or row < 0:
            return ()
        side = TILE * self._pixels_of(level)
        return self._strips_of(row * side, side)

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
        step = self._pixels_of(level)
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
            every, top, left = step // self._step, window.row % self._rows // self._step, window.column // self._step
            rows = slice(top, top - (-window.height // self._step), every)
            columns = slice(left, left - (-window.width // self._step), every)
            chosen = [band - 1 for band in bands]
            pixels, valid = _joined(self._strips_of(window.row, window.height), columns, chosen)
            return pixels[rows], valid[rows]
        return self.read(window, bands, step)

    def _pixels_of(self, level: int) -> int:
        """Return how many pixels of the scene are in one of a level, along each side."""
        return 1 << (self.levels - 1 - level)

    def _strips_of(self, row: int, height: int) -> Sequence[Future[Strip]]:
        """Return the strips that hold rows of the scene."""
        return self._strips[row // self._rows : -(-(row + height) // self._rows)]

    def _strip(self, row: int) -> Strip:
        """Read some rows for the small copy.

        Raises:
            CancelledError: if the scene is closed.
        """
        if self._closed.is_set():
            raise CancelledError
        height, width = self.size
        window = Window(row, 0, min(self._rows, height - row), width)
        return self.read(window, range(1, self.info.bands + 1), self._step)

    def _sampled(self) -> list[npt.NDArray[Any]]:
        """Return numbers of each band, from windows all over the scene."""
        sides = [min(length, _SAMPLE) for length in self.size]
        starts = [
            np.linspace(0, length - side, _SAMPLES).astype(np.int64).tolist()
            for length, side in zip(self.size, sides, strict=True)
        ]
        bands, found = range(1, self.info.bands + 1), []
        for row, column in product(*starts):
            pixels, valid = self.read(Window(row, column, *sides), bands, 1)
            found.append([pixels[..., band - 1][valid[..., band - 1]] for band in bands])
        return [np.concatenate(own) for own in zip(*found, strict=True)]

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


def _joined(strips: Sequence[Future[Strip]], columns: slice = _ALL, bands: Any = _ALL) -> Strip:
    """Wait for strips, and put some of their columns and bands together."""
    found = [[own[:, columns, bands] for own in strip.result()] for strip in strips]
    pixels, valid = (np.concatenate(own) for own in zip(*found, strict=True))
    return pixels, valid


def _ends(shown: npt.NDArray[Any], cut: float) -> tuple[float, float]:
    """Return two percentiles that are apart."""
    low, high = np.percentile(shown, (cut, 100 - cut)).tolist() if shown.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0
