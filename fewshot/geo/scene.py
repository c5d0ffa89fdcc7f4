"""A scene: one raster, or several read as one, with its bands found; what training and mapping read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.averages import read_averages
from fewshot.geo.bands import Band, BandMatch
from fewshot.geo.dated import DatedPlaces
from fewshot.geo.grid import Grid
from fewshot.geo.matching import By, match_bands
from fewshot.geo.mosaic import Layer, Part, describe_mosaic, open_layer, read_parts, read_reduced
from fewshot.geo.names import local_file, short_name
from fewshot.geo.rasters import RasterInfo, RasterReader
from fewshot.geo.values import check_units, to_values
from fewshot.geo.windows import Window, intersection

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Gaps = Literal["zero", "mean"]

_LOOKED_AT = 256  # rows and columns of a window whose unit is checked
_LOOKS = 64  # such windows that are looked at before a scene counts as one without data


@dataclass(frozen=True)
class Stored:
    """Numbers that stand for values, where a reader wants these: value = scale * number + offset, of each band.

    Attributes:
        scale: Of each band.
        offset: Of each band.
        whole: Whether they are whole numbers from 0 to 255.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    whole: bool


class Scene:
    """A scene and where in it the wanted bands are. Each process opens the files for itself.

    Attributes:
        info: What the whole says of itself.
        match: Where the wanted bands are.
        parts: The files.
        stored: What is read instead of values.
        gaps: What stands where there is no data.
        reader: Keeps files open.
    """

    def __init__(
        self,
        info: RasterInfo,
        match: BandMatch,
        parts: tuple[Part, ...],
        *,
        stored: Stored | None = None,
        gaps: Gaps = "zero",
        reader: RasterReader | None = None,
    ) -> None:
        """Keep what was found; nothing is read yet.

        Args:
            info: What the whole says of itself.
            match: Where the wanted bands are.
            parts: The files.
            stored: What is read instead of values.
            gaps: What stands where there is no data: 0, or the mean of the band in what is read.
            reader: Keeps files open; scenes may share one.
        """
        self.info, self.match, self.parts = info, match, parts
        self.stored, self.gaps, self.reader = stored, gaps, reader or RasterReader()

    @classmethod
    def open(  # noqa: PLR0913  each may be left out
        cls,
        sources: Sequence[str | Path | Layer],
        bands: Sequence[Band],
        *,
        chosen: Sequence[str | int] = (),
        missing: Literal["refuse", "allow"] = "refuse",
        sensor: str = "",
        by: By = "name",
        reader: RasterReader | None = None,
    ) -> "Scene":
        """Find the wanted bands in a scene.

        Args:
            sources: One file, or another name that GDAL opens; or several, as neighbours or with a band each.
            bands: The wanted bands, in their order, and what their digital numbers are worth.
            chosen: Overrules the descriptions of the scene's bands; see `match_bands`.
            missing: Whether the scene may lack wanted bands.
            sensor: What recorded the scene, where it does not say.
            by: What is trusted; see `match_bands`.
            reader: Keeps files open; scenes may share one.

        Raises:
            DataNotFoundError: if a file does not exist.
            RasterError: if one cannot be read, they do not fit together, or bands are missing.
        """
        if not sources:
            raise RasterError("no scene was named; expected at least one raster")
        layers = [open_layer(source) for source in sources]
        info, parts = describe_mosaic(layers)
        told = bool(chosen) or not info.undescribed or all(own.wavelength for own in info.spectra)
        if len({part.window for part in parts}) < len(parts) and not told:
            raise RasterError(
                f"{', '.join(part.source for part in parts[:4])}{', ...' if len(parts) > 4 else ''} lie on one grid, "
                f"so they are the {info.bands} bands of one scene; but neither their descriptions nor their names say "
                "which is which. Name the bands, in the order of the files, with --bands (bands in a list of scenes)."
            )
        match = match_bands(bands, info, chosen=list(chosen) or None, missing=missing, sensor=sensor, by=by)
        used = {part.source for part in parts if set(part.bands) & set(match.used)}
        if not chosen and any(part.grid for part in parts) and len(used) < len(parts):
            # The grid is the finest of the bands that are read, not of all that are there.
            info, parts = describe_mosaic([layer for layer in layers if layer.source in used])
            match = match_bands(bands, info, missing=missing, sensor=sensor, by=by)
        return cls(info, match, parts, reader=reader)

    def reading(self, bands: Sequence[Band], *, stored: Stored | None = None, gaps: Gaps = "zero") -> "Scene":
        """Return the scene as it is read otherwise.

        Args:
            bands: As they were found, with other scales or units.
            stored: What is read instead of values.
            gaps: What stands where there is no data.
        """
        match = replace(self.match, bands=tuple(bands))
        return Scene(self.info, match, self.parts, stored=stored, gaps=gaps, reader=self.reader)

    def of_dates(self, places: DatedPlaces | None) -> "Scene":
        """Return the scene as it was around places at their dates; this is one of a single date, and the same then."""
        return self

    def reduced(self, step: int, first: tuple[int, int] = (0, 0)) -> "Scene":
        """Return the scene with fewer pixels, each the mean of `step` x `step` of its own.

        Args:
            step: 1 for the scene as it is.
            first: Row and column where the first of them begins, none of them more than 0.
        """
        return ReducedScene(self, step, first) if step > 1 else self

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without the open files."""
        made = partial(Scene, stored=self.stored, gaps=self.gaps, reader=self.reader)
        return made, (self.info, self.match, self.parts)

    @property
    def grid(self) -> Grid:
        """Size and georeference."""
        return self.info.grid

    def read(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Read a window that may reach outside of the scene.

        Returns:
            Values [H, W, bands] float32 in the bands' units, or the numbers that are wanted for them; mirrored outside
            of the scene, and standing for zero, or for the mean with `gaps`, where there is no data, and for zero in
            bands that the scene lacks. And where every band that it has is valid [H, W], nowhere outside of the scene.

        Raises:
            RasterError: if a file cannot be read, or nothing of the window lies in the scene.
        """
        inside = intersection(window, self._whole)
        if inside is None:
            raise RasterError(f"{window} lie outside of {self.info.path}, {self.grid.height}x{self.grid.width} pixels")
        values, valid = self._read(inside, self.stored)
        before = (inside.row - window.row, inside.column - window.column)
        after = (window.height - inside.height - before[0], window.width - inside.width - before[1])
        if any(before) or any(after):
            added = list(zip(before, after, strict=True))
            values = np.pad(values, [*added, (0, 0)], mode="symmetric")
            valid = np.pad(valid, added)
        return values, valid

    def valid(self, window: Window) -> BoolArray:
        """Say where a window inside the scene has data [H, W]."""
        return self._read(window, None)[1]

    def check_units(self, near: tuple[int, int] | None = None) -> None:
        """Refuse values that cannot be in the unit that is wanted.

        Args:
            near: Row and column of a pixel with data; if None, windows of the whole scene are looked at until one has.

        Raises:
            RasterError: if reflectance is far outside of about 0-1 once scaled.
        """
        height, width, side = self.grid.height, self.grid.width, _LOOKED_AT
        if near is not None:
            row, column = near
            self.check_window(Window(max(0, row - side // 2), max(0, column - side // 2), side, side))
            return
        down, across = -(-height // side), -(-width // side)
        for number in np.linspace(0, down * across - 1, min(down * across, _LOOKS), dtype=np.int64).tolist():
            row, column = divmod(number, across)
            if self.check_window(Window(row * side, column * side, side, side)):
                return

    def check_window(self, window: Window) -> bool:
        """Refuse values of a window that cannot be in the unit that is wanted; return whether it has any.

        Raises:
            RasterError: if reflectance is far outside of about 0-1 once scaled.
        """
        inside = intersection(window, self._whole)
        if inside is None:
            return False
        values, valid = self._read(inside, None)
        check_units(values, valid, self.info, self.match)
        return bool(valid.any())

    def files(self) -> list[dict[str, Any]]:
        """Return each file with its size and the time of its last change, to know it again."""
        return [_state(part.source) for part in self.parts]

    def lines(self) -> tuple[str, ...]:
        """Say which band went where, which take the nearest of larger pixels, and what is left out."""
        lines = [f"Bands: {self.match.say()}."]
        wanted = zip(self.match.bands, self.match.numbers, strict=True)
        coarse = {number for part in self.parts if part.grid for number in part.bands}
        if names := [band.name for band, number in wanted if number in coarse]:
            down, across = self.grid.pixel_sides()
            size = f"{down:.3g} x {across:.3g} m"
            lines.append(f"{', '.join(names)}: larger pixels, brought to {size} by the nearest.")
        masks = {part.mask.codes.say(): part.mask.source for part in self.parts if part.mask}
        return (*lines, *(f"Mask {short_name(source)}: left out are {said}." for said, source in masks.items()))

    def describe(self) -> dict[str, Any]:
        """Return how the scene is read where that is not plain, for `map.json` and to know it again."""
        masks = {
            (part.mask.source, part.mask.band): {
                **_state(part.mask.source),
                **{"band": part.mask.band, "left_out": part.mask.codes.say()},
            }
            for part in self.parts
            if part.mask
        }
        return {"masks": list(masks.values())} if masks else {}

    @property
    def _whole(self) -> Window:
        return Window(0, 0, self.grid.height, self.grid.width)

    def _numbers(self, window: Window, bands: Sequence[int]) -> tuple[npt.NDArray[Any], BoolArray]:
        """Read digital numbers of bands, and where they are valid."""
        return read_parts(self.reader, self.parts, window, bands)

    def _read(self, window: Window, stored: Stored | None) -> tuple[FloatArray, BoolArray]:
        """Read a window inside the scene."""
        if self.match.groups:
            pixels, valid = read_averages(self._numbers, window, self.info, self.match)
        else:
            pixels, valid = self._numbers(window, self.match.found)
        numbers = list(zip(stored.scale, stored.offset, strict=True)) if stored else None
        values, complete = to_values(pixels, valid, self.info, self.match, stored=numbers, gaps=self.gaps)
        return np.clip(np.round(values), 0, 255) if stored and stored.whole else values, complete


class ReducedScene(Scene):
    """A scene with fewer pixels than its files have, read through their overviews where they have some."""

    def __init__(self, scene: Scene, step: int, first: tuple[int, int] = (0, 0)) -> None:
        """Look at a scene so; see `Scene.reduced`.

        Args:
            scene: As its files have it.
            step: Of its pixels in one.
            first: Where the first one begins.
        """
        info = replace(scene.info, grid=scene.grid.reduced(step, first))
        super().__init__(info, scene.match, scene.parts, stored=scene.stored, gaps=scene.gaps, reader=scene.reader)
        self._scene, self._step, self._first = scene, step, first

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as what it was made of."""
        return ReducedScene, (self._scene, self._step, self._first)

    def _numbers(self, window: Window, bands: Sequence[int]) -> tuple[npt.NDArray[Any], BoolArray]:
        grid, (row, column) = self._scene.grid, self._first
        down = _cut(window.row * self._step + row, window.height, self._step, grid.height)
        across = _cut(window.column * self._step + column, window.width, self._step, grid.width)
        pixels, valid = [], []
        for top, height, rows in down:
            found = [
                read_reduced(self.reader, self.parts, Window(top, left, height, width), bands, (rows, columns))
                for left, width, columns in across
            ]
            pixels.append(np.concatenate([own for own, _ in found], axis=1))
            valid.append(np.concatenate([own for _, own in found], axis=1))
        return np.concatenate(pixels), np.concatenate(valid)


def _cut(first: int, count: int, step: int, end: int) -> list[tuple[int, int, int]]:
    """Cut what larger pixels show into the first of them, the last, and all between: the two may hold fewer pixels.

    Args:
        first: Pixel from which the first one is counted; none if less than 0.
        count: Larger pixels.
        step: Pixels in one of them.
        end: Pixels that there are.

    Returns:
        First pixel and number of pixels of each cut, and in how many larger ones they lie.
    """
    edges = sorted({0, int(first < 0), count - int(first + count * step > end), count})
    spans = [(max(0, first + one * step), min(end, first + two * step)) for one, two in pairwise(edges)]
    return [(begin, stop - begin, two - one) for (begin, stop), (one, two) in zip(spans, pairwise(edges), strict=True)]


def _state(source: str) -> dict[str, Any]:
    """Return a file with its size and the time of its last change; of an address not what signs it for a while."""
    path = local_file(source)
    state = path.stat() if path is not None and path.exists() else None
    name = source.partition("?")[0] if re.search(r"https?:/", source) else source
    return {"file": name, "bytes": state and state.st_size, "changed": state and state.st_mtime_ns}
