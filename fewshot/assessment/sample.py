"""Draws places of a finished map at random, for a person to say what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.assessment.class_map import ClassMap, open_class_map
from fewshot.assessment.design import Design, allocate, expected_accuracies, expected_error
from fewshot.assessment.estimates import FloatArray, IntArray
from fewshot.errors import RecipeError
from fewshot.files import write_whole
from fewshot.geo.vectors import write_points

STRATA = "strata"
"""The table of a sample's file that says what its places were drawn from."""
STRATUM, CLASS = "stratum", "class"
AREA = "area_m2"
"""Of a stratum, where the map says how large its pixels are."""


@dataclass(frozen=True, eq=False)
class DrawnSample:
    """Places that were drawn.

    Attributes:
        path: GeoPackage that holds them.
        names: Of the classes.
        shares: [classes] of the map's area.
        accuracies: [classes] user's accuracy that was expected.
        places: [classes] drawn.
        error: Standard error of the overall accuracy that is to be expected of them.
    """

    path: Path
    names: tuple[str, ...]
    shares: FloatArray
    accuracies: FloatArray
    places: IntArray
    error: float

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the heads and rows of a table for people."""
        rows = [
            (name, f"{100 * share:.1f} %", f"{100 * accuracy:.0f} %", str(int(count)))
            for name, share, accuracy, count in zip(self.names, self.shares, self.accuracies, self.places, strict=True)
        ]
        return ("Class", "Share of the map", "Expected accuracy", "Places"), rows

    def lines(self) -> Sequence[str]:
        """Say what to do with them."""
        return (
            f"If the map is as accurate as expected, the standard error of its overall accuracy will be "
            f"{self.error:.3f}.",
            f"{int(self.places.sum())} places in random order: {self.path}. Fill in the field {CLASS!r}, in QGIS for "
            "example, without looking at the map; then: fewshot assess MAP " + str(self.path),
        )


def sample_map(map_path: Path, to: Path, design: Design, *, classes: Path | None = None, seed: int = 0) -> DrawnSample:
    """Draw a stratified random sample of a map's pixels and write it as points with a blank class.

    Beside the points the file holds a table of the strata, so that `assess` knows what they stand for, and beside the
    file lies a QGIS style that offers the map's classes in a list.

    Args:
        map_path: The map.
        to: GeoPackage to write.
        design: How many places, and where.
        classes: Class table, where the map does not name its classes itself.
        seed: Of the draw.

    Raises:
        FewshotError: what `open_class_map` and `allocate` raise.
        DamagedDataError: if it cannot be written.
        RecipeError: if it is not to be a GeoPackage.
    """
    if to.suffix.lower() != ".gpkg":
        raise RecipeError(f"--to {to}: expected a GeoPackage (.gpkg), which holds the strata beside the points")
    area = open_class_map(map_path, classes, anywhere=True)
    names, shares = area.table.names, area.areas / area.areas.sum()
    wanted = allocate(design, names, area.pixels, shares)
    rng = np.random.default_rng(seed)
    rows, columns, drawn = area.draw(wanted, rng)
    # In random order, so that whoever stops early has looked at all strata, and cannot guess the next one.
    order = rng.permutation(len(rows))
    rows, columns, drawn = rows[order], columns[order], drawn[order]
    numbers = _numbers(area)
    fields = {
        "id": list(range(1, len(rows) + 1)),
        STRATUM: [numbers[index] for index in drawn.tolist()],
        CLASS: [None] * len(rows),
    }
    strata = {STRATUM: numbers, "name": names, "pixels": area.pixels.tolist()}
    if area.grid.crs:
        strata[AREA] = area.areas.tolist()
    places = area.grid.to_map(rows + 0.5, columns + 0.5)
    write_points(to, places, area.grid.crs, fields, {STRATA: strata})
    write_whole(to.with_suffix(".qml"), lambda path: path.write_text(class_list_style(names), encoding="utf-8"))
    accuracies = expected_accuracies(design, names)
    return DrawnSample(to, names, shares, accuracies, wanted, expected_error(shares, accuracies, wanted))


def _numbers(area: ClassMap) -> list[int]:
    """Return the number that each class has in the map."""
    counted = [entry for entry in area.table.classes if not entry.ignored]
    return [entry.ids[0] if entry.ids else index for index, entry in enumerate(counted)]


def class_list_style(names: Sequence[str]) -> str:
    """Return a QGIS style whose form offers the classes in a list."""
    from xml.etree import ElementTree

    root = ElementTree.Element("qgis", version="3.22", styleCategories="Fields|Forms")
    fields = ElementTree.SubElement(root, "fieldConfiguration")
    widget = ElementTree.SubElement(ElementTree.SubElement(fields, "field", name=CLASS), "editWidget", type="ValueMap")
    options = ElementTree.SubElement(ElementTree.SubElement(widget, "config"), "Option", type="Map")
    listed = ElementTree.SubElement(options, "Option", name="map", type="List")
    for name in names:
        entry = ElementTree.SubElement(listed, "Option", type="Map")
        ElementTree.SubElement(entry, "Option", name=name, value=name, type="QString")
    ElementTree.indent(root)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + ElementTree.tostring(root, encoding="unicode")
