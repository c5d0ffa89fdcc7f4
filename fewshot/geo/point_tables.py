"""Points in plain tables, CSV and Parquet: columns that say where they are beside those that say what is there."""

import re
from pathlib import Path
from typing import Any

import geopandas
import pandas
import shapely

from fewshot.errors import DamagedDataError, RasterError

TABLE_ENDINGS = {".csv", ".tsv", ".parquet", ".geoparquet"}
"""Endings of files that are read as tables."""

_DEGREES = (("lon", "lat"), ("longitude", "latitude"), ("long", "lat"), ("lng", "lat"))
_IN_CRS = (("x", "y"), ("easting", "northing"))


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its ending."""
    return Path(path).suffix.lower() in TABLE_ENDINGS


def read_table(path: Path) -> Any:
    """Return a table as a frame of pandas, or of GeoPandas where a Parquet file has geometries.

    Raises:
        DamagedDataError: if it cannot be read.
    """
    try:
        if Path(path).suffix.lower() in (".csv", ".tsv"):
            # A class may be called "NA"; only what is empty is missing.
            with Path(path).open(encoding="utf-8-sig") as file:
                head = file.readline()
            marks = {mark: head.count(mark) for mark in (",", ";", "\t")}
            mark = max(marks, key=lambda mark: marks[mark])
            return pandas.read_csv(path, sep=mark, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
        try:
            return geopandas.read_parquet(path)
        except ValueError:  # it has no geometries
            return pandas.read_parquet(path)
    except (OSError, ValueError, pandas.errors.ParserError) as error:
        raise DamagedDataError(f"{path} cannot be read as a table: {error}") from error


def table_fields(path: Path) -> tuple[str, ...]:
    """Return the columns of a table apart from those that say where its points are.

    Raises:
        DamagedDataError: if it cannot be read.
    """
    frame = read_table(path)
    places = _place_columns(frame) or ()
    geometry = frame.geometry.name if isinstance(frame, geopandas.GeoDataFrame) else None
    return tuple(str(name) for name in frame.columns if name not in (*places, geometry))


def read_points(path: Path, crs: Any) -> tuple[Any, str]:
    """Return the points of a table as a frame of GeoPandas, and what is to be remarked on their places.

    Columns of longitude and latitude are degrees of WGS 84; x and y are in the CRS of the scene.

    Args:
        path: Of the table.
        crs: Of the scene, as GeoPandas takes it.

    Raises:
        DamagedDataError: if it cannot be read, or says nowhere where its points are.
        RasterError: if its degrees are none.
    """
    frame = read_table(path)
    if isinstance(frame, geopandas.GeoDataFrame):
        return frame.set_geometry(shapely.force_2d(frame.geometry.array)).set_crs(frame.crs, allow_override=True), ""
    places = _place_columns(frame)
    if places is None:
        raise DamagedDataError(
            f"{path} has the columns {', '.join(map(str, frame.columns))}; expected x and y, in the CRS of the scene, "
            "or lon and lat, in degrees"
        )
    x, y = (pandas.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in places)
    degrees = _plain(places[0]) in {pair[0] for pair in _DEGREES}
    if degrees and ((abs(x) > 360).any() or (abs(y) > 90).any()):
        raise RasterError(
            f"{path}: {places[0]} and {places[1]} reach {abs(x).max():g} and {abs(y).max():g}, which are no degrees. "
            "Call them x and y if they are in the CRS of the scene"
        )
    crs = "EPSG:4326" if degrees else crs
    shapes = shapely.points(x, y)
    shapes[~(pandas.notna(x) & pandas.notna(y))] = None
    said = "degrees, EPSG:4326" if degrees else "in the CRS of the scene"
    return geopandas.GeoDataFrame(frame, geometry=shapes, crs=crs), f"{places[0]} and {places[1]} were taken as {said}"


def _place_columns(frame: Any) -> tuple[str, str] | None:
    """Return the columns that say where points are, x before y."""
    named = {_plain(name): name for name in frame.columns}
    for across, down in (*_DEGREES, *_IN_CRS):
        if across in named and down in named:
            return named[across], named[down]
    return None


def _plain(name: Any) -> str:
    return re.sub(r"[^a-z]", "", str(name).casefold())
