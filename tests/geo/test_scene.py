"""Scenes under any name that GDAL opens, in one file or several."""

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio.shutil
import shapely
from rasterio.env import Env

from fewshot.errors import DataNotFoundError, RasterError
from fewshot.geo.bands import Band
from fewshot.geo.grid import Grid
from fewshot.geo.scene import Scene, Stored
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
BANDS = (Band("B4", scale=1e-4), Band("B8", scale=1e-4))
WHOLE = Window(0, 0, 20, 30)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 9000, (20, 30, 2)).astype(np.int16)


@pytest.fixture
def path(tmp_path: Path, make_grid: Make, pixels: np.ndarray) -> Path:
    write_raster(tmp_path / "may.tif", pixels, make_grid(), names=("B4", "B8"))
    return tmp_path / "may.tif"


def require_driver(name: str) -> None:
    with Env() as env:
        if name not in env.drivers():
            pytest.skip(f"the installed GDAL has no driver {name}")


def is_read(scene: Scene, pixels: np.ndarray) -> bool:
    values, valid = scene.read(WHOLE)
    return bool(np.allclose(values, pixels * 1e-4) and valid.all())


def test_a_scene_in_an_archive(path: Path, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(path.with_name("all.zip"), "w") as archive:
        archive.write(path, "deep/may.tif")
    archived = f"/vsizip/{path.parent}/all.zip/deep/may.tif"
    for source in (archived, Path(archived), f"zip://{path.parent}/all.zip!deep/may.tif"):
        scene = Scene.open([source], BANDS)
        assert is_read(scene, pixels)
        (found,) = scene.files()
        assert found["bytes"] == path.with_name("all.zip").stat().st_size
    with pytest.raises(RasterError, match="none.tif cannot be read as a raster"):
        Scene.open([f"/vsizip/{path.parent}/all.zip/none.tif"], BANDS)
    with pytest.raises(DataNotFoundError, match="there is no raster .*no.zip is missing"):
        Scene.open([f"/vsizip/{path.parent}/no.zip/may.tif"], BANDS)


def test_a_scene_behind_a_tile_index(path: Path, make_grid: Make, pixels: np.ndarray) -> None:
    require_driver("GTI")
    corners = make_grid().to_map(np.array([0, 20]), np.array([0, 30]))
    box = shapely.box(*(corner[0] for corner in corners), *(corner[1] for corner in corners))
    index = geopandas.GeoDataFrame({"location": [str(path)]}, geometry=[box], crs=make_grid().crs.to_wkt())
    index.to_file(path.with_name("index.gti.gpkg"), layer="index")
    assert is_read(Scene.open([f"GTI:{path.parent}/index.gti.gpkg"], BANDS), pixels)
    with pytest.raises(DataNotFoundError, match="there is no raster GTI:.*none.gti.gpkg is missing"):
        Scene.open([f"GTI:{path.parent}/none.gti.gpkg"], BANDS)


def test_bands_of_another_raster_by_a_drivers_name(path: Path, pixels: np.ndarray) -> None:
    scene = Scene.open([f"vrt://{path}?bands=2,1"], BANDS)
    assert scene.match.numbers == (2, 1) and is_read(scene, pixels)


def test_variables_of_a_netcdf_file_are_a_band_each(path: Path, pixels: np.ndarray) -> None:
    require_driver("netCDF")
    cube = path.with_suffix(".nc")
    rasterio.shutil.copy(path, cube, driver="netCDF")
    sources = [f'NETCDF:"{cube}":Band{number}' for number in (2, 1)]
    assert is_read(Scene.open(sources, BANDS, chosen=("B8", "B4")), pixels)
    with pytest.raises(RasterError, match="neither their descriptions nor their names say which is which"):
        Scene.open(sources, BANDS)
    with pytest.raises(RasterError, match=f"{cube} holds 2 rasters, which are named .*:Band1, .*:Band2; expected one"):
        Scene.open([cube], BANDS)
    with pytest.raises(DataNotFoundError, match="there is no raster .*none.nc is missing"):
        Scene.open([f'NETCDF:"{path.parent}/none.nc":Band1'], BANDS)


def test_assets_of_a_stac_item_are_bands(tmp_path: Path, make_grid: Make, pixels: np.ndarray) -> None:
    require_driver("STACIT")
    grid = make_grid()
    assets = {}
    for layer, (asset, name) in enumerate((("red", "B04"), ("nir", "B08"))):
        write_raster(tmp_path / f"{asset}.tif", pixels[..., layer], grid)
        assets[asset] = {
            "href": str(tmp_path / f"{asset}.tif"),
            "type": "image/tiff; application=geotiff",
            "eo:bands": [{"name": name}],
            "proj:shape": [grid.height, grid.width],
            "proj:transform": list(grid.transform)[:6],
        }
    box = {"type": "Polygon", "coordinates": [[[15, 45], [15.1, 45], [15.1, 45.2], [15, 45.2], [15, 45]]]}
    schemas = [f"https://stac-extensions.github.io/{name}/v1.1.0/schema.json" for name in ("projection", "eo")]
    told: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": schemas,
        "id": "may",
        "geometry": box,
    }
    told["bbox"] = [15, 45, 15.1, 45.2]
    told |= {"properties": {"datetime": "2020-05-01T00:00:00Z", "proj:epsg": 32633}, "links": [], "assets": assets}
    item = tmp_path / "item.json"
    item.write_text(json.dumps(told))
    sources = [f'STACIT:"{item}":asset={name}' for name in ("nir", "red")]
    assert is_read(Scene.open(sources, BANDS), pixels)
    # The item itself is not one raster; its assets' own files are, and say no more than their names.
    with pytest.raises(RasterError, match="item.json holds 2 rasters, which are named STACIT.*asset=nir, .*asset=red"):
        Scene.open([item], BANDS)
    files = [tmp_path / "nir.tif", tmp_path / "red.tif"]
    with pytest.raises(
        RasterError, match="has the bands nir, red; expected B4, B8, .* not among them. .*in the file's order"
    ):
        Scene.open(files, BANDS)
    assert is_read(Scene.open(files, BANDS, chosen=("B8", "B4")), pixels)


def test_files_that_call_their_only_band_the_first_are_bands_of_one_scene(
    tmp_path: Path, make_grid: Make, pixels: np.ndarray
) -> None:
    for layer, name in enumerate(("red", "nir")):
        write_raster(tmp_path / f"{name}.tif", pixels[..., layer], make_grid(), names=("Band 1",))
    files = [tmp_path / "red.tif", tmp_path / "nir.tif"]
    assert is_read(Scene.open(files, BANDS, chosen=("B4", "B8")), pixels)
    with pytest.raises(RasterError, match="Name the bands"):
        Scene.open(files, BANDS)


def test_a_scene_travels_to_another_process(path: Path, pixels: np.ndarray) -> None:
    stored = Stored((1e-4, 1e-4), (0.0, 0.0), whole=False)
    scene = Scene.open([path], BANDS).reading(BANDS, stored=stored)
    scene.read(WHOLE)
    copy = pickle.loads(pickle.dumps(scene))
    np.testing.assert_allclose(copy.read(WHOLE)[0], pixels, rtol=1e-6)
    assert copy.files() == scene.files()


def test_a_signed_address_is_known_again(path: Path) -> None:
    """What signs it for an hour is another an hour later."""
    scene = Scene.open([path], BANDS)
    scene.parts = tuple(replace(part, source=f"https://host/{path.name}?sig=a%2F&se=2024") for part in scene.parts)
    assert scene.files() == [{"file": f"https://host/{path.name}", "bytes": None, "changed": None}]


def test_what_lies_outside_is_mirrored_and_not_valid(path: Path, pixels: np.ndarray) -> None:
    values, valid = Scene.open([path], BANDS).read(Window(-2, 25, 6, 8))
    np.testing.assert_allclose(values[2:, :5], pixels[:4, 25:] * 1e-4, rtol=1e-5)
    np.testing.assert_array_equal(values[:2], values[3:1:-1])
    np.testing.assert_array_equal(values[:, 5:], values[:, 4:1:-1])
    assert valid[2:, :5].all() and valid.sum() == 4 * 5
    with pytest.raises(RasterError, match="lie outside of .*may.tif, 20x30 pixels"):
        Scene.open([path], BANDS).read(Window(40, 0, 4, 4))


def test_no_scene_at_all_is_refused() -> None:
    with pytest.raises(RasterError, match="no scene was named"):
        Scene.open([], BANDS)
