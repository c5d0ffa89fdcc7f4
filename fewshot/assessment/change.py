"""What changed between two maps: from which class to which, where, and how much."""

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.assessment.class_map import BLOCK, ClassMap, open_class_map
from fewshot.assessment.estimates import FloatArray, IntArray
from fewshot.errors import RasterError, RecipeError
from fewshot.files import UNFINISHED, write_whole
from fewshot.geo.grid import Grid
from fewshot.geo.landcover import Colour
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.windows import Window, blocks, keep_every
from fewshot.geo.writing import RasterStyle, bounded_cache, raster_in_blocks, remove_plain, write_cog

UNSURE = "unsure"
"""The class of pixels where one of the maps is not sure enough, or not applicable."""
NODATA = 0
_MOST = 254  # pairs of classes that one byte tells apart, beside no data and what is unsure
_GREY, _UNSURE_GREY = (225, 225, 225), (160, 160, 160)
_PICTURE = 1000  # most rows and columns of the picture

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ChangeRequest:
    """Two maps to compare.

    Attributes:
        old: The earlier map.
        new: The later one, of any grid.
        to: Map of changes to write, .tif, on the grid of the earlier one.
        confidence: Least confidence that both maps must have where a pixel is compared; 0 compares all.
        applicable: Whether a pixel is compared only where both maps say that they are applicable.
        classes: Class table, where the maps do not name their classes themselves.
    """

    old: Path
    new: Path
    to: Path
    confidence: float = 0.0
    applicable: bool = False
    classes: Path | None = None


@dataclass(frozen=True, eq=False)
class ChangeReport:
    """What changed.

    Attributes:
        files: Written, the map of changes last.
        old: Names of the earlier map's classes.
        new: Names of the later map's.
        hectares: [old, new] area that both maps have, by what it was and is.
        unsure: Hectares where one of them is not sure enough, or not applicable.
        picture: Every so many rows and columns of the map of changes.
        aspect: How many times as high as wide a pixel is on the ground.
        names: Of its classes, by number.
        colours: Of its classes, by number.
    """

    files: tuple[Path, ...]
    old: tuple[str, ...]
    new: tuple[str, ...]
    hectares: FloatArray
    unsure: float
    picture: npt.NDArray[np.uint8]
    aspect: float
    names: dict[int, str]
    colours: dict[int, Colour]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the heads and rows of a table for people, in hectares."""
        rows = [
            (name, *(f"{value:,.1f}" if value else "-" for value in row), f"{row.sum():,.1f}")
            for name, row in zip(self.old, self.hectares, strict=True)
        ]
        return ("From \\ to", *self.new, "All"), [*rows, ("All", *(f"{v:,.1f}" for v in self.hectares.sum(axis=0)), "")]

    def lines(self) -> Iterator[str]:
        """Say the main figures in words."""
        total, same = float(self.hectares.sum()), self._same()
        yield f"{total - same:,.1f} of {total:,.1f} hectares are of another class than before."
        if self.unsure:
            why = "one of the maps is not sure enough there, or not applicable"
            yield f"{self.unsure:,.1f} hectares more are not compared: {why}."
        yield (
            "These are areas as mapped; errors of both maps count as changes. For areas with intervals: "
            f"fewshot sample {self.files[-1]}, then fewshot assess."
        )

    def _same(self) -> float:
        pairs = [(i, self.new.index(name)) for i, name in enumerate(self.old) if name in self.new]
        return float(sum(self.hectares[i, j] for i, j in pairs))


def map_changes(request: ChangeRequest, progress: Progress = lambda done, of: None) -> ChangeReport:
    """Compare two maps pixel by pixel and write where which class became which.

    The map of changes is a map like any other: `sample` and `assess` take it.

    Args:
        request: What to compare.
        progress: Told how many blocks of how many are done.

    Raises:
        FewshotError: what opening a map raises.
        RasterError: if they share no ground, or there are too many pairs of classes for one byte.
        RecipeError: if confidence, or where maps are applicable, is asked for and a map has none beside it.
    """
    if request.to.suffix.lower() not in {".tif", ".tiff"}:
        raise RecipeError(f"--to {request.to}: expected a name that ends in .tif")
    old = open_class_map(request.old, request.classes)
    new = open_class_map(request.new, request.classes, on=old.grid)
    sure = _Sureness(request, old.grid)
    windows = list(blocks(old.grid.height, old.grid.width, BLOCK))
    counted = np.zeros((len(old.table.names), len(new.table.names)))
    unsure = 0.0
    for done, window in enumerate(windows):
        before, after, compared = _compared(old, new, sure, window)
        areas = np.broadcast_to(old.grid.pixel_areas(window.row, window.height)[:, np.newaxis], before.shape)
        both = (before >= 0) & (after >= 0)
        pairs = before[both & compared] * counted.shape[1] + after[both & compared]
        counted += np.bincount(pairs, areas[both & compared], counted.size).reshape(counted.shape)
        unsure += float(areas[both & ~compared].sum())
        progress(done, 2 * len(windows))
    if not counted.any() and not unsure:
        raise RasterError(f"{request.old} and {request.new} share no pixel with a class; expected maps of one region")
    numbers, style = _style(old, new, counted, unsure=unsure > 0)
    high, wide = old.grid.pixel_sides()
    picture = _write(request.to, (old, new, sure), numbers, style, windows, progress)
    report = ChangeReport(
        (request.to.with_suffix(".json"), request.to.with_suffix(".png"), request.to),
        old.table.names,
        new.table.names,
        counted / 10_000,
        unsure / 10_000,
        picture,
        high / wide,
        {int(key.removeprefix("CLASS_")): name for key, name in style.tags.items()},
        dict(style.colours),
    )
    write_whole(report.files[0], lambda path: path.write_text(_json(request, report), encoding="utf-8"))
    return report


class _Sureness:
    """Where both maps are sure enough, and applicable where that is asked for."""

    def __init__(self, request: ChangeRequest, grid: Grid) -> None:
        """Find what lies beside each map.

        Raises:
            RecipeError: if something is asked for and is not there.
        """
        self.reader = RasterReader()
        self.files = []
        for path in (request.old, request.new):
            sure, inside = (path.with_name(f"{path.stem}_{kind}.tif") for kind in ("confidence", "applicable"))
            if request.confidence and not sure.is_file():
                raise RecipeError(
                    f"--confidence {request.confidence:g}: there is no {sure} beside the map, to say where it is sure"
                )
            if request.applicable and not inside.is_file():
                raise RecipeError(
                    f"--applicable: there is no {inside} beside the map, to say where it holds; "
                    "fewshot map --applicable writes it"
                )
            wanted = [(sure, request.confidence), (inside, float(request.applicable))]
            self.files += [(file, least, self._laid_on(file, grid)) for file, least in wanted if least]

    @staticmethod
    def _laid_on(file: Path, grid: Grid) -> Grid | None:
        """Return the grid to read a raster on, None where that is its own."""
        return None if describe_raster(file).grid.same_as(grid) else grid

    def read(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return where both are sure [H, W]."""
        sure = np.ones((window.height, window.width), np.bool_)
        for file, least, laid_on in self.files:
            levels, valid = self.reader.read(file, window, bands=[1], grid=laid_on)
            sure &= valid[..., 0] & (levels[..., 0] >= least)
        return sure


def _compared(
    old: ClassMap, new: ClassMap, sure: _Sureness, window: Window
) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Return both maps' classes [H, W] and where they are sure enough."""
    return old.read(window), new.read(window), sure.read(window)


def _style(
    old: ClassMap, new: ClassMap, counted: FloatArray, *, unsure: bool
) -> tuple[npt.NDArray[np.uint8], RasterStyle]:
    """Number, name and paint the pairs of classes [old, new] that occur, and after them what is unsure, if anything is.

    Raises:
        RasterError: if there are more than a byte can number.
    """
    pairs = np.argwhere(counted > 0)
    if len(pairs) > _MOST:
        raise RasterError(
            f"{len(pairs)} pairs of classes occur; a map of changes holds {_MOST}. Merge classes in a class table first"
        )
    numbers = np.zeros((len(old.table.names) + 1, len(new.table.names) + 1), np.uint8)
    names, colours = {}, {}
    for number, (before, after) in enumerate(pairs.tolist(), start=1):
        first, second = old.table.names[before], new.table.names[after]
        numbers[before, after] = number
        names[number] = first if first == second else f"{first} to {second}"
        colours[number] = _GREY if first == second else new.table.colours.get(after, (200, 0, 80))
    if unsure:
        numbers[-1, -1] = last = len(pairs) + 1
        names[last], colours[last] = UNSURE, _UNSURE_GREY
    tags = {f"CLASS_{number}": name for number, name in names.items()}
    return numbers, RasterStyle("uint8", ("change",), NODATA, colours, tags)


@bounded_cache()
def _write(
    to: Path,
    maps: tuple[ClassMap, ClassMap, _Sureness],
    numbers: npt.NDArray[np.uint8],
    style: RasterStyle,
    windows: Sequence[Window],
    progress: Progress,
) -> npt.NDArray[np.uint8]:
    """Write the map of changes, and return a small picture of it."""
    grid = maps[0].grid
    step = max(1, -(-max(grid.height, grid.width) // _PICTURE))
    picture = np.full((-(-grid.height // step), -(-grid.width // step)), NODATA, np.uint8)
    own = zlib.crc32(to.name.encode())
    plain, whole = (to.with_name(f"{UNFINISHED}{kind}-{own:08x}") for kind in ("plain", "cog"))
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with raster_in_blocks(plain, grid, style) as writer:
            for done, window in enumerate(windows):
                before, after, compared = _compared(*maps, window)
                codes = np.where(compared, numbers[before, after], numbers[-1, -1])
                codes[(before < 0) | (after < 0)] = NODATA
                writer.write(window, codes)
                keep_every(step, picture, window, codes)
                progress(len(windows) + done + 1, 2 * len(windows))
        write_cog(plain, whole, classes=True)
        whole.replace(to)
    finally:
        remove_plain(plain)
        whole.unlink(missing_ok=True)
    return picture


def _json(request: ChangeRequest, report: ChangeReport) -> str:
    content = {
        "fewshot_change": 1,
        "old": str(request.old),
        "new": str(request.new),
        "confidence": request.confidence,
        "applicable": request.applicable,
        "classes": {"old": list(report.old), "new": list(report.new)},
        "hectares": {"rows": "old", "columns": "new", "areas": report.hectares.tolist()},
        "unsure_hectares": report.unsure,
    }
    return json.dumps(content, indent=1) + "\n"
