"""The files of a project's labels: what the commands read, what is brought in, and what is taken along."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.errors

from fewshot.errors import DamagedDataError, RecipeError
from fewshot.files import write_whole
from fewshot.geo.grid import Grid
from fewshot.geo.landcover import LandClass
from fewshot.geo.vectors import VECTOR_ENDINGS, Shapes, lie_in, read_features, to_map, to_pixels, write_features
from fewshot.label.shapes import shapes_of
from fewshot.label.state import ProjectState

_PLAIN_SHAPES = ("Point", "LineString", "Polygon")
_GEOJSON = {"FeatureCollection", "Feature", "GeometryCollection", *_PLAIN_SHAPES, *(f"Multi{n}" for n in _PLAIN_SHAPES)}


def write_labels(path: Path, state: ProjectState, grid: Grid) -> None:
    """Write labels as features with the fields class, kind and id.

    Args:
        path: File to write, .gpkg, .fgb or .geojson.
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
    """Return the labels as CSV: a place in each, in the CRS and in pixels, its class, and its WKT in the CRS."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["x", "y", "column", "row", "class", "kind", "id", "wkt"])
    labels = list(state.labels.values())
    for own, shape in zip(labels, shapes_of(labels), strict=True):
        inside = shape.point_on_surface()
        x, y = (float(value) for value in np.ravel(grid.to_map(inside.y, inside.x)))
        wkt = shapely.to_wkt(to_map(shape, grid), rounding_precision=-1)
        table.writerow([x, y, inside.x, inside.y, state.classes[own.of].name, own.kind, own.id, wkt])
    return text.getvalue()


def read_new_labels(path: Path, state: ProjectState, grid: Grid, field: str = "") -> list[dict[str, Any]]:
    """Return the edits that bring the labels of a file in, and the classes that the project lacks.

    Args:
        path: Vectors in any CRS, or a CSV with the columns class, and wkt in the scene's CRS, x and y in it, or
            column and row.
        state: Of the project.
        grid: Of the scene.
        field: That holds the class; a usual one, in a CSV "class", if "".

    Raises:
        RecipeError: if it is another kind of file.
        FewshotError: if it cannot be read, or none of it lies in the scene.
    """
    names: Sequence[str]
    shapes: Sequence[Any] | Shapes
    if path.suffix.lower() == ".csv":
        names, shapes = _read_table(path, grid, field or "class")
    elif path.suffix.lower() in VECTOR_ENDINGS:
        features = read_features(path, grid, field=field or None, scene="the scene")
        names, shapes = [_plain(value) for value in features.values], features.shapes
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


def sent_ending(name: str, content: bytes) -> str:
    """Return the ending of a file that a page sends, whose content is what it says.

    GDAL goes by the content and has formats that read other files, or the network: it must not choose here.

    Args:
        name: Of the file.
        content: Of the file.

    Raises:
        RecipeError: if the ending is no other than of GeoPackage, GeoJSON or CSV.
        DamagedDataError: if the content is not.
    """
    shown, ending = Path(name).name[:80], Path(name).suffix.lower()
    if ending not in _SENT:
        raise RecipeError(f"a page sends {', '.join(_SENT)}; received {shown!r}. Convert it, for example with ogr2ogr")
    if not _SENT[ending](content):
        raise DamagedDataError(f"{shown} is no {ending[1:]} file, whatever its name says; write it anew")
    return ending


def _is_geojson(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("type") in _GEOJSON


_SENT: Mapping[str, Callable[[bytes], bool]] = {
    ".gpkg": lambda content: content.startswith(b"SQLite format 3\0"),
    ".geojson": _is_geojson,
    ".csv": lambda content: True,  # read here, and not by GDAL
}


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


def _read_table(path: Path, grid: Grid, field: str) -> tuple[list[str], Sequence[Any]]:
    """Return classes and points of a CSV."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
        names = [_plain(row[field]) for row in rows]
        shapes = np.empty(len(rows), dtype=object)
        shapes[:] = [_shape_in(row, grid) for row in rows]
    except (UnicodeDecodeError, KeyError, ValueError, TypeError, csv.Error, shapely.errors.ShapelyError) as error:
        raise DamagedDataError(
            f"{path.name} is no table of labels ({error}); expected the columns {field}, and wkt, x and y, or column "
            "and row"
        ) from None
    inside = lie_in(shapes, grid) if rows else np.zeros(0, np.bool_)
    if not inside.any():
        raise DamagedDataError(f"none of the {len(rows)} places of {path.name} lies in the scene")
    kept = [number for number in np.flatnonzero(inside).tolist() if names[number]]
    return [names[number] for number in kept], [shapes[number] for number in kept]


def _shape_in(row: Mapping[str, str], grid: Grid) -> Any:
    """Return what a row of a CSV says of its place, the most exact first, in pixels."""
    if row.get("wkt"):
        return to_pixels(shapely.from_wkt(row["wkt"]), grid)
    if "column" in row:
        return shapely.Point(float(row["column"]), float(row["row"]))
    return to_pixels(shapely.Point(float(row["x"]), float(row["y"])), grid)


def _plain(name: Any) -> str:
    """Return a class's name with single spaces, as the project keeps it."""
    return " ".join(str(name or "").split())
