"""The only file that opens a vector layer: its features, in the pixels of a scene."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas
import pyogrio
import pyogrio.errors
import shapely

from fewshot.errors import DamagedDataError, RasterError, RecipeError
from fewshot.files import write_whole
from fewshot.geo.grid import Grid, name_of
from fewshot.geo.names import gdal_name, require_file
from fewshot.geo.point_tables import TABLE_ENDINGS, is_table, read_points, read_table, table_fields
from fewshot.geo.windows import IntArray

VECTOR_ENDINGS = {".gpkg", ".geojson", ".json", ".shp", ".fgb", ".gml", ".kml", ".zip"} | TABLE_ENDINGS
"""Endings of files that are read as vectors; others are read as rasters."""

USUAL_FIELDS = ("class", "label", "landcover", "land_cover", "class_name", "name")
"""Fields that are taken, in this order, where none is named and there are several."""

_GEOJSON_ENDINGS = (".geojson", ".json")

_DRIVERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".gpkg": ("GPKG", {}),
    ".fgb": ("FlatGeobuf", {"SPATIAL_INDEX": "NO"}),  # which would change the order
    ".geojson": ("GeoJSON", {"COORDINATE_PRECISION": 17}),
}
"""What writes features, by the file's ending, and with which options."""

Shapes = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a layer that lie in a scene.

    Attributes:
        path: Of the layer.
        shapes: [n] geometries in pixels of the scene: x is the column, y the row.
        values: [n] what the field says of each.
        total: Features in the layer.
        outside: Those that lie outside of the scene.
        unusable: Those without a geometry, or with an empty field.
        further: [n] what other fields say of each, by name, where they were asked for.
        note: How the places of a table were taken; "" where they say it themselves.
    """

    path: Path
    shapes: Shapes
    values: tuple[Any, ...]
    total: int
    outside: int
    unusable: int
    further: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    note: str = ""


def read_values(path: Path, *, field: str | None = None) -> tuple[Any, ...]:
    """Return the different values of a field, sorted, empty ones left out.

    Raises:
        DataNotFoundError: if there is no such file.
        DamagedDataError: if it cannot be read as vectors.
        RecipeError: if the field is not there, or none is named and it is not clear which is meant.
    """
    field = _field(path, field)
    if is_table(path):
        frame = read_table(path)
    else:
        frame = _guarded(
            path,
            lambda: pyogrio.read_dataframe(gdal_name(path), layer=_layer(path), columns=[field], read_geometry=False),
        )
    _require_scalars(path, field, frame[field])
    return tuple(sorted((_plain(value) for value in frame[field][~_blank(frame[field])].unique()), key=str))


def _blank(values: Any) -> Any:
    """Return which values of a field are missing, or text of spaces alone."""
    return values.isna() | (values.astype(str).str.strip() == "")


def _require_scalars(path: Path, field: str, values: Any) -> None:
    """Refuse a field that holds lists or objects."""
    if values.map(lambda value: isinstance(value, dict | list | np.ndarray)).any():
        raise DamagedDataError(f"{path}: its field {field} holds lists or objects; expected a name or number in each")


def read_features(
    path: Path, grid: Grid, *, field: str | None = None, scene: str, further: Sequence[str] = ()
) -> Features:
    """Read the features of a layer that lie in a scene.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or whatever else GDAL reads, of one layer, in any CRS; or CSV or Parquet.
        grid: Of the scene.
        field: Which of the features' values are wanted; the only one, or a usual one such as "class", if None.
        scene: What to call the scene in messages.
        further: Other fields that are read, where the layer has them.

    Raises:
        DataNotFoundError: if there is no such file.
        DamagedDataError: if it cannot be read as vectors.
        RasterError: if it has a CRS and the scene has none or the other way round, or none of it lies in the scene.
        RecipeError: if the field is not there, or none is named and it is not clear which is meant.
    """
    field = _field(path, field)
    columns = [field, *(name for name in further if name != field)]
    frame, note = (
        read_points(path, grid.crs and grid.crs.to_wkt()) if is_table(path) else (_read_layer(path, columns), "")
    )
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise DamagedDataError(f"{path} is a table without geometries; expected points, lines or polygons")
    frame = _on_the_plane(path, frame) if grid.crs is None else frame
    _require_one_plane(path, frame.crs, grid, scene)
    _require_scalars(path, field, frame[field])
    total = len(frame)
    usable = frame[~(frame.geometry.isna() | frame.geometry.is_empty | _blank(frame[field]))]
    try:
        shapes = _in_pixels(usable, grid)
    except (RuntimeError, shapely.errors.GEOSException) as error:  # the first of PROJ
        raise RasterError(f"{path} cannot be laid over {scene}, whose CRS is another: {error}") from error
    inside = lie_in(shapes, grid)
    if not inside.any():
        raise RasterError(_nothing_left(path, usable, grid, scene, total))
    values = tuple(_plain(value) for value in usable[field][inside])
    others = {name: tuple(_plain(value) for value in usable[name][inside]) for name in columns if name in usable}
    outside, unusable = int((~inside).sum()), total - len(usable)
    return Features(Path(path), shapes[inside], values, total, outside, unusable, others, note)


def _on_the_plane(path: Path, frame: Any) -> Any:
    """Return features for a scene without a CRS: those of GeoJSON, which cannot say that they have none, have none."""
    said = Path(path).suffix.lower() not in _GEOJSON_ENDINGS
    return frame if said else frame.set_crs(None, allow_override=True)


def _require_one_plane(path: Path, crs: Any, grid: Grid, scene: str) -> None:
    """Refuse features and a scene of which one names a CRS and the other does not."""
    if crs is None and grid.crs is not None:
        raise RasterError(
            f"{path} names no CRS, so where its features lie is not known. Say it once, for example with "
            f"ogr2ogr -a_srs EPSG:4326 fixed.gpkg {path}"
        )
    if crs is not None and grid.crs is None:
        raise RasterError(
            f"{scene} names no CRS, and {path} is in {name_of(crs)}. Say where the scene lies, for example with "
            "rio edit-info --crs EPSG:32633, or give labels that name none either"
        )


def _read_layer(path: Path, columns: Sequence[str]) -> Any:
    """Return the only layer of a file, with some of its fields."""
    return _guarded(
        path,
        lambda: pyogrio.read_dataframe(
            gdal_name(path), layer=_layer(path), columns=list(columns), force_2d=True, on_invalid="ignore"
        ),
    )


def _layer(path: Path) -> str:
    """Return the only layer of a file; tables without geometries, such as QGIS keeps its styles in, are none."""
    layers = _guarded(path, lambda: pyogrio.list_layers(require_file(path, "vector file")))
    shown = [str(name) for name, kind in layers if kind is not None] or [str(name) for name, _ in layers]
    if len(shown) != 1:
        names = ", ".join(shown) or "none"
        raise DamagedDataError(f"{path} has the layers {names}; expected one. Copy the one you mean to its own file.")
    return shown[0]


def vector_fields(path: Path) -> tuple[str, ...]:
    """Return the fields of a file's only layer, or of a table.

    Raises:
        DataNotFoundError: if there is no such file.
        DamagedDataError: if it cannot be read as vectors, or has several layers.
    """
    if is_table(path):
        require_file(path, "table of points")
        return table_fields(path)
    layer, source = _layer(path), gdal_name(path)
    return tuple(str(name) for name in _guarded(path, lambda: pyogrio.read_info(source, layer=layer))["fields"])


def _field(path: Path, field: str | None) -> str:
    """Return the field that is meant."""
    fields = vector_fields(path)
    has = f"{path} has the fields {', '.join(fields) or 'none'}"
    remedy = "Name the one that holds the class (--label-field), or the area's name."
    if field is not None and field not in fields:
        raise RecipeError(f"{has}; expected {field!r}. {remedy}")
    usual = [name for wanted in USUAL_FIELDS for name in fields if name.casefold() == wanted]
    found = [field] if field is not None else fields if len(fields) == 1 else usual
    if not found:
        raise RecipeError(f"{has}, none of a usual name. {remedy}")
    return str(found[0])


def read_plain_table(path: Path, name: str) -> dict[str, list[Any]] | None:
    """Return the columns of a table without geometries that a GeoPackage holds; None if it has none of that name.

    Raises:
        DataNotFoundError: if there is no such file.
        DamagedDataError: if it cannot be read.
    """
    source = require_file(path, "vector file")
    if name not in _guarded(path, lambda: pyogrio.list_layers(source))[:, 0]:
        return None
    frame = _guarded(path, lambda: pyogrio.read_dataframe(source, layer=name, read_geometry=False))
    return {str(column): [_plain(value) for value in frame[column]] for column in frame.columns}


def write_points(
    path: Path,
    places: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    crs: Any,
    columns: Mapping[str, Sequence[Any]],
    tables: Mapping[str, Mapping[str, Sequence[Any]]],
) -> None:
    """Write points, and tables that belong to them, to a GeoPackage, whole or not at all.

    Args:
        path: File to write, .gpkg.
        places: x [n] and y [n].
        crs: Of the places, None where there is none.
        columns: [n] what is said of each point, by field.
        tables: Tables without geometries, by name.

    Raises:
        DamagedDataError: if it cannot be written.
    """
    frame = geopandas.GeoDataFrame(dict(columns), geometry=geopandas.points_from_xy(*places), crs=crs and crs.to_wkt())

    def write(unfinished: Path) -> None:
        pyogrio.write_dataframe(frame, unfinished, layer="points", driver="GPKG")
        for name, table in tables.items():
            pyogrio.write_dataframe(pandas.DataFrame(dict(table)), unfinished, layer=name, driver="GPKG", append=True)

    _write(path, write)


def write_features(path: Path, shapes: Shapes, grid: Grid, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write features that lie in a scene, in its CRS where the format can say which, whole or not at all.

    Args:
        path: File to write, .gpkg, .fgb or .geojson.
        shapes: [n] geometries in pixels of the scene: x is the column, y the row.
        grid: Of the scene; where it has no CRS, the file has none either.
        columns: [n] what is said of each feature, by field.

    Raises:
        DamagedDataError: if it cannot be written.
    """
    geometry = to_map(np.asarray(shapes, dtype=object), grid)
    frame = geopandas.GeoDataFrame(dict(columns), geometry=geometry, crs=grid.crs and grid.crs.to_wkt())
    driver, options = _DRIVERS[path.suffix.lower()]
    if driver == "GeoJSON" and frame.crs is not None and "id" not in frame.crs.to_json_dict():
        frame = frame.to_crs("EPSG:4326")  # it names a CRS by a code alone, and is in this one without
    settings: dict[str, Any] = {"layer": "labels", "driver": driver, "geometry_type": "Unknown", **options}
    _write(path, lambda unfinished: pyogrio.write_dataframe(frame, unfinished, **settings))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file whole, and name it if that fails."""
    try:
        write_whole(path, write)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError) as error:
        raise DamagedDataError(f"{path} cannot be written: {error}") from error


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Read, and name the file if that fails."""
    try:
        return read()
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.GeometryError) as error:
        raise DamagedDataError(f"{path} cannot be read as vectors: {error}") from error


def _plain(value: Any) -> Any:
    """Return a whole number as int, and anything else as it is in Python."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_pixels(frame: Any, grid: Grid) -> Shapes:
    """Project geometries to a scene's CRS, and turn map coordinates into columns and rows."""
    moved = frame.geometry if grid.crs is None else frame.geometry.to_crs(grid.crs.to_wkt())
    shapes = np.asarray(moved.array, dtype=object)
    if grid.crs is not None and grid.crs.is_geographic:
        middle, _ = grid.to_map(grid.height / 2, grid.width / 2)
        shapes = np.array([_near(shape, middle) for shape in shapes], dtype=object)
    shapes = to_pixels(shapes, grid)
    bad = ~shapely.is_valid(shapes) & np.isfinite(shapely.bounds(shapes)).all(axis=1)
    shapes[bad] = shapely.make_valid(shapes[bad])
    return np.asarray(shapes, dtype=object)


def to_map(shapes: Any, grid: Grid) -> Any:
    """Return geometries, whose x is a column and y a row, in map coordinates."""
    return shapely.transform(shapes, lambda at: np.stack(grid.to_map(at[:, 1], at[:, 0]), axis=1))


def to_pixels(shapes: Any, grid: Grid) -> Any:
    """Return geometries in a scene's CRS in its pixels: x is the column, y the row."""
    return shapely.transform(shapes, lambda xy: np.stack(grid.to_pixels(xy[:, 0], xy[:, 1])[::-1], axis=1))


def _near(shape: Any, middle: float) -> Any:
    """Shift a geometry in degrees by whole turns, to where it is nearest to longitude `middle`.

    One wider than half the Earth crosses the antimeridian; its western part is put after the eastern one.
    """
    left, _, right, _ = shape.bounds
    if right - left > 180:
        shape = shapely.transform(shape, lambda xy: np.stack([np.where(xy[:, 0] < 0, 360, 0) + xy[:, 0], xy[:, 1]], 1))
        left, _, right, _ = shape.bounds
    turns = round((middle - (left + right) / 2) / 360)
    return shapely.transform(shape, lambda xy: xy + [360.0 * turns, 0.0]) if turns else shape


def lie_in(shapes: Shapes, grid: Grid) -> npt.NDArray[np.bool_]:
    """Return which geometries [n] share ground with a scene, not merely its border."""
    left, top, right, bottom = shapely.bounds(shapes).T
    # What cannot be projected has infinite bounds, which every comparison below leaves out or `isfinite` does.
    near = (right >= 0) & (bottom >= 0) & (left < grid.width) & (top < grid.height) & np.isfinite(right + left)
    near[near] = shapely.intersects(shapes[near], shapely.box(0, 0, grid.width, grid.height))
    return np.asarray(near, np.bool_)


def areas_holding(areas: Features, rows: IntArray, columns: IntArray, size: int) -> IntArray:
    """Return which area [n] holds all of each patch, by its number; -1 where none or more than one does.

    Args:
        areas: Polygons in the scene's pixels.
        rows: [n] first row of each patch.
        columns: [n] first column of each patch.
        size: Rows and columns of a patch.
    """
    patches = shapely.box(columns, rows, columns + size, rows + size)
    held, holders = shapely.STRtree(areas.shapes).query(patches, predicate="within")
    found = np.full(len(rows), -1, np.int64)
    found[held] = holders
    found[np.bincount(held, minlength=len(rows)) > 1] = -1
    return found


def _nothing_left(path: Path, usable: Any, grid: Grid, scene: str, total: int) -> str:
    """Say where the features are and where the scene is."""
    if not len(usable):
        return f"{path} has {total} features, none with a geometry and a value; expected labelled points or polygons"
    left, bottom, right, top = usable.total_bounds
    return (
        f"none of the {total} features of {path} lies in {scene}. They span x {left:g} to {right:g}, y {bottom:g} to "
        f"{top:g} in {name_of(usable.crs)}; the scene {grid.extent()}. Are they labels of another scene, or is "
        "a CRS wrong?"
    )
