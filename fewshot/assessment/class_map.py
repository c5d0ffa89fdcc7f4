"""A finished map, as it is assessed: its classes, how much of it each has, and what it says at places."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.assessment.estimates import FloatArray, IntArray
from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.labels import LabelFiles, found_classes, require_georeference
from fewshot.geo.landcover import ClassTable, class_table, read_class_table
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.windows import Window, blocks

BLOCK = 1024
"""Rows and columns that are read at a time."""


@dataclass(frozen=True)
class AreaUnit:
    """In what areas are said to people.

    Attributes:
        name: Of the unit.
        short: The same in the head of a table.
        size: Of one, in square metres or pixels, as areas are counted.
    """

    name: str
    short: str
    size: float


HECTARES, PIXELS = AreaUnit("hectares", "ha", 10_000.0), AreaUnit("pixels", "pixels", 1.0)


@dataclass(frozen=True, eq=False)
class ClassMap:
    """A class raster.

    Attributes:
        info: What it says of itself.
        table: Its classes.
        pixels: [classes] of each class.
        areas: [classes] square metres of each class; pixels where the map names no CRS.
        reader: Keeps it open.
        laid_on: The grid that it is read on, if that is not its own.
    """

    info: RasterInfo
    table: ClassTable
    pixels: IntArray
    areas: FloatArray
    reader: RasterReader
    laid_on: Grid | None = None

    @property
    def grid(self) -> Grid:
        """Size and georeference, as it is read."""
        return self.laid_on or self.info.grid

    @property
    def unit(self) -> AreaUnit:
        """In what its areas are said: without a CRS nobody knows how large its pixels are."""
        return HECTARES if self.grid.crs else PIXELS

    def read(self, window: Window) -> IntArray:
        """Return the classes of a window [H, W] by index, -1 where there is none."""
        pixels, valid = self.reader.read(self.info.path, window, bands=[1], grid=self.laid_on)
        where = f"{self.info.path}, {window}"
        return self.table.indices(pixels[..., 0], valid=valid[..., 0], where=where).astype(np.int64)

    def at(self, rows: IntArray, columns: IntArray) -> IntArray:
        """Return the class at pixels [n] by index, -1 where there is none; each block is read once."""
        found = np.full(len(rows), -1, np.int64)
        block = np.stack([rows, columns], axis=1) // BLOCK
        for row, column in np.unique(block, axis=0) * BLOCK:
            window = _window(self.grid, int(row), int(column))
            here = np.flatnonzero((rows // BLOCK * BLOCK == row) & (columns // BLOCK * BLOCK == column))
            found[here] = self.read(window)[rows[here] - window.row, columns[here] - window.column]
        return found

    def draw(self, wanted: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray, IntArray]:
        """Draw pixels of each class at random, none twice.

        Args:
            wanted: [classes] how many; at most as many as there are.
            rng: Draws them.

        Returns:
            Rows, columns and classes [n] of the pixels.
        """
        asked = zip(self.pixels.tolist(), wanted.tolist(), strict=True)
        ranks = [np.sort(rng.choice(total, count, replace=False)) for total, count in asked]
        passed = np.zeros(len(wanted), np.int64)
        found: list[tuple[IntArray, IntArray, IntArray]] = []
        for window in blocks(self.grid.height, self.grid.width, BLOCK):
            classes = self.read(window).ravel()
            for index in np.flatnonzero(np.bincount(classes[classes >= 0], minlength=len(wanted))):
                own = np.flatnonzero(classes == index)
                here = ranks[index][(ranks[index] >= passed[index]) & (ranks[index] < passed[index] + len(own))]
                row, column = np.divmod(own[here - passed[index]], window.width)
                found.append((row + window.row, column + window.column, np.full(len(here), index)))
                passed[index] += len(own)
        rows, columns, classes = (np.concatenate([part[axis] for part in found]) for axis in range(3))
        return rows, columns, classes


def open_class_map(
    path: Path, classes: Path | None = None, *, on: Grid | None = None, anywhere: bool = False
) -> ClassMap:
    """Open a map and count its pixels.

    Args:
        path: A class raster; one of this program names its classes itself.
        classes: Class table of any other; without one its numbers are its names.
        on: Grid to read it on, each pixel taken from the nearest one; its own if None.
        anywhere: Whether a map will do that names no CRS.

    Raises:
        DataNotFoundError: if a file does not exist.
        ManifestError: if a number of the map stands for no class of the table.
        RasterError: if it cannot be read, names no CRS though it must, or holds no class.
    """
    info, reader = describe_raster(path), RasterReader()
    if not anywhere:
        require_georeference(info, "map")
    table = read_class_table(classes) if classes else _stated(info) or found_classes([LabelFiles(path)], reader)
    laid_on = None if on is None or on.same_as(info.grid) else on
    pixels, areas = np.zeros(len(table.names), np.int64), np.zeros(len(table.names))
    found = ClassMap(info, table, pixels, areas, reader, laid_on)
    for window in blocks(found.grid.height, found.grid.width, BLOCK):
        here = found.read(window)
        row_areas = found.grid.pixel_areas(window.row, window.height)
        for index in np.unique(here[here >= 0]):
            in_rows = (here == index).sum(axis=1)
            pixels[index] += in_rows.sum()
            areas[index] += in_rows @ row_areas
    if not pixels.any():
        raise RasterError(f"{path} has no pixel of a class" + (" there" if laid_on else "") + "; expected a map")
    return found


def _stated(info: RasterInfo) -> ClassTable | None:
    """Return the classes that a map of this program names itself; None for any other."""
    # Entries of a colour table that were never set are all black, and one colour cannot tell two classes apart.
    once = {colour for colour, times in Counter(info.colours.values()).items() if times == 1}
    colours = {value: colour for value, colour in info.colours.items() if colour in once}
    rows = [
        {"id": value, "name": name, "colour": colours.get(value)} for value, name in sorted(info.class_names.items())
    ]
    return class_table(info.path.name, rows) if rows else None


def _window(grid: Grid, row: int, column: int) -> Window:
    return Window(row, column, min(BLOCK, grid.height - row), min(BLOCK, grid.width - column))
