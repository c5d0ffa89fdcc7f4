"""Scenes that are odd: each is read, or refused with a sentence that says what is odd about it."""

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.errors import FewshotError, RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import describe_mosaic
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.writing import write_raster

PIXELS = np.arange(600, dtype=np.uint16).reshape(20, 30)
Make = Callable[..., Grid]


@pytest.fixture
def scene(tmp_path: Path, make_grid: Make) -> Path:
    path = tmp_path / "scene.tif"
    write_raster(path, PIXELS, make_grid())
    return path


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0, 0, 5, 0, 0, 5),
        Affine(10, 20, 5, 5, 10, 5),
        Affine(0, 0, 5, 0, -10, 5),
        Affine(float("nan"), 0, 5, 0, -10, 5),
        Affine(10, 0, float("inf"), 0, -10, 5),
    ],
    ids=["zero", "singular", "no width", "not a number", "infinite"],
)
def test_a_georeference_without_pixels_is_refused(transform: Affine, tmp_path: Path) -> None:
    path = tmp_path / "scene.vrt"
    numbers = (transform.c, transform.a, transform.b, transform.f, transform.d, transform.e)
    path.write_text(
        '<VRTDataset rasterXSize="30" rasterYSize="20"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>{', '.join(map(str, numbers))}</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(RasterError, match="georeference gives its pixels no size|is not finite"):
        describe_raster(path)


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4978",
        'LOCAL_CS["site grid",UNIT["metre",1]]',
        'ENGCRS["site",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
    ],
    ids=["geocentric", "local", "engineering"],
)
def test_a_crs_that_does_not_lie_on_the_ground_is_refused(crs: str, tmp_path: Path, make_grid: Make) -> None:
    path = tmp_path / "scene.tif"
    write_raster(path, PIXELS, replace(make_grid(), crs=CRS.from_user_input(crs)))
    with pytest.raises(RasterError, match="neither geographic nor projected"):
        describe_raster(path)


def test_complex_pixels_are_refused(tmp_path: Path, make_grid: Make) -> None:
    path = tmp_path / "radar.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=20,
        width=30,
        count=1,
        dtype="complex64",
        crs="EPSG:32633",
        transform=make_grid().transform,
    ) as raster:
        raster.write(PIXELS.astype("complex64"), 1)
    with pytest.raises(RasterError, match="complex64 numbers; expected real ones"):
        describe_raster(path)


@pytest.mark.parametrize("lost", [1, 40, 700])
@pytest.mark.parametrize("side", [20, 600], ids=["strips", "tiles"])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, make_grid: Make, lost: int, side: int) -> None:
    path = tmp_path / "cut.tif"
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 2, "dtype": "uint16", "crs": "EPSG:32633"}
    if side > 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", transform=make_grid().transform, **profile) as raster:
        raster.write(np.ones((2, side, side), np.uint16))
    assert describe_raster(path).bands == 2
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - lost)
    with pytest.raises(RasterError, match="cut short"):
        describe_raster(path)


def test_a_pipe_is_no_scene(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scene.tif")
    with pytest.raises(RasterError, match="no file"):
        describe_raster(tmp_path / "scene.tif")


def test_opposite_sides_of_the_earth_are_no_mosaic(tmp_path: Path, make_grid: Make) -> None:
    paths = []
    for number, corner in enumerate(((-170, 60), (170, -60))):
        paths.append(tmp_path / f"{number}.tif")
        grid = make_grid(crs="EPSG:4326", corner=corner, pixel=(0.001, 0.001))
        write_raster(paths[-1], PIXELS, grid)
    with pytest.raises(RasterError, match=r"e-\d+ % of it"):
        describe_mosaic(paths)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".tif", "a\x00b.tif", "\udcff.tif"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / name, f"/vsizip/{name}/x.tif", f"NETCDF:{name}:red"):
        with pytest.raises(FewshotError) as found:
            describe_raster(path)
        str(found.value).encode("utf-8", "backslashreplace")


def test_archives_by_their_whole_path(scene: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "scene.tif"))
    (tmp_path / "scene.tif.gz").write_bytes(gzip.compress(scene.read_bytes()))
    for name in (
        f"/vsizip/{archive}/scene.tif",
        f"/vsizip{archive}/scene.tif",
        f"/vsizip/{{{archive}}}/scene.tif",
        f"/vsigzip/{tmp_path}/scene.tif.gz",
        f"vrt://{scene}?bands=1",
    ):
        for source in (name, Path(name)):
            assert describe_raster(source).grid.height == 20, source
            np.testing.assert_array_equal(RasterReader().read(source)[0][..., 0], PIXELS)
