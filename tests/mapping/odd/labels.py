"""Odd labels: features, fields, classes, tables and class rasters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.mapping.odd.kit import CORNER, PLACES, TRUTH, Asked, Case, points, sound, write_scene

CASES: dict[str, Case] = {}


def of_points(**changed: Any) -> Case:
    """Return a case of other points."""
    return lambda folder: sound(folder, labels=points(folder, **changed))


def of_text(name: str, text: str | bytes) -> Case:
    """Return a case of a file of labels with such a content."""

    def make(folder: Path) -> Asked:
        content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        (folder / name).write_bytes(content)
        return sound(folder, labels=folder / name)

    return make


def of_shapes(*shapes: Any) -> Case:
    """Return a case of shapes of two classes in turn."""
    return of_points(shapes=list(shapes), classes=["crop", "wood"] * 50)


def square(row: float, column: float, side: float) -> list[list[float]]:
    """Return the corners of a square in the scene's pixels."""
    x, y, side = CORNER[0] + 10 * column, CORNER[1] - 10 * row, 10 * side
    return [[x, y], [x + side, y], [x + side, y - side], [x, y - side], [x, y]]


def polygon(*corners: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [square(*corners)]}


many = len(PLACES)
for name, classes in {
    "one class": ["a"] * many,
    "two of which one once": ["a"] + ["b"] * (many - 1),
    "all different": [f"c{number}" for number in range(many)],
    "300 classes": [f"c{number}" for number in range(300)],
    "numbers": [number % 3 for number in range(many)],
    "numbers from 0 to 255": [number * 10 % 256 for number in range(many)],
    "minus numbers": [-1 - number % 2 for number in range(many)],
    "broken numbers": [0.5 + number % 2 for number in range(many)],
    "huge numbers": [10**18 + number % 2 for number in range(many)],
    "true and false": [number % 2 == 0 for number in range(many)],
    "nothing": [None] * many,
    "some nothing": [None if number % 2 else "ab"[number % 4 // 2] for number in range(many)],
    "spaces": ["  "] * many,
    "lists": [["a"], ["b"]] * many,
    "objects": [{"a": 1}, {"b": 2}] * many,
    "long names": ["a" * 5000, "b" * 5000] * many,
    "one name in two cases": ["Wood", "wood"] * many,
    "names with lines": ["a\nb", "c\td"] * many,
    "names for spreadsheets": ["=1+1", "@b"] * many,
    "names of markup": ["<b>", "&amp;"] * many,
    "names in many letters": ["森", "поле", "😀"] * many,
    "numbers as text": ["1", "2"] * many,
    "numbers and text": [1, "b"] * many,
    "dates": ["2024-06-01", "2024-06-02"] * many,
}.items():
    shapes = None
    if name == "300 classes":
        shapes = [
            {"type": "Point", "coordinates": [CORNER[0] + 10 * (n % 24) + 5, CORNER[1] - 10 * (n // 24) - 5]}
            for n in range(300)
        ]
    CASES[f"classes: {name}"] = of_points(classes=classes, shapes=shapes)

for crs in (None, "EPSG:9999999", "urn:ogc:def:crs:EPSG::4326", "urn:ogc:def:crs:EPSG::3857", "what", "EPSG:4978", ""):
    CASES[f"CRS {crs!r}"] = of_points(crs=crs)
for field in ("", "label", "what", "CLASS", "fid", "geometry", "id", "a b", "class'", "ü"):
    CASES[f"field {field!r}"] = of_points(field=field)
    CASES[f"fields {field!r} and another"] = of_points(field=field, also={"other": 3})

CASES |= {
    "no features": of_points(shapes=[{"type": "Point", "coordinates": [0, 0]}], classes=[]),
    "one point": of_points(classes=["a"]),
    "all elsewhere": of_shapes(*[{"type": "Point", "coordinates": [0, number]} for number in range(9)]),
    "no coordinates": of_shapes(*[{"type": "Point", "coordinates": []}] * 4),
    "no geometry": of_shapes(*[None] * 4),
    "not a number": of_shapes(*[{"type": "Point", "coordinates": [float("nan"), 1]}] * 4),
    "infinite": of_shapes(*[{"type": "Point", "coordinates": [float("inf"), 1]}] * 4),
    "huge": of_shapes(*[{"type": "Point", "coordinates": [1e300, -1e300]}] * 4),
    "three coordinates": of_shapes(
        *[{"type": "Point", "coordinates": [CORNER[0] + 30 * n + 5, CORNER[1] - 45, 7.0]} for n in range(8)]
    ),
    "all in one pixel": of_shapes(*[{"type": "Point", "coordinates": [CORNER[0] + 5, CORNER[1] - 5]}] * 8),
    "on the corners": of_shapes(
        *[{"type": "Point", "coordinates": [CORNER[0] + x, CORNER[1] - y]} for x in (0, 240) for y in (0, 240)]
    ),
    "polygons": of_shapes(polygon(0, 0, 8), polygon(0, 8, 8), polygon(8, 8, 8), polygon(8, 0, 8)),
    "polygons over each other": of_shapes(polygon(0, 0, 24), polygon(0, 0, 24)),
    "a polygon in another": of_shapes(polygon(0, 0, 24), polygon(4, 4, 8)),
    "polygons without ground": of_shapes(polygon(1, 1, 0), polygon(3, 3, 0)),
    "slivers": of_shapes(polygon(1.1, 1.1, 0.01), polygon(3.1, 3.1, 0.01)),
    "bow ties": of_shapes(
        *[{"type": "Polygon", "coordinates": [[square(*at, 8)[i] for i in (0, 2, 1, 3, 0)]]} for at in ((0, 0), (8, 0))]
    ),
    "open rings": of_shapes(*[{"type": "Polygon", "coordinates": [square(*at, 8)[:-1]]} for at in ((0, 0), (8, 0))]),
    "rings of two": of_shapes(*[{"type": "Polygon", "coordinates": [square(*at, 8)[:2]]} for at in ((0, 0), (8, 0))]),
    "polygons beyond the scene": of_shapes(polygon(-100, -100, 110), polygon(14, 14, 900)),
    "lines": of_shapes(*[{"type": "LineString", "coordinates": square(*at, 7)} for at in ((0, 0), (8, 8), (0, 9))]),
    "many in one": of_shapes(
        *[
            {"type": "MultiPolygon", "coordinates": [[square(r, c, 6)], [square(r + 8, c, 6)]]}
            for r, c in ((0, 0), (0, 9))
        ]
    ),
    "collections": of_shapes(
        *[{"type": "GeometryCollection", "geometries": [polygon(r, c, 6)]} for r, c in ((0, 0), (8, 8))]
    ),
    "points in many": of_shapes(*[{"type": "MultiPoint", "coordinates": square(*at, 5)} for at in ((0, 0), (8, 8))]),
    "an unknown shape": of_shapes({"type": "Circle", "coordinates": [1, 2]}, {"type": "Circle"}),
}

rows = "\n".join(
    f"{CORNER[0] + 10 * column + 5},{CORNER[1] - 10 * row - 5},{'ab'[TRUTH[row, column]]}" for row, column in PLACES
)
FILES: dict[str, tuple[str, str | bytes]] = {
    "nothing": ("l.geojson", ""),
    "text": ("l.geojson", "hello"),
    "a list": ("l.geojson", "[]"),
    "an object": ("l.geojson", "{}"),
    "deep": ("l.geojson", "[" * 5000),
    "cut": ("l.geojson", '{"type": "FeatureCollection", "features": [{"type"'),
    "no letters": ("l.geojson", b"\xff\xfe\x00"),
    "no package": ("l.gpkg", "SQLite format 3\0"),
    "no shapefile": ("l.shp", b"\0\0\x27\x0a" + bytes(96)),
    "no zip": ("l.zip", b"PK\3\4"),
    "xml": ("l.kml", "<kml><Document/></kml>"),
    "gml": ("l.gml", "<gml/>"),
    "a table": ("l.csv", "x,y,class\n" + rows),
    "a table with semicolons": ("l.csv", "x;y;class\n" + rows.replace(",", ";")),
    "a table with a mark at its head": ("l.csv", b"\xef\xbb\xbfx,y,class\n" + rows.encode()),
    "a table without its head": ("l.csv", rows),
    "a table of a head": ("l.csv", "x,y,class\n"),
    "a table with commas for points": ("l.csv", "x;y;class\n1,5;2,5;a\n"),
    "a table with long lines": ("l.csv", "x,y,class\n" + rows + "\n1,2,a,b,c\n"),
    "a table with short lines": ("l.csv", "x,y,class\n" + rows + "\n1\n"),
    "a table with columns twice": ("l.csv", "x,y,class,class\n" + rows.replace("\n", ",z\n")),
    "a table with x twice": ("l.csv", "x,X,y,class\n1,2,3,a\n"),
    "a table of degrees that are none": ("l.csv", "lon,lat,class\n" + rows),
    "a table of words": ("l.csv", "x,y,class\na,b,c\nd,e,f\n"),
    "a table with zeros": ("l.csv", b"x,y,class\n\0\0,1,a\n"),
    "parquet that is none": ("l.parquet", b"PAR1" + bytes(99) + b"PAR1"),
    "no known ending": ("l.what", "hello"),
}
for name, (file, text) in FILES.items():
    CASES[f"file: {name}"] = of_text(file, text)


def of_raster(make: Callable[[np.ndarray], np.ndarray], **profile: Any) -> Case:
    """Return a case of a class raster."""
    return lambda folder: sound(
        folder, labels=write_scene(folder / "classes.tif", make(TRUTH[np.newaxis] + 1), names=(), **profile)
    )


RASTERS: Sequence[tuple[str, Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = (
    ("plain", lambda classes: classes.astype(np.uint8), {}),
    ("one class", lambda classes: np.ones_like(classes, np.uint8), {}),
    ("no class", lambda classes: np.zeros_like(classes, np.uint8), {"nodata": 0}),
    ("two bands", lambda classes: np.concatenate([classes] * 2).astype(np.uint8), {}),
    ("broken numbers", lambda classes: classes + 0.5, {"dtype": "float64"}),
    ("whole numbers in float", lambda classes: classes.astype(np.float32), {}),
    ("not numbers", lambda classes: np.where(classes > 1, np.nan, 1.0), {"dtype": "float64"}),
    ("many numbers", lambda classes: np.arange(576).reshape(1, 24, 24).astype(np.int32), {}),
    ("minus numbers", lambda classes: -classes.astype(np.int16), {}),
    ("complex numbers", lambda classes: classes.astype(np.complex64), {}),
    ("no CRS", lambda classes: classes.astype(np.uint8), {"crs": None}),
    ("another CRS", lambda classes: classes.astype(np.uint8), {"crs": "EPSG:3035"}),
    ("one pixel", lambda classes: classes[:, :1, :1].astype(np.uint8), {}),
)
for name, change, profile in RASTERS:
    CASES[f"class raster: {name}"] = of_raster(change, **profile)
CASES |= {
    "labels are the scene": lambda folder: sound(folder, labels=write_scene(folder / "scene.tif")),
    "labels are a folder": lambda folder: sound(folder, labels=folder),
    "labels are not there": lambda folder: sound(folder, labels=folder / "none.gpkg"),
    "labels are a device": lambda folder: sound(folder, labels="/dev/null"),
    "labels have no name": lambda folder: sound(folder, labels=" "),
    "labels with half a letter": lambda folder: sound(folder, labels="\udcff.gpkg"),
    "labels with a long name": lambda folder: sound(folder, labels="x" * 300 + ".gpkg"),
    "no labels": lambda folder: Asked([write_scene(folder / "scene.tif")], None),
}
