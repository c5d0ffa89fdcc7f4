"""What names, tags and files say of bands."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from fewshot.geo.products import known_scaling, sensor_in
from fewshot.geo.rasters import describe_raster
from fewshot.geo.spectrum import numbered, part_of_spectrum, read_name


@pytest.mark.parametrize(
    ("name", "wavelength"),
    [
        *(("B4 835 nm", 835), ("B4 835", 835), ("418.2 nm", 418.2), ("a (0.4505 Micrometers)", 450.5)),
        *(("red", 660), ("Red (B04)", 660), ("red 2007-09-14", 660), ("coastal aerosol", 443), ("deep blue", 443)),
        *(("Near-Infrared (NIR)", 842), ("Narrow NIR", 865), ("nir08", 865), ("NIR1", 842), ("nir09", 945)),
        *(("Red Edge 1", 705), ("rededge2", 740), ("RE_B7", 783), ("SWIR16", 1610), ("short-wave infrared 2", 2200)),
        *(("green_i", 531), ("green", 560), ("B6 temperature", 11000)),
    ],
)
def test_names_say_a_wavelength(name: str, wavelength: float) -> None:
    assert read_name(name).wavelength == wavelength


@pytest.mark.parametrize(
    "name", ["B4", "B4 2019", "nir/red ratio", "mir", "swir", "NDVI", "VV", "QA_PIXEL", "infrared", ""]
)
def test_names_that_say_nothing_certain(name: str) -> None:
    assert read_name(name).wavelength is None


def test_bands_are_called_by_numbers_in_many_ways() -> None:
    called = ["B8A", "band 08a", "NIR_B8A", "SR_B4", "sur_refl_b04", "Nadir_Reflectance_Band4", "b04", "VV", "b4x"]
    assert [numbered(name) for name in called] == ["B8A"] * 3 + ["B4"] * 4 + [""] * 2


@pytest.mark.parametrize(
    ("wavelength", "part"),
    [(443, "coastal"), (469, "blue"), (820, "nir"), (783, "rededge"), (945, "nir09"), (1900, "")],
)
def test_wavelengths_lie_in_parts_of_the_spectrum(wavelength: float, part: str) -> None:
    assert part_of_spectrum(wavelength) == part


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("LC08_L2SP_232066_20190727_20200827_02_T1_SR_B4.TIF", "landsat8"),
        *(("LE70220491999322EDC00_B4.tif", "landsat7"), ("LT05_x.tif", "landsat5"), ("landsat_7.tif", "landsat7")),
        *(("T32UQD_20220601T101031_B02_10m.jp2", "sentinel2"), ("MOD09A1.A2007.tif", "modis")),
        *(("HLS.L30.T32UQD.B05.tif", "landsat8"), ("m_3907617_ne_18_1_20130702.tif", "naip")),
        *(("landsat_leaf_on.tif", ""), ("landsat7/scene.tif", ""), ("LC08_and_S2A_fused.tif", "")),
    ],
)
def test_names_of_files_tell_the_sensor(name: str, sensor: str) -> None:
    assert sensor_in(name, {}) == sensor


def test_tags_tell_the_sensor() -> None:
    assert sensor_in("x.tif", {"SPACECRAFT_ID": "LANDSAT_7", "SENSOR_ID": "ETM"}) == "landsat7"
    assert sensor_in("x.tif", {"history": "made like LANDSAT_7"}) == ""


def test_products_are_known_whose_numbers_have_a_scale_that_the_file_does_not_state() -> None:
    folder = "S2A_MSIL2A_20220601T101031_N0400_R022_T32UQD_20220601T161031.SAFE/GRANULE/"
    assert known_scaling(folder + "T32UQD_20220601T101031_B02_10m.jp2", {}) == (1e-4, -0.1)
    assert known_scaling(folder.replace("N0400", "N0301") + "T32UQD_20220601T101031_B02_10m.jp2", {}) is None
    assert known_scaling("x.tif", {"PLATFORM": "Sentinel-2B", "PROCESSING_BASELINE": "05.09"}) == (1e-4, -0.1)
    assert known_scaling("LC08_L2SP_232066_20190727_20200827_02_T1_SR_B4.TIF", {}) == (2.75e-5, -0.2)
    assert known_scaling("LC08_L2SP_232066_20190727_20200827_02_T1_ST_B10.TIF", {}) is None


def write(path: Path, bands: int, driver: str = "GTiff") -> None:
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(path, "w", driver=driver, height=2, width=2, count=bands, dtype="int16") as raster,
    ):
        raster.write(np.ones((bands, 2, 2), np.int16))


@pytest.mark.parametrize(
    ("tags", "space", "width"),
    [
        ({"wavelength_nm": "664.6"}, None, None),
        ({"wavelength": "0.6646", "wavelength_units": "Micrometers", "fwhm": "0.031"}, None, 31),
        ({"CENTRAL_WAVELENGTH_UM": "0.6646", "FWHM_UM": "0.031"}, "IMAGERY", 31),
        ({"center_wavelength": "0.6646", "full_width_half_max": "0.031"}, None, 31),
    ],
)
def test_tags_of_bands_say_a_wavelength(
    tmp_path: Path, tags: dict[str, str], space: str | None, width: float | None
) -> None:
    write(tmp_path / "x.tif", 2)
    with rasterio.open(tmp_path / "x.tif", "r+") as raster:
        raster.update_tags(2, ns=space, **tags)
    first, second = describe_raster(tmp_path / "x.tif").spectra
    assert first.wavelength is None
    assert second.wavelength == pytest.approx(664.6) and second.source == "tags"
    assert second.width == (None if width is None else pytest.approx(width))


def test_tags_of_a_file_list_the_bands_as_stac_does(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", 2)
    said = '[{"name": "B04", "center_wavelength": 0.665, "full_width_half_max": 0.038}, {"common_name": "nir"}]'
    with rasterio.open(tmp_path / "x.tif", "r+") as raster:
        raster.update_tags(**{"eo:bands": said})
    assert [own.wavelength for own in describe_raster(tmp_path / "x.tif").spectra] == [665, 842]


def test_headers_of_envi_say_wavelengths(tmp_path: Path) -> None:
    write(tmp_path / "x.img", 2, "ENVI")
    header = (tmp_path / "x.hdr").read_text().split("band names")[0]
    said = "wavelength units = Micrometers\nwavelength = {0.4823, 0.8654}\nfwhm = {0.0065, 0.0082}\n"
    (tmp_path / "x.hdr").write_text(header + said)
    found = describe_raster(tmp_path / "x.img").spectra
    assert [own.wavelength for own in found] == [pytest.approx(482.3), pytest.approx(865.4)]
    assert [own.width for own in found] == [pytest.approx(6.5, abs=0.51), pytest.approx(8.2, abs=0.51)]  # GDAL rounds
