"""The files of a map: class raster, confidence and probabilities as Cloud Optimized GeoTIFFs, style and names.

All are written in the work folder first. Only when every one of them is whole do they get their names, one by one,
the map itself last.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError
from fewshot.files import UNFINISHED
from fewshot.geo.landcover import LandClass
from fewshot.geo.windows import keep_every
from fewshot.geo.writing import (
    RasterStyle,
    bounded_cache,
    category_names,
    raster_in_blocks,
    remove_plain,
    write_cog,
)
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.parts import LEVELS, Block, is_inside
from fewshot.mapping.product.files import Outputs

PICTURE_SIDE = 1000
"""Most rows and columns of the quick-look."""
NOT_MAPPED = 255
"""Where the scene has no data, in the raster of where the method is applicable."""
_INSIDE_COLOURS = {0: (200, 90, 60), 1: (225, 235, 225)}


class Summary:
    """What is learned of a map as its blocks are written.

    Attributes:
        pixels: [classes] of each class.
        areas: [classes] square metres of each class; pixels where the CRS is unknown.
        nodata: Pixels without data.
        picture: Every so many rows and columns of the map.
        step: How many.
        sides: Metres that pixels are high and wide; pixels where the CRS is unknown.
    """

    def __init__(self, plan: MapPlan) -> None:
        """Begin with a map of which nothing is written."""
        grid, classes = plan.scene.grid, len(plan.values)
        self.pixels, self.areas, self.nodata = np.zeros(classes, np.int64), np.zeros(classes), 0
        self.step = max(1, -(-max(grid.height, grid.width) // PICTURE_SIDE))
        self.picture = np.full((-(-grid.height // self.step), -(-grid.width // self.step)), plan.nodata, np.uint8)
        self.sides = grid.pixel_sides()
        self._row_areas, self._index = grid.pixel_areas(0, grid.height), plan.index

    def add(self, block: Block) -> None:
        """Add a block."""
        window = block.window
        # Of each row, whose pixels have a size of their own. Comparing bytes is faster than counting whole numbers.
        counts = np.zeros((window.height, len(self.pixels)), np.int64)
        for number in np.flatnonzero(self._index >= 0):
            counts[:, self._index[number]] = (block.classes == number).view(np.uint8).sum(axis=1, dtype=np.uint32)
        self.pixels += counts.sum(axis=0)
        self.areas += self._row_areas[window.row : window.row + window.height] @ counts
        self.nodata += block.classes.size - int(counts.sum())
        keep_every(self.step, self.picture, window, block.classes)


@bounded_cache()
def write_rasters(
    blocks: Iterable[Block],
    names: Outputs,
    plan: MapPlan,
    styles: Mapping[Path, RasterStyle],
    meanwhile: Callable[[], None],
) -> None:
    """Write blocks to rasters, and these to Cloud Optimized GeoTIFFs.

    Args:
        blocks: All of the map, sharing no pixel.
        names: Files to write, in the work folder.
        plan: Of the map.
        styles: Of each raster to write.
        meanwhile: Called when all blocks are written, while the rasters are copied.

    Raises:
        RasterError: if one cannot be written.
    """
    grid = plan.scene.grid
    plain = {path: path.with_name(f"{UNFINISHED}{number}") for number, path in enumerate(styles)}
    try:
        with ExitStack() as stack:
            writers = {
                path: stack.enter_context(raster_in_blocks(plain[path], grid, style)) for path, style in styles.items()
            }
            for block in blocks:
                for path, pixels in _layers(block, names, plan):
                    if path in writers:
                        writers[path].write(block.window, pixels)
        with ThreadPoolExecutor(2, "cog") as threads:
            copies = [
                threads.submit(write_cog, plain[path], path, classes=style.dtype == "uint8")
                for path, style in styles.items()
            ]
            meanwhile()
        for copy in copies:
            copy.result()
    finally:
        for path in plain.values():
            remove_plain(path)


def _layers(block: Block, names: Outputs, plan: MapPlan) -> Iterator[tuple[Path, npt.NDArray[Any]]]:
    """Yield what a block writes to each raster."""
    yield names.map, block.classes
    # A pixel with data has at least the confidence of chance.
    empty = block.confidence == 0
    levels = {
        names.confidence: block.confidence,
        names.probabilities: block.probabilities,
        names.dissimilarity: block.dissimilarity,
    }
    for path, own in levels.items():
        if own is not None:
            shares = own.astype(np.float32) / np.float32(LEVELS)
            shares[empty] = np.nan
            yield path, shares
    if plan.applicability is not None and block.dissimilarity is not None:
        inside = is_inside(block.dissimilarity, plan.applicability.threshold)
        yield names.applicable, np.where(empty, NOT_MAPPED, inside).astype(np.uint8)


def raster_styles(names: Outputs, plan: MapPlan, tags: Mapping[str, str]) -> dict[Path, RasterStyle]:
    """Return what each raster of a map says of itself.

    Args:
        names: Files of the map.
        plan: Its classes, and whether the probabilities of all of them are written.
        tags: Remarks that all rasters carry.
    """
    classes, empty = plan.model.classes, float("nan")
    colours = {value: entry.colour for value, entry in classes.items() if entry.colour}
    named = {f"CLASS_{value}": entry.name for value, entry in classes.items()}
    styles = {
        names.map: RasterStyle("uint8", ("land cover",), plan.nodata, colours, {**tags, **named}),
        names.confidence: RasterStyle("float32", ("greatest probability",), empty, {}, tags),
    }
    if plan.all_probabilities:
        styles[names.probabilities] = RasterStyle("float32", plan.model.table.names, empty, {}, tags)
    if plan.applicability is not None:
        said = {**tags, "CLASS_0": "not applicable", "CLASS_1": "applicable"}
        said |= {"THRESHOLD": f"dissimilarity {plan.applicability.threshold:.6g}"}
        styles[names.applicable] = RasterStyle("uint8", ("applicable",), NOT_MAPPED, _INSIDE_COLOURS, said)
        styles[names.dissimilarity] = RasterStyle("float32", ("dissimilarity from the labels",), empty, {}, tags)
    return styles


def write_style(path: Path, classes: Mapping[int, LandClass]) -> None:
    """Write a QGIS style: a palette with the names of the classes, which are given by their numbers in the map."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, entry in classes.items():
        colour = f"#{bytes(entry.colour or (128, 128, 128)).hex()}"
        ElementTree.SubElement(palette, "paletteEntry", value=str(value), color=colour, label=entry.name, alpha="255")
    ElementTree.indent(root)
    path.write_text(
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, encoding="unicode"),
        encoding="utf-8",
    )


def write_names(path: Path, classes: Mapping[int, LandClass]) -> None:
    """Write the names of the classes, given by their numbers in the map, for GDAL, which keeps them beside the file."""
    names = [classes[value].name if value in classes else "" for value in range(max(classes) + 1)]
    path.write_text(category_names(names), encoding="utf-8")


def publish(made: Outputs, final: Outputs) -> list[Path]:
    """Give finished files their names, the map last; return these.

    Raises:
        ArtifactError: if one cannot be moved.
    """
    pairs = [(source, target, source.exists()) for source, target in zip(made.all, final.all, strict=True)]
    try:
        for source, target, exists in pairs:
            if exists:
                source.replace(target)
        for _, target, exists in pairs:
            if not exists and target not in (final.suggested, final.suggested_style):  # an earlier map may have it
                target.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{final.map.parent} cannot be written to: {error}. Go on with --resume.") from error
    return [target for _, target, exists in pairs if exists]
