"""Pictures of several dates as one scene: composed pixel by pixel while windows are read, or as further bands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date as Date
from functools import partial
from typing import Any, Literal

import numpy as np

from fewshot.errors import RasterError
from fewshot.geo.bands import Band, BandMatch
from fewshot.geo.composing import Composing
from fewshot.geo.dated import DatedPlaces
from fewshot.geo.grid import Grid
from fewshot.geo.lattice import lay_out, same_ground
from fewshot.geo.matching import By
from fewshot.geo.mosaic import Layer, Part, Picture, describe_mosaic
from fewshot.geo.rasters import RasterInfo, RasterReader
from fewshot.geo.scene import BoolArray, FloatArray, Gaps, Scene, Stored
from fewshot.geo.spool import Spool
from fewshot.geo.windows import IntArray, Window, intersection

_AT_ONCE = 8 << 20
"""Numbers of all dates that are composed at once: the same however many dates there are."""

_OPEN_FILES = 256
"""Rasters of all dates that are open at once in each thread: ten dates of two dozen bands and masks."""

_AROUND = 64
"""Pixels around a place whose date is known that are of that date too."""

_RED, _NIR = (622.0, 692.0), (795.0, 905.0)  # nm, centres

_WORDS = {"median": "the median", "mean": "the mean", "ndvi": "that with the greatest NDVI"}


@dataclass(frozen=True)
class DatedScene:
    """What was recorded on one day.

    Attributes:
        date: As "2024-06-01".
        scene: Of that day, read in the bands' units.
        window: Where it lies in the composite.
    """

    date: str
    scene: Scene
    window: Window

    def reduced(self, step: int, first: tuple[int, int]) -> "DatedScene":
        """Return the day with fewer pixels, those of the reduced composite.

        Args:
            step: Pixels of the composite in one of these.
            first: Row and column of the composite where the first of these begins.
        """
        row, column = ((own - begin) // step for own, begin in zip(self.window, first, strict=False))
        before = row * step + first[0] - self.window.row, column * step + first[1] - self.window.column
        scene = self.scene.reduced(step, before)
        return replace(self, scene=scene, window=Window(row, column, scene.grid.height, scene.grid.width))


class Composite(Scene):
    """A scene whose pixels are made of those of the dates that show them."""

    def __init__(  # noqa: PLR0913  what a scene has, and the dates
        self,
        info: RasterInfo,
        match: BandMatch,
        dates: tuple[DatedScene, ...],
        how: Composing,
        *,
        stored: Stored | None = None,
        gaps: Gaps = "zero",
        places: DatedPlaces | None = None,
    ) -> None:
        """Keep what was found; nothing is read yet.

        Args:
            info: Of the first date, on the grid that holds all.
            match: Where the wanted bands are, on the first date.
            dates: At least one.
            how: "median", "mean" or "ndvi".
            stored: As for a scene.
            gaps: As for a scene.
            places: Around these a pixel is not composed, but that of the date nearest to theirs of those that show it.
        """
        parts = tuple(_shifted(part, dated.window) for dated in dates for part in dated.scene.parts)
        super().__init__(info, match, parts, stored=stored, gaps=gaps, reader=dates[0].scene.reader)
        self._dates, self._how, self._places = dates, how, places

    def reading(self, bands: Sequence[Band], *, stored: Stored | None = None, gaps: Gaps = "zero") -> Scene:
        """Return the scene as it is read otherwise; see `Scene.reading`.

        Args:
            bands: As they were found, with other scales or units.
            stored: What is read instead of values.
            gaps: What stands where there is no data.
        """
        dates = tuple(replace(dated, scene=dated.scene.reading(bands)) for dated in self._dates)
        match = replace(self.match, bands=tuple(bands))
        return Composite(self.info, match, dates, self._how, stored=stored, gaps=gaps, places=self._places)

    def of_dates(self, places: DatedPlaces | None) -> Scene:
        """Return the scene as it was around places at their dates.

        Args:
            places: The nearest one gives a pixel its date; of the dates that show the pixel the nearest to that counts.
        """
        settings: dict[str, Any] = {"stored": self.stored, "gaps": self.gaps, "places": places}
        return Composite(self.info, self.match, self._dates, self._how, **settings) if places is not None else self

    def reduced(self, step: int, first: tuple[int, int] = (0, 0)) -> Scene:
        """Return the scene with fewer pixels, composed of the means of each date, nowhere by the dates of places.

        Args:
            step: As for `Scene.reduced`.
            first: As for `Scene.reduced`.
        """
        if step == 1:
            return self
        info = replace(self.info, grid=self.grid.reduced(step, first))
        dates = tuple(dated.reduced(step, first) for dated in self._dates)
        return Composite(info, self.match, dates, self._how, stored=self.stored, gaps=self.gaps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without the open files."""
        made = partial(Composite, stored=self.stored, gaps=self.gaps, places=self._places)
        return made, (self.info, self.match, self._dates, self._how)

    def lines(self) -> tuple[str, ...]:
        """Say how the scene is read, and which dates it is made of."""
        dates = [dated.date for dated in self._dates]
        return (
            *super().lines(),
            f"Dates: {len(dates)}, {dates[0]} to {dates[-1]}; each pixel is {_WORDS[self._how]} of those that show it.",
        )

    def describe(self) -> dict[str, Any]:
        """Return how the scene is read; see `Scene.describe`."""
        return super().describe() | {"composite": self._how, "dates": [dated.date for dated in self._dates]}

    def _read(self, window: Window, stored: Stored | None) -> tuple[FloatArray, BoolArray]:
        """Read a window inside the scene."""
        values = self._composed(window)
        valid = np.asarray(np.isfinite(values).all(axis=-1), np.bool_)
        filled = values[valid].mean(axis=0) if self.gaps == "mean" and valid.any() else 0.0
        values[~valid] = filled
        if stored is not None:
            values = ((values - np.array(stored.offset)) / np.array(stored.scale)).astype(np.float32)
        return np.clip(np.round(values), 0, 255) if stored and stored.whole else values, valid

    def _composed(self, window: Window) -> FloatArray:
        """Return values [H, W, bands] of the dates together, NaN where no date shows a pixel.

        Each date is read once, since to unpack its blocks may take longer than all else; then some rows of all dates
        are in memory at a time.
        """
        values = np.full((window.height, window.width, len(self.match.bands)), np.nan, np.float32)
        shown = [dated for dated in self._dates if intersection(window, dated.window)]
        rows = max(1, _AT_ONCE // (window.width * values.shape[-1] * max(1, len(shown))))
        with Spool(len(shown), values.shape) as spool:
            for dated in shown:
                spool.add(_picture(dated, window))
            for first in range(0, window.height if shown else 0, rows):
                strip = Window(window.row + first, window.column, min(rows, window.height - first), window.width)
                found = spool.rows(first, strip.height)
                values[first : first + strip.height] = self._together(found, [dated.date for dated in shown], strip)
        return values

    def _together(self, found: FloatArray, dates: Sequence[str], strip: Window) -> FloatArray:
        """Return one picture of those of several dates [dates, H, W, bands]."""
        composed = compose(found, self._how, *(_colours(self.match) if self._how == "ndvi" else (0, 0)))
        wanted = None if self._places is None else _days_near(strip, self._places)
        if wanted is None or not wanted.any():
            return composed
        days = np.array([Date.fromisoformat(date).toordinal() for date in dates])
        apart = np.abs(days[:, np.newaxis, np.newaxis] - wanted)
        apart[np.isnan(found[..., 0])] = Date.max.toordinal()  # more than any
        own = np.take_along_axis(found, apart.argmin(axis=0)[np.newaxis, ..., np.newaxis], axis=0)[0]
        return np.where(wanted[..., np.newaxis] > 0, own, composed)


def _picture(dated: DatedScene, window: Window) -> FloatArray:
    """Return what a date shows of a window [H, W, bands], NaN where it shows nothing."""
    picture = np.full((window.height, window.width, len(dated.scene.match.bands)), np.nan, np.float32)
    here = intersection(window, dated.window)
    if here is not None:
        values, seen = dated.scene._read(here.within(dated.window), None)
        picture[here.within(window).slices] = np.where(seen[..., np.newaxis], values, np.nan)
    return picture


def _days_near(window: Window, places: DatedPlaces) -> IntArray:
    """Return the day [H, W] of the nearest place, 0 where none is near."""
    down, across = np.arange(window.height)[:, np.newaxis], np.arange(window.width)
    wanted = np.zeros((window.height, window.width), np.int64)
    nearest = np.full(wanted.shape, _AROUND + 1)
    rows, columns = places.rows - window.row, places.columns - window.column
    near = (rows >= -_AROUND) & (rows < window.height + _AROUND)
    near &= (columns >= -_AROUND) & (columns < window.width + _AROUND)
    for row, column, day in zip(rows[near], columns[near], places.days[near], strict=True):
        distance = np.maximum(np.abs(down - row), np.abs(across - column))
        closer = distance < nearest
        nearest[closer] = distance[closer]
        wanted[closer] = day
    return wanted


def _shifted(part: Part, outer: Window) -> Part:
    """Return a part as it lies in the composite."""
    window = part.window._replace(row=part.window.row + outer.row, column=part.window.column + outer.column)
    return replace(part, window=window)


def compose(values: FloatArray, how: Composing, red: int = 0, nir: int = 0) -> FloatArray:
    """Make one picture of several.

    Args:
        values: [dates, H, W, bands], NaN in all bands of a pixel that a date does not show.
        how: "median", "mean" or "ndvi": the date on which (nir - red) / (nir + red) is greatest, of values
            below 0 as if they were 0.
        red: Which band that is, for "ndvi".
        nir: Which band that is, for "ndvi".

    Returns:
        [H, W, bands], NaN where no date shows a pixel.
    """
    seen = np.isfinite(values[..., :1]).sum(axis=0, keepdims=True)
    if how == "mean":
        return np.asarray(np.nansum(values, axis=0) / np.where(seen, seen, np.nan)[0], np.float32)
    if how == "ndvi":
        # Correction for the atmosphere may leave less than nothing, which no index of -1 to 1 comes of.
        one, other = np.maximum(values[..., red], 0), np.maximum(values[..., nir], 0)
        index = (other - one) / np.where(one + other > 0, one + other, np.nan)
        best = np.where(np.isfinite(index), index, np.where(np.isfinite(values[..., red]), -2, -3)).argmax(axis=0)
        return np.asarray(np.take_along_axis(values, best[np.newaxis, ..., np.newaxis], axis=0)[0], np.float32)
    rising = np.sort(values, axis=0)  # NaN last
    middle = [np.take_along_axis(rising, np.maximum(place, 0), axis=0)[0] for place in ((seen - 1) // 2, seen // 2)]
    return np.asarray(np.where(seen[0] > 0, (middle[0] + middle[1]) / 2, np.nan), np.float32)


def _colours(match: BandMatch) -> tuple[int, int]:
    """Return which of the wanted bands show red and near infrared.

    Raises:
        RasterError: if one is missing.
    """
    found = []
    for low, high in (_RED, _NIR):
        centres = [
            (match.spectra[number - 1].wavelength if number and match.spectra else None) or band.wavelength or 0
            for band, number in zip(match.bands, match.numbers, strict=True)
        ]
        places = [place for place, number in enumerate(match.numbers) if number and low <= centres[place] < high]
        if not places:
            raise RasterError(
                f"--composite ndvi needs red and near infrared, and which bands these are is not known: {match.say()}. "
                "Say what recorded them with --sensor, name the bands with --bands, or choose --composite median."
            )
        found.append(places[0])
    return found[0], found[1]


def describe_pictures(pictures: Sequence[Picture], how: Composing) -> RasterInfo:
    """Return what a scene of pictures says of itself, with all bands that it may have.

    Args:
        pictures: One a date.
        how: They become one scene.

    Raises:
        RasterError: if they do not fit together.
    """
    if len(pictures) == 1 or how == "stack":
        return describe_mosaic(_layers(pictures))[0]
    infos = [describe_mosaic(picture.layers)[0] for picture in pictures]
    grid, _ = lay_out([(picture.layers[0].source, info.grid) for picture, info in zip(pictures, infos, strict=True)])
    return replace(infos[0], grid=grid)


def open_dates(  # noqa: PLR0913  as `Scene.open`
    pictures: Sequence[Picture],
    how: Composing,
    bands: Sequence[Band],
    *,
    chosen: Sequence[str | int] = (),
    missing: Literal["refuse", "allow"] = "refuse",
    sensor: str = "",
    by: By = "name",
    reader: RasterReader | None = None,
) -> Scene:
    """Find the wanted bands in pictures of one or several dates.

    Args:
        pictures: One a date.
        how: They become one scene: "stack", or as `compose` has it, the median if "".
        bands: The wanted ones; this and what follows as for `Scene.open`.
        chosen: Overrules the descriptions of the bands.
        missing: Whether the scene may lack wanted bands.
        sensor: What recorded it.
        by: What is trusted.
        reader: Keeps files open; scenes may share one. If None, one that keeps those of all dates open.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if the dates cannot be joined, or bands are missing.
    """

    def open_one(layers: Sequence[Layer], reader: RasterReader | None) -> Scene:
        return Scene.open(layers, bands, chosen=chosen, missing=missing, sensor=sensor, by=by, reader=reader)

    if len(pictures) == 1 or how == "stack":
        return open_one(_layers(pictures), reader)
    reader = reader or RasterReader(open_files=_OPEN_FILES)
    scenes = [open_one(picture.layers, reader) for picture in pictures]
    first = scenes[0]
    for scene in scenes[1:]:
        _require_alike(first, scene)
    grid, windows = lay_out([(scene.parts[0].source, scene.grid) for scene in scenes])
    dated = tuple(
        DatedScene(picture.date, scene, window)
        for picture, scene, window in zip(pictures, scenes, windows, strict=True)
    )
    if how == "ndvi":
        _colours(first.match)
    return Composite(replace(first.info, grid=grid), first.match, dated, how or "median")


def _layers(pictures: Sequence[Picture]) -> tuple[Layer, ...]:
    """Return the files of all pictures, their bands called by their dates where there are several.

    Raises:
        RasterError: if several do not show the same ground, so that a pixel would lack bands.
    """
    if len(pictures) == 1:
        return pictures[0].layers
    grids = [describe_mosaic(picture.layers)[0].grid for picture in pictures]
    for picture, grid in zip(pictures[1:], grids[1:], strict=True):
        if not same_ground(grids[0], grid):
            raise RasterError(
                f"{picture.layers[0].source} of {picture.date} is {_extent(grid)}, {pictures[0].layers[0].source} of "
                f"{pictures[0].date} {_extent(grids[0])}; expected the same ground of dates that are further bands "
                "(--composite stack). Cut them to one extent first, for example with gdalwarp -te, or choose "
                "--composite median"
            )
    return tuple(_dated(layer, picture.date) for picture in pictures for layer in picture.layers)


def _extent(grid: Grid) -> str:
    """Say where dates lie, for messages."""
    return grid.extent() if grid.crs else f"{grid.height}x{grid.width} pixels"


def _dated(layer: Layer, date: str) -> Layer:
    names = tuple(f"{name or f'band {n}'} {date}" for n, name in enumerate(layer.info.names, start=1))
    return replace(layer, info=replace(layer.info, names=names))


def _require_alike(first: Scene, other: Scene) -> None:
    """Refuse dates that cannot be composed: other bands, or numbers of another worth."""
    one, two = (scene.parts[0].source for scene in (first, other))
    bands = [[scene.info.names[number - 1] for number in scene.match.used] for scene in (first, other)]
    listed = first.match.how == "list"  # by their numbers, whatever they are called
    if first.match.present.tolist() != other.match.present.tolist() or (listed and bands[0] != bands[1]):
        raise RasterError(
            f"{one} and {two} cannot be composed: of the model's bands one has {first.match.say()}, the other "
            f"{other.match.say()}. Expected the same bands on all dates."
        )
    if first.info.product != other.info.product:
        raise RasterError(
            f"{one} and {two} cannot be composed: their products' scales and offsets are {first.info.product} and "
            f"{other.info.product}, which the files do not state. Name the products' own folders, or write reflectance."
        )
