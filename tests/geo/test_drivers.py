"""Names that begin with a driver's: what GDAL reads is a scene, with the pixels, places and bands that it has there."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely

from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import describe_mosaic, read_parts
from fewshot.geo.rasters import RasterReader
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
PIXELS = np.arange(1, 601, dtype=np.uint16).reshape(20, 30)


def stacit(scene: Path) -> str:
    """Items of one asset, as GDAL's own driver for STAC reads them."""
    with rasterio.open(scene) as raster:
        transform, shape = raster.transform, raster.shape
    asset = {
        **{"href": str(scene), "type": "image/tiff; application=geotiff"},
        **{"proj:transform": [*transform], "proj:shape": shape},
    }
    item = {
        **{"type": "Feature", "stac_version": "1.0.0", "id": "one", "collection": "made-up"},
        "stac_extensions": ["https://stac-extensions.github.io/projection/v1.0.0/schema.json"],
        "properties": {"datetime": "2024-06-01T00:00:00Z", "proj:epsg": 32633},
        "assets": {"B04": asset},
    }
    path = scene.with_name("items.json")
    path.write_text(json.dumps({"type": "FeatureCollection", "stac_version": "1.0.0", "features": [item]}))
    return f'STACIT:"{path}":asset=B04'


def tile_index(scene: Path) -> str:
    with rasterio.open(scene) as raster:
        place, crs = shapely.box(*raster.bounds), raster.crs.to_wkt()
    path = scene.with_name("index.gti.gpkg")
    geopandas.GeoDataFrame({"location": [str(scene)]}, geometry=[place], crs=crs).to_file(path, layer="index")
    return f"GTI:{path}"


def copied(scene: Path, driver: str, name: str) -> Path:
    path = scene.with_name(name)
    rasterio.shutil.copy(scene, path, driver=driver)
    return path


def zipped(scene: Path) -> str:
    with zipfile.ZipFile(scene.with_name("all.zip"), "w") as archive:
        archive.write(scene, "deep/scene.tif")
    return f"/vsizip/{scene.with_name('all.zip')}/deep/scene.tif"


@pytest.mark.parametrize(
    "named",
    [
        stacit,
        tile_index,
        lambda scene: f'NETCDF:"{copied(scene, "netCDF", "scene.nc")}":Band1',
        lambda scene: str(copied(scene, "netCDF", "scene.nc")),
        zipped,
        lambda scene: str(copied(scene, "Zarr", "scene.zarr")),
        lambda scene: f'ZARR:"{copied(scene, "Zarr", "scene.zarr")}"',
    ],
    ids=["STACIT", "GTI", "NETCDF", "netCDF file", "vsizip", "zarr folder", "ZARR"],
)
def test_what_gdal_reads_is_a_scene(make_grid: Make, tmp_path: Path, named: Callable[[Path], str]) -> None:
    grid = make_grid()
    write_raster(tmp_path / "scene.tif", PIXELS, grid, names=("B04",))
    info, parts = describe_mosaic([named(tmp_path / "scene.tif")])
    assert info.grid.same_as(grid)
    found, valid = read_parts(RasterReader(), parts, Window(3, 4, 10, 12), [1])
    assert valid.all() and np.array_equal(found[..., 0], PIXELS[3:13, 4:16])
