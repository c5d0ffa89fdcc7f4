"""The files of a project's labels: what the commands read, what is brought in, and what is taken along."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from fewshot.errors import DamagedDataError, RecipeError
from fewshot.files import write_whole
from fewshot.geo.grid import Grid
from fewshot.geo.landcover import LandClass
from fewshot.geo.vectors import VECTOR_ENDINGS, Shapes, read_features, write_features
from fewshot.label.shapes import shapes_of
from fewshot.label.state import ProjectState


def write_labels(path: Path, state: ProjectState, grid: Grid) -> None:
    """Write labels as features with the fields class, kind and id.

    Args:
        path: File to write, .gpkg or .geojson.
        state: Of the project.
        grid: Of the scene.

    Raises:
        DamagedDataError: if it cannot be written.
    """
    labels = list(state.labels.values())
    fields: dict[str, list[str]] = {
        "class": [state.classes[own.of].name for own in labels],
        "kind": [own.kind for own in labels],
        "id": [own.id for own in labels],
    }
    write_features(path, shapes_of(labels), grid, fields)


def write_classes(path: Path, state: ProjectState) -> None:
    """Write the class table that `--classes` takes: id, name, colour, in their order."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "name", "colour"])
    table.writerows([number, own.name, own.colour] for number, own in enumerate(state.classes.values(), start=1))
    write_whole(path, lambda unfinished: unfinished.write_text(text.getvalue(), encoding="utf-8"))


def table_of_labels(state: ProjectState, grid: Grid) -> str:
    """Return the labels as CSV: where in the CRS and in pixels, the class, and the geometry as WKT in the CRS."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["x", "y", "column", "row", "class", "kind", "id"])
    labels = list(state.labels.values())
    for own, shape in zip(labels, shapes_of(labels), strict=True):
        inside = shape.point_on_surface()
        x, y = (float(value) for value in np.ravel(grid.to_map(inside.y, inside.x)))
        table.writerow([x, y, inside.x, inside.y, state.classes[own.of].name, own.kind, own.id])
    return text.getvalue()


def read_new_labels(path: Path, state: ProjectState, grid: Grid) -> list[dict[str, Any]]:
    """Return the edits that bring the labels of a file in, and the classes that the project lacks.

    Args:
        path: Vectors in any CRS, or a CSV with the columns class, and x and y in the scene's CRS or column and row.
        state: Of the project.
        grid: Of the scene.

    Raises:
        RecipeError: if it is another kind of file.
        FewshotError: if it cannot be read, or none of it lies in the scene.
    """
    names: Sequence[str]
    shapes: Sequence[Any] | Shapes
    if path.suffix.lower() == ".csv":
        names, shapes = _read_table(path, grid)
    elif path.suffix.lower() in VECTOR_ENDINGS:
        features = read_features(path, grid, scene="the scene")
        names, shapes = [str(value) for value in features.values], features.shapes
    else:
        raise RecipeError(
            f"labels come as .csv, {', '.join(sorted(VECTOR_ENDINGS))}; received {path.suffix or 'no ending'}"
        )
    ids = {own.name.casefold(): own.id for own in state.classes.values()}
    new = {name.casefold(): name for name in names if name.casefold() not in ids}
    ids |= {key: f"c{uuid.uuid4().hex[:12]}" for key in new}
    edits: list[dict[str, Any]] = [{"op": "add_class", "id": ids[key], "name": name} for key, name in new.items()]
    for name, shape in zip(names, shapes, strict=True):
        edits += [
            {"op": "add_label", "id": uuid.uuid4().hex, "class": ids[name.casefold()], **part} for part in _drawn(shape)
        ]
    return edits


def new_classes(classes: Sequence[LandClass]) -> list[dict[str, Any]]:
    """Return the edits that begin a project with classes, those that count."""
    edits = []
    for entry in classes:
        if not entry.ignored:
            colour = {"colour": "#{:02x}{:02x}{:02x}".format(*entry.colour)} if entry.colour else {}
            edits.append({"op": "add_class", "id": f"c{uuid.uuid4().hex[:12]}", "name": entry.name, **colour})
    return edits


def _drawn(shape: Any) -> Iterator[dict[str, Any]]:
    """Yield the labels that a geometry is, one for each of its parts."""
    for part in shapely.get_parts(shape):
        if part.geom_type == "Point":
            yield {"kind": "point", "coordinates": [part.x, part.y]}
        elif part.geom_type in ("LineString", "LinearRing"):
            yield {"kind": "line", "coordinates": shapely.get_coordinates(part).tolist()}
        elif part.geom_type == "Polygon":
            rings = [part.exterior, *part.interiors]
            yield {"kind": "polygon", "coordinates": [shapely.get_coordinates(ring).tolist() for ring in rings]}
        elif not part.is_empty:
            yield from _drawn(part)


def _read_table(path: Path, grid: Grid) -> tuple[list[str], Sequence[Any]]:
    """Return classes and points of a CSV."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
        names = [row["class"].strip() for row in rows]
        if rows and "column" in rows[0]:
            places = [(float(row["column"]), float(row["row"])) for row in rows]
        else:
            pixels = (grid.to_pixels(float(row["x"]), float(row["y"])) for row in rows)
            places = [(float(column), float(row)) for row, column in pixels]
    except (UnicodeDecodeError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise DamagedDataError(
            f"{path.name} is no table of labels ({error}); expected the columns class, x and y (or column and row)"
        ) from None
    inside = [0 <= column < grid.width and 0 <= row < grid.height for column, row in places]
    if not any(inside):
        raise DamagedDataError(f"none of the {len(rows)} places of {path.name} lies in the scene")
    kept = [number for number, is_in in enumerate(inside) if is_in and names[number]]
    return [names[number] for number in kept], [shapely.Point(places[number]) for number in kept]
