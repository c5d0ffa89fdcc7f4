"""The files of a map: class raster, confidence and probabilities as Cloud Optimized GeoTIFFs, style and names.

All are written in the work folder first. Only when every one of them is whole do they get their names, one by one,
the map itself last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, RasterError
from fewshot.files import UNFINISHED
from fewshot.geo.grid import Grid
from fewshot.geo.landcover import ClassTable
from fewshot.geo.writing import BlockWriter, RasterStyle, category_names, raster_in_blocks, write_cog
from fewshot.mapping.predict.parts import LEVELS, Block

PICTURE_SIDE = 1000
"""Most rows and columns of the quick-look."""


@dataclass(frozen=True)
class Outputs:
    """Names of the files beside a map, `map.tif`."""

    map: Path

    @property
    def confidence(self) -> Path:
        """Greatest probability."""
        return self.map.with_name(f"{self.map.stem}_confidence.tif")

    @property
    def probabilities(self) -> Path:
        """Probability of every class."""
        return self.map.with_name(f"{self.map.stem}_probabilities.tif")

    @property
    def names(self) -> Path:
        """Names of the classes, as GDAL reads them."""
        return self.map.with_name(f"{self.map.name}.aux.xml")

    @property
    def style(self) -> Path:
        """QGIS style."""
        return self.map.with_suffix(".qml")

    @property
    def picture(self) -> Path:
        """Quick-look."""
        return self.map.with_suffix(".png")

    @property
    def report(self) -> Path:
        """What was run."""
        return self.map.with_suffix(".json")

    def in_folder(self, folder: Path) -> "Outputs":
        """Return the names in another folder."""
        return Outputs(folder / self.map.name)

    def all(self) -> list[Path]:
        """Return all names, the map last."""
        named = [self.confidence, self.probabilities, self.names, self.style, self.picture, self.report]
        return [*named, self.map]


@dataclass
class Summary:
    """What is learned of a map as its blocks are written.

    Attributes:
        pixels: [classes] of each class.
        areas: [classes] square metres of each class; pixels where the CRS is unknown.
        nodata: Pixels without data.
        picture: Every so many rows and columns of the map.
        step: How many.
        row_areas: [rows] square metres of a pixel in each row; 1 where the CRS is unknown.
        sides: Metres that pixels are high and wide; pixels where the CRS is unknown.
    """

    pixels: npt.NDArray[np.int64]
    areas: npt.NDArray[np.float64]
    nodata: int
    picture: npt.NDArray[np.uint8]
    step: int
    row_areas: npt.NDArray[np.float64]
    sides: tuple[float, float]


def write_rasters(
    blocks: Iterator[Block],
    names: Outputs,
    grid: Grid,
    styles: Mapping[Path, RasterStyle],
    look: Callable[[Block], None],
    meanwhile: Callable[[], None],
) -> None:
    """Write blocks to rasters, and these to Cloud Optimized GeoTIFFs.

    Args:
        blocks: All of the map, sharing no pixel.
        names: Files to write, in the work folder.
        grid: Of the map.
        styles: Of each raster to write.
        look: Called with each block.
        meanwhile: Called when all blocks were looked at, while the rasters are copied.

    Raises:
        RasterError: if one cannot be written.
    """
    plain = {path: path.with_name(f"{UNFINISHED}{path.name}") for path in styles}
    try:
        with ExitStack() as stack:
            writers = {
                path: stack.enter_context(raster_in_blocks(plain[path], grid, style)) for path, style in styles.items()
            }
            for block in blocks:
                _write_block(block, names, writers)
                look(block)
        with ThreadPoolExecutor(2, "cog") as threads:
            copies = [threads.submit(write_cog, plain[path], path, classes=path == names.map) for path in styles]
            meanwhile()
        for copy in copies:
            copy.result()
    finally:
        for path in plain.values():
            path.unlink(missing_ok=True)


def _write_block(block: Block, names: Outputs, writers: Mapping[Path, BlockWriter]) -> None:
    writers[names.map].write(block.window, block.classes)
    # A pixel with data has at least the confidence of chance.
    empty = block.confidence == 0
    for path, levels in ((names.confidence, block.confidence), (names.probabilities, block.probabilities)):
        if path in writers and levels is not None:
            shares = levels.astype(np.float32) / np.float32(LEVELS)
            shares[empty] = np.nan
            writers[path].write(block.window, shares)


def raster_styles(
    names: Outputs, table: ClassTable, values: Sequence[int], nodata: int, tags: Mapping[str, str]
) -> dict[Path, RasterStyle]:
    """Return what each raster of a map says of itself.

    Args:
        names: Files of the map.
        table: The classes.
        values: Number in the map of each.
        nodata: Number of pixels without data.
        tags: Remarks that all rasters carry.
    """
    colours = {value: entry.colour for value, entry in zip(values, table.classes, strict=True) if entry.colour}
    classes = {f"CLASS_{value}": entry.name for value, entry in zip(values, table.classes, strict=True)}
    return {
        names.map: RasterStyle("uint8", ("land cover",), nodata, colours, {**tags, **classes}),
        names.confidence: RasterStyle("float32", ("greatest probability",), float("nan"), {}, tags),
        names.probabilities: RasterStyle("float32", table.names, float("nan"), {}, tags),
    }


def start_summary(grid: Grid, classes: int, nodata: int) -> Summary:
    """Return the summary of a map of which nothing is written yet.

    Args:
        grid: Of the map.
        classes: How many there are.
        nodata: Number of pixels without data.
    """
    step = max(1, -(-max(grid.height, grid.width) // PICTURE_SIDE))
    shape = (-(-grid.height // step), -(-grid.width // step))
    areas, picture = grid.pixel_areas(0, grid.height), np.full(shape, nodata, np.uint8)
    return Summary(np.zeros(classes, np.int64), np.zeros(classes), 0, picture, step, areas, grid.pixel_sides())


def summarise(summary: Summary, block: Block, index: npt.NDArray[np.int16]) -> None:
    """Add a block to a summary.

    Args:
        summary: So far.
        block: Finished pixels.
        index: [256] class of each number in the map, -1 for none.
    """
    window, step = block.window, summary.step
    # Of each row, whose pixels have a size of their own. Comparing bytes is faster than counting whole numbers.
    counts = np.zeros((window.height, len(summary.pixels)), np.int64)
    for number in np.flatnonzero(index >= 0):
        counts[:, index[number]] = (block.classes == number).view(np.uint8).sum(axis=1, dtype=np.uint32)
    summary.pixels += counts.sum(axis=0)
    summary.areas += summary.row_areas[window.row : window.row + window.height] @ counts
    summary.nodata += block.classes.size - int(counts.sum())
    first = (-window.row % step, -window.column % step)
    seen = block.classes[first[0] :: step, first[1] :: step]
    row, column = -(-window.row // step), -(-window.column // step)
    summary.picture[row : row + seen.shape[0], column : column + seen.shape[1]] = seen


def write_style(path: Path, table: ClassTable, values: Sequence[int]) -> None:
    """Write a QGIS style: a palette with the names of the classes.

    Args:
        path: File to write.
        table: The classes.
        values: Number in the map of each.
    """
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, entry in zip(values, table.classes, strict=True):
        colour = f"#{bytes(entry.colour or (128, 128, 128)).hex()}"
        ElementTree.SubElement(palette, "paletteEntry", value=str(value), color=colour, label=entry.name, alpha="255")
    ElementTree.indent(root)
    path.write_text(
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, encoding="unicode"),
        encoding="utf-8",
    )


def write_names(path: Path, table: ClassTable, values: Sequence[int]) -> None:
    """Write the names of the classes for GDAL, which keeps them beside the file.

    Args:
        path: File to write.
        table: The classes.
        values: Number in the map of each.
    """
    names = [""] * (max(values) + 1)
    for value, entry in zip(values, table.classes, strict=True):
        names[value] = entry.name
    path.write_text(category_names(names), encoding="utf-8")


def publish(made: Outputs, final: Outputs) -> list[Path]:
    """Give finished files their names, the map last; return these.

    Raises:
        ArtifactError: if one cannot be moved.
    """
    pairs = [(source, target) for source, target in zip(made.all(), final.all(), strict=True) if source.exists()]
    try:
        for source, target in pairs:
            source.replace(target)
        # What an earlier map of this name had and this one has not.
        for source, target in zip(made.all(), final.all(), strict=True):
            if (source, target) not in pairs:
                target.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{final.map.parent} cannot be written to: {error}. Go on with --resume.") from error
    return [target for _, target in pairs]


def require_data(summary: Summary, scene: Path) -> None:
    """Refuse a map without a pixel.

    Raises:
        RasterError: if the scene has no data.
    """
    if not summary.pixels.sum():
        raise RasterError(f"{scene} has no pixel with data, so there is nothing to map")
