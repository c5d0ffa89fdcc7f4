from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from fewshot.errors import RasterError
from fewshot.geo.bands import Band, BandMatch
from fewshot.geo.grid import Grid
from fewshot.geo.matching import match_bands
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.values import check_units, own_bands, to_values
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
RGB = (Band("B4", 665, 1e-4), Band("B3", 560, 1e-4), Band("B2", 490, 1e-4))


def info(*names: str, dtype: str = "uint16", scales: tuple[float, ...] | None = None) -> RasterInfo:
    ones = (1.0,) * len(names)
    grid = Grid(4, 4, Affine.identity(), None)
    return RasterInfo(Path("s2.tif"), grid, dtype, names, None, scales or ones, (0.0,) * len(names), {}, (4, 4))


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("B2", "B3", "B4", "B8"), (3, 2, 1)),
        (("b02", "b03", "b04"), (3, 2, 1)),
        (("B4, central wavelength 665 nm", "B8A, central wavelength 865 nm", "B3 (560)", "B2"), (1, 3, 4)),
    ],
)
def test_bands_are_found_by_description(names: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    match = match_bands(RGB, info(*names))
    assert (match.numbers, match.how) == (numbers, "description")


def read_bands(found: RasterInfo, match: BandMatch, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Read a window of a file in the bands' units."""
    return to_values(*RasterReader().read(found.path, window, bands=match.found), found, match)


def test_b8_is_not_b8a_and_b1_is_not_b11() -> None:
    match = match_bands((Band("B8"), Band("B1"), Band("B8A")), info("B11", "B8A", "B1", "B8"))
    assert match.numbers == (4, 3, 2)


@pytest.mark.parametrize("names", [("", "", ""), ("Band 1", "Band 2", "Band 3"), ("1", "2", "3")])
def test_bands_without_descriptions_are_taken_in_order(names: tuple[str, ...]) -> None:
    match = match_bands(RGB, info(*names))
    assert (match.numbers, match.how) == ((1, 2, 3), "order")


def test_a_wrong_number_of_bands_is_refused() -> None:
    with pytest.raises(
        RasterError, match=r"s2.tif has 4 bands without descriptions; expected 3 \(B4, B3, B2\).*--bands"
    ):
        match_bands(RGB, info("", "", "", ""))


def test_a_missing_band_is_named() -> None:
    with pytest.raises(RasterError, match="has the bands B2, B3; expected B4, B3, B2, but B4 is not among them"):
        match_bands(RGB, info("B2", "B3"))
    match = match_bands(RGB, info("B2", "B3"), missing="allow")
    assert match.numbers == (None, 2, 1)
    assert match.present.tolist() == [False, True, True]
    with pytest.raises(RasterError, match="B4, B3, B2 are not among them"):
        match_bands(RGB, info("VV", "VH"), missing="allow")


def test_two_bands_of_one_name_cannot_be_told_apart() -> None:
    with pytest.raises(RasterError, match="has B4 as its bands 1 and 3"):
        match_bands(RGB, info("B4", "B3", "B04", "B2"))


def test_the_users_list_overrules_the_file() -> None:
    assert match_bands(RGB, info("x", "y", "z"), chosen=("B2", "B3", "B4")).numbers == (3, 2, 1)
    assert match_bands(RGB, info("x", "y", "z"), chosen=(1, 3, 2)).numbers == (1, 3, 2)
    assert match_bands(RGB, info("x", "y"), chosen=(1, 0, 2), missing="allow").numbers == (1, None, 2)
    with pytest.raises(RasterError, match="has 3 bands, but 2 were named"):
        match_bands(RGB, info("x", "y", "z"), chosen=("B2", "B3"))
    with pytest.raises(RasterError, match=r"has bands 1 to 3; .* received \[1, 4, 2\]"):
        match_bands(RGB, info("x", "y", "z"), chosen=(1, 4, 2))
    with pytest.raises(RasterError, match=r"\[1, 0, 2\] leave out some of B4, B3, B2"):
        match_bands(RGB, info("x", "y", "z"), chosen=(1, 0, 2))


def test_digital_numbers_become_reflectance(tmp_path: Path, make_grid: Make) -> None:
    pixels = np.arange(2 * 6 * 5, dtype=np.uint16).reshape(6, 5, 2) * 100
    pixels[1, 1, 0] = 65535
    write_raster(tmp_path / "x.tif", pixels, make_grid(6, 5), names=("B2", "B4"), nodata=65535)
    found = describe_raster(tmp_path / "x.tif")
    bands = (Band("B4", scale=1e-4, offset=-0.1), Band("B3"), Band("B2", scale=1e-4))
    match = match_bands(bands, found, missing="allow")
    values, valid = read_bands(found, match, Window(1, 0, 3, 4))
    assert values.dtype == np.float32
    expected = np.stack([pixels[..., 1] * 1e-4 - 0.1, np.zeros((6, 5)), pixels[..., 0] * 1e-4], axis=-1)[1:4, :4]
    expected[0, 1, 2] = 0
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert not valid[0, 1]
    assert valid.sum() == 11


def test_what_the_file_states_goes_before_the_band(tmp_path: Path, make_grid: Make) -> None:
    pixels = np.full((4, 4, 1), 500, np.uint16)
    write_raster(tmp_path / "x.tif", pixels, make_grid(4, 4), names=("B2",), scale=1e-3)
    found = describe_raster(tmp_path / "x.tif")
    values, _ = read_bands(found, match_bands((Band("B2", scale=1e-4),), found), Window(0, 0, 4, 4))
    assert values[0, 0, 0] == pytest.approx(0.5)


def test_zero_is_data_unless_the_file_or_the_band_says_otherwise(tmp_path: Path, make_grid: Make) -> None:
    pixels = np.zeros((4, 4, 1), np.uint16)
    for name, nodata in (("plain", None), ("nine", 9.0), ("zero", 0.0)):
        write_raster(tmp_path / f"{name}.tif", pixels, make_grid(4, 4), nodata=nodata)
    valid = {}
    for name in ("plain", "nine", "zero"):
        found = describe_raster(tmp_path / f"{name}.tif")
        valid[name] = read_bands(found, match_bands((Band("a"),), found), Window(0, 0, 4, 4))[1].all()
        band = replace(Band("a"), nodata=0)
        own = read_bands(found, match_bands((band,), found), Window(0, 0, 4, 4))[1].all()
        assert own == (name == "nine")  # the file's word goes first
    assert valid == {"plain": True, "nine": True, "zero": False}


@pytest.mark.parametrize(
    ("raw", "scale", "dtype", "said"),
    [
        (np.linspace(0.01, 0.6, 50), 1e-4, "float32", "no value above 0.6.*reflectance 0-1 already: say scale = 1"),
        (np.linspace(100, 6000, 50), 1.0, "uint16", "typical value of 3050.*reflectance x 10000: say scale = 1e-4"),
        (np.linspace(3, 250, 50), 1.0, "uint8", "x 255: say scale = 1/255"),
    ],
)
def test_reflectance_of_the_wrong_unit_is_refused(raw: np.ndarray, scale: float, dtype: str, said: str) -> None:
    values = np.stack([raw * scale] * 3, axis=-1).astype(np.float32)
    bands = tuple(replace(band, scale=scale) for band in RGB)
    found = info("B2", "B3", "B4", dtype=dtype)
    with pytest.raises(RasterError, match=f"s2.tif, band 3 .B4. has .*{said}"):
        check_units(values, np.ones(50, np.bool_), found, match_bands(bands, found))


def test_units_that_can_be_right_pass() -> None:
    found = info("B2", "B3", "B4")
    match = match_bands(RGB, found)
    everywhere = np.ones(50, np.bool_)
    for values in (np.linspace(0.002, 0.01, 50), np.linspace(0.5, 1.4, 50), np.zeros(50)):  # dark water, cloud, nothing
        check_units(np.stack([values] * 3, axis=-1).astype(np.float32), everywhere, found, match)
    kelvin = match_bands((Band("B2", unit="K"),), info("B2"))
    check_units(np.full((50, 1), 290, np.float32), everywhere, info("B2"), kelvin)
    check_units(np.full((50, 3), 9999, np.float32), ~everywhere, found, match)


def test_bands_as_they_are_need_their_scale() -> None:
    assert own_bands(info("red", "", dtype="uint8"))[1] == Band("band 2", scale=1 / 255, unit="brightness")
    assert own_bands(info("B4"), scale=1e-4) == (Band("B4", scale=1e-4),)
    assert own_bands(info("B4", scales=(1e-4,)))[0].name == "B4"
    with pytest.raises(RasterError, match="s2.tif has uint16 pixels, whose scale is not known; .* scale = 1e-4"):
        own_bands(info("B4"))


def test_real_landsat_is_refused_unscaled_and_read_scaled(data_root: Path) -> None:
    found = describe_raster(data_root / "scene_maryland/landsat_leaf_on.tif")
    window = Window(40, 30, 64, 64)
    raw = match_bands(own_bands(found, scale=1.0), found)
    with pytest.raises(RasterError, match="landsat_leaf_on.tif, band 1.*say scale = 1e-4"):
        check_units(*read_bands(found, raw, window), found, raw)
    scaled = match_bands(own_bands(found, scale=1e-4), found)
    values, valid = read_bands(found, scaled, window)
    check_units(values, valid, found, scaled)
    assert valid.all()
    assert 0.0 < values[..., :7].min() < values[..., :7].max() < 1.1
