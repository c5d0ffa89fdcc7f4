"""Points in plain tables: where they are, by what their columns are called, and what is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import shapely

from fewshot.errors import DamagedDataError, FewshotError, RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.labels import LabelFiles, found_classes
from fewshot.geo.rasters import RasterReader
from fewshot.geo.vectors import read_features, read_values, vector_fields

Make = Callable[..., Grid]
ROWS, COLUMNS = np.array([2.5, 7.5, 11.5]), np.array([3.5, 20.5, 9.5])
CLASSES = ["forest", "NA", "water"]


def frame_of(grid: Grid, names: tuple[str, str]) -> pandas.DataFrame:
    """The three points, in degrees or in the scene's CRS."""
    x, y = grid.to_map(ROWS, COLUMNS)
    if names[0][:2].lower() == "lo":
        points = geopandas.GeoSeries(geopandas.points_from_xy(x, y), crs=grid.crs.to_wkt()).to_crs(4326)
        x, y = points.x.to_numpy(), points.y.to_numpy()
    return pandas.DataFrame({names[0]: x, names[1]: y, "class": CLASSES, "id": [1, 2, 3]})


def write(frame: pandas.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep=";" if path.stem == "semicolon" else "\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("names", [("x", "y"), ("lon", "lat"), ("Longitude", "Latitude"), ("Easting", "Northing")])
@pytest.mark.parametrize("file", ["points.csv", "semicolon.csv", "points.tsv", "points.parquet"])
def test_points_of_a_table_lie_where_it_says(
    make_grid: Make, tmp_path: Path, names: tuple[str, str], file: str
) -> None:
    grid = make_grid()
    path = write(frame_of(grid, names), tmp_path / file)
    assert vector_fields(path) == ("class", "id")
    found = read_features(path, grid, scene="scene")
    places = np.array([(shape.y, shape.x) for shape in found.shapes])
    np.testing.assert_allclose(places, np.stack([ROWS, COLUMNS], 1), atol=1e-3)
    assert (found.values, found.total, found.unusable) == (tuple(CLASSES), 3, 0)
    where = "degrees, EPSG:4326" if names[0].lower().startswith("lo") else "in the CRS of the scene"
    assert found.note == f"{names[0]} and {names[1]} were taken as {where}"
    assert found_classes([LabelFiles(path)], RasterReader()).names == ("NA", "forest", "water")
    assert read_values(path, field="id") == (1, 2, 3)


def test_a_parquet_file_with_geometries_needs_no_columns(make_grid: Make, tmp_path: Path) -> None:
    grid = make_grid()
    points = geopandas.points_from_xy(*grid.to_map(ROWS, COLUMNS), z=[1, 2, 3])
    frame = geopandas.GeoDataFrame({"class": CLASSES}, geometry=points, crs=grid.crs.to_wkt())
    frame.to_crs(3035).to_parquet(tmp_path / "points.parquet")
    found = read_features(tmp_path / "points.parquet", grid, scene="scene")
    np.testing.assert_allclose([(shape.y, shape.x) for shape in found.shapes], np.stack([ROWS, COLUMNS], 1), atol=1e-3)
    assert (found.values, found.note, found.shapes[0].has_z) == (tuple(CLASSES), "", False)
    assert vector_fields(tmp_path / "points.parquet") == ("class",)


def test_rows_without_a_place_or_a_class_are_counted(make_grid: Make, tmp_path: Path) -> None:
    frame = frame_of(make_grid(), ("x", "y")).astype(object)
    frame.loc[0, "x"], frame.loc[1, "class"] = "unknown", " "
    found = read_features(write(frame, tmp_path / "p.csv"), make_grid(), scene="scene")
    assert (found.values, found.total, found.unusable) == (("water",), 3, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a table"),
        (b"class,where\nforest,here\n", "has the columns class, where; expected x and y"),
        (b"lon,lat,class\n500000,5000000,forest\n", "which are no degrees. Call them x and y"),
        (b"x,y,class\n1,2,forest\n", "none of the 1 features of .* lies in scene"),
        (b"x,y,class\n\xff\xfe,2,forest\n", "cannot be read as a table"),
        (b'x,y,class\n1,2,"forest\n', "cannot be read as a table"),
        (b"x,y\n1,2\n", "none of a usual name|has the fields none"),
    ],
    ids=["empty", "no places", "no degrees", "elsewhere", "no text", "open quotes", "no class"],
)
def test_tables_that_cannot_be_used_are_refused(make_grid: Make, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(content)
    with pytest.raises(FewshotError, match=message):
        read_features(path, make_grid(), scene="scene")


def test_a_damaged_parquet_file_and_one_that_is_missing(make_grid: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DamagedDataError, match=r"bad\.parquet cannot be read as a table"):
        vector_fields(tmp_path / "bad.parquet")
    with pytest.raises(FewshotError, match="there is no table of points"):
        vector_fields(tmp_path / "no.parquet")


def test_a_scene_without_a_crs_takes_x_and_y_and_no_degrees(make_grid: Make, tmp_path: Path) -> None:
    bare: Any = make_grid(crs=None)
    path = write(frame_of(make_grid(), ("x", "y")), tmp_path / "p.csv")
    own, again = (read_features(path, grid, scene="scene") for grid in (make_grid(), bare))
    assert np.array_equal(shapely.get_coordinates(own.shapes), shapely.get_coordinates(again.shapes))
    degrees = write(frame_of(make_grid(), ("lon", "lat")), tmp_path / "d.csv")
    with pytest.raises(RasterError, match="scene names no CRS, and .*d.csv is in EPSG:4326"):
        read_features(degrees, bare, scene="scene")
