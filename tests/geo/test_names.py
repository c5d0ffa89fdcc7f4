"""Names of files: paths, and addresses that GDAL reads from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from fewshot.errors import DataNotFoundError, RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import describe_mosaic, read_parts
from fewshot.geo.names import from_folder, gdal_name, is_path, local_file, require_file, short_name
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("scenes/may.tif", "scenes/may.tif"),
        ("https://host/may.tif", "/vsicurl/https://host/may.tif"),
        (Path("https://host/may.tif"), "/vsicurl/https://host/may.tif"),
        (Path("/vsicurl/http://host:8000/may.tif"), "/vsicurl/http://host:8000/may.tif"),
        (Path("s3://bucket/may.tif"), "/vsis3/bucket/may.tif"),
        ("gs://bucket/may.tif", "/vsigs/bucket/may.tif"),
        ("/vsizip/all.zip/may.tif", "/vsizip/all.zip/may.tif"),
        ("zip://all.zip!deep/may.tif", "/vsizip/all.zip/deep/may.tif"),
        ("zip+https://host/all.zip!may.tif", "/vsizip//vsicurl/https://host/all.zip/may.tif"),
        ('NETCDF:"may.nc":red', 'NETCDF:"may.nc":red'),
        (Path('STACIT:"https://host/may.json":asset=B04'), 'STACIT:"https://host/may.json":asset=B04'),
        (Path("vrt://may.tif?bands=1"), "vrt://may.tif?bands=1"),
    ],
)
def test_names_are_those_that_gdal_takes(source: str | Path, name: str) -> None:
    assert gdal_name(source) == name


@pytest.mark.parametrize(
    ("source", "file", "from_root", "short"),
    [
        ("may.tif", "may.tif", "/root/may.tif", "may"),
        ("/data/may.tif", "/data/may.tif", "/data/may.tif", "may"),
        ("https://host/may.tif", None, "/vsicurl/https://host/may.tif", "may"),
        ("/vsizip/a.zip/deep/may.tif", "a.zip", "/vsizip//root/a.zip/deep/may.tif", "may"),
        ("/vsizip//data/a.zip/may.tif", "/data/a.zip", "/vsizip//data/a.zip/may.tif", "may"),
        ("/vsizip/{a.zip}/may.tif", "a.zip", "/vsizip/{/root/a.zip}/may.tif", "may"),
        ("/vsizip//vsicurl/https://host/a.zip/may.tif", None, "/vsizip//vsicurl/https://host/a.zip/may.tif", "may"),
        ('NETCDF:"may.nc":red', "may.nc", 'NETCDF:"/root/may.nc":red', "NETCDF_may_nc_red"),
        ('netcdf:"/data/may.nc":B04', "/data/may.nc", 'netcdf:"/data/may.nc":B04', "may_nc_B04"),
        ('STACIT:"https://host/i.json":asset=B04', None, 'STACIT:"https://host/i.json":asset=B04', "i_json_asset_B04"),
        ("STACIT:i.json:asset=B04", "i.json", "STACIT:/root/i.json:asset=B04", "STACIT_i_json_asset_B04"),
        ("GTI:/vsizip/a.zip/x.gpkg", "a.zip", "GTI:/vsizip//root/a.zip/x.gpkg", "x"),
        ("GTIFF_DIR:2:may.tif", "may.tif", "GTIFF_DIR:2:/root/may.tif", "GTIFF_DIR_2_may_tif"),
        ("vrt:///data/may.tif?bands=1", "/data/may.tif", "vrt:///data/may.tif?bands=1", "may"),
        ("EEDAI:projects/may", None, "EEDAI:projects/may", "may"),
        ("WMS:https://host/x.cgi?y", None, "WMS:https://host/x.cgi?y", "x"),
        ("<VRTDataset/>", None, "<VRTDataset/>", ">"),
    ],
)
def test_names_lead_to_files_of_this_machine_or_to_none(
    source: str, file: str | None, from_root: str, short: str
) -> None:
    assert local_file(source) == (file and Path(file))
    assert from_folder(source, Path("/root")) == from_root
    assert short_name(source) == short
    assert is_path(source) == (file == source)


def test_a_path_that_lost_a_slash_finds_its_archive(tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_bytes(b"")
    name = f"/vsizip/{tmp_path}/all.zip/may.tif"
    assert str(Path(name)) != name and gdal_name(Path(name)) == name


def test_a_name_that_only_looks_like_a_drivers_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("may:1.tif").write_bytes(b"")
    assert is_path("may:1.tif") and short_name("may:1.tif") == "may:1"


def test_a_path_must_be_there_and_an_address_need_not(tmp_path: Path) -> None:
    assert require_file("https://host/may.tif", "raster").startswith("/vsicurl/")
    with pytest.raises(DataNotFoundError, match="there is no raster .*may.tif"):
        require_file(tmp_path / "may.tif", "raster")
    with pytest.raises(DataNotFoundError, match="there is no raster /vsizip/none.zip/may.tif: none.zip is missing"):
        require_file("/vsizip/none.zip/may.tif", "raster")


def test_a_raster_is_read_from_an_address(address: str, tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30, 1)
    write_raster(tmp_path / "may.tif", pixels, Grid(20, 30, Affine.scale(10, -10), "EPSG:32633"), names=("B4",))
    info, parts = describe_mosaic([f"{address}/may.tif"])
    assert info.names == ("B4",)
    window = Window(3, 4, 5, 6)
    reader = RasterReader()
    for found, valid in (read_parts(reader, parts, window, [1]), reader.read(info.path, window, bands=[1])):
        np.testing.assert_array_equal(found, pixels[3:8, 4:10])
        assert valid.all()
    with pytest.raises(RasterError, match="cannot be read as a raster"):
        describe_raster(Path(f"{address}/june.tif"))
