"""Masks: which of their numbers are left out, where they are found, and how they lie over a scene."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewshot.errors import FewshotError, RasterError, RecipeError
from fewshot.geo.codes import KNOWN, Codes, codes_of, read_codes
from fewshot.geo.composing import PicturePlan
from fewshot.geo.grid import Grid
from fewshot.geo.masks import find_mask
from fewshot.geo.mosaic import Mask, describe_mosaic, read_parts
from fewshot.geo.pictures import open_pictures
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
ALL = Window(0, 0, 20, 30)


@pytest.mark.parametrize(
    ("text", "values", "bits"),
    [
        ("3,8-10", (3, 8, 9, 10), ()),
        ("1", (1,), ()),
        ("bits:0-2 4", (), (0, 1, 2, 4)),
        ("255, bits:1,3", (255,), (1, 3)),
        ("bits:5;values:-1", (-1,), (5,)),
    ],
)
def test_what_is_left_out_is_said_as_values_or_bits(text: str, values: tuple[int, ...], bits: tuple[int, ...]) -> None:
    assert read_codes(text) == Codes(values, bits)


@pytest.mark.parametrize("text", ["clouds", "8-3", "bits:40", "bits:-1", "1..3", "0-99999", "3,,x"])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="expected the values of the mask"):
        read_codes(text)


def test_known_masks_leave_out_what_is_usual() -> None:
    assert codes_of("T33UUU_20240601_SCL_20m", None) is KNOWN["SCL"]
    assert codes_of("LC08_L2SP_T1_QA_PIXEL", None) is KNOWN["QA_PIXEL"]
    assert codes_of("SCL", Codes((4,))) == Codes((4,))
    with pytest.raises(RecipeError, match="clouds: which of its values .* --mask-out"):
        codes_of("clouds", None)


def test_bits_are_those_of_the_landsat_data_format_control_book() -> None:
    """Clear land is 21824 in collection 2, cloud of high confidence 22280, and fill 1."""
    bits = sum(1 << bit for bit in KNOWN["QA_PIXEL"].bits)
    assert [number & bits != 0 for number in (21824, 21952, 22280, 23888, 54596, 1)] == [False, False, *[True] * 4]


@pytest.mark.parametrize("nodata", [None, 0, 4])
@pytest.mark.parametrize("pixel", [10, 20], ids=["same grid", "larger pixels"])
def test_a_mask_is_read_on_the_grid_of_the_scene(
    make_grid: Make, tmp_path: Path, nodata: int | None, pixel: int
) -> None:
    """The number for no data is a code like any other: left out if it is named, else not."""
    rng = np.random.default_rng(0)
    side = pixel // 10
    codes = rng.integers(0, 12, (20 // side, 30 // side)).astype(np.uint8)
    write_raster(tmp_path / "SCL.tif", codes, make_grid(*codes.shape, pixel=(pixel, pixel)), nodata=nodata)
    mask = Mask(str(tmp_path / "SCL.tif"), KNOWN["SCL"]).on(make_grid())
    expected = np.isin(codes, [0, 1, 3, 8, 9, 10]).repeat(side, 0).repeat(side, 1)
    reader = RasterReader()
    assert np.array_equal(mask.read(reader, ALL), expected)
    assert np.array_equal(mask.read(reader, Window(3, 7, 5, 6)), expected[3:8, 7:13])


def test_what_a_mask_does_not_reach_is_left_out(make_grid: Make, tmp_path: Path) -> None:
    write_raster(tmp_path / "clouds.tif", np.zeros((20, 15), np.uint8), make_grid(20, 15))
    left_out = Mask(str(tmp_path / "clouds.tif"), Codes((1,))).on(make_grid()).read(RasterReader(), ALL)
    assert not left_out[:, :15].any() and left_out[:, 15:].all()


def test_a_mask_of_elsewhere_is_refused(make_grid: Make, tmp_path: Path) -> None:
    write_raster(tmp_path / "far.tif", np.zeros((20, 30), np.uint8), make_grid(corner=(900000, 5000000)))
    with pytest.raises(RasterError, match="no ground in common"):
        Mask(str(tmp_path / "far.tif"), Codes((1,))).on(make_grid())


def test_a_float_mask_without_a_number_is_left_out(make_grid: Make, tmp_path: Path) -> None:
    pixels = np.zeros((20, 30), np.float32)
    pixels[3, 4], pixels[5, 6] = np.nan, 1
    write_raster(tmp_path / "m.tif", pixels, make_grid())
    left_out = Mask(str(tmp_path / "m.tif"), Codes((1,))).read(RasterReader(), ALL)
    assert np.argwhere(left_out).tolist() == [[3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("scene", "mask", "others"),
    [
        ("scene.tif", "scene_SCL.tif", ["other_SCL.tif", "SCL.tif"]),
        ("scene.tif", "SCL.tif", ["other_SCL.tif"]),
        ("LC08_X_T1_SR_B4.TIF", "LC08_X_T1_QA_PIXEL.TIF", ["LC09_X_T1_QA_PIXEL.TIF", "LC08_X_T1_QA_RADSAT.TIF"]),
        ("IMG_DATA/R10m/T33_B04_10m.tif", "IMG_DATA/R20m/T33_SCL_20m.tif", ["IMG_DATA/R60m/T33_SCL_60m.tif"]),
    ],
)
def test_a_mask_is_found_beside_the_scene(
    make_grid: Make, tmp_path: Path, scene: str, mask: str, others: list[str]
) -> None:
    for name in (scene, mask, *others):
        write_raster(tmp_path / name, np.zeros((20, 30), np.uint8), make_grid())
    name = "QA_PIXEL" if "QA" in mask else "SCL"
    info = describe_raster(tmp_path / scene)
    found = find_mask(name, str(tmp_path / scene), info, None)
    assert (Path(found.source), found.band, found.codes) == (tmp_path / mask, 1, KNOWN[name])


def test_a_band_of_the_scene_is_its_mask_and_no_band_any_more(make_grid: Make, tmp_path: Path) -> None:
    pixels = np.arange(1800, dtype=np.uint16).reshape(20, 30, 3)
    pixels[..., 1] = np.where(np.arange(30) < 9, 8, 4)
    write_raster(tmp_path / "scene.tif", pixels, make_grid(), names=("B4", "SCL", "B8"))
    (picture,) = open_pictures([str(tmp_path / "scene.tif")], PicturePlan(mask="scl"))
    info, parts = describe_mosaic(picture.layers)
    assert info.names == ("B4", "B8")
    found, valid = read_parts(RasterReader(), parts, ALL, [2, 1])
    assert np.array_equal(found[:, 9:], pixels[:, 9:, [2, 0]])
    assert valid[:, 9:].all() and not valid[:, :9].any()


def test_each_file_of_a_mosaic_has_its_own_mask(make_grid: Make, tmp_path: Path) -> None:
    for number, corner in enumerate((500000, 500300)):
        grid = make_grid(corner=(corner, 5000000))
        write_raster(tmp_path / f"t{number}.tif", np.full((20, 30), 7, np.uint8), grid, names=("B4",))
        codes = np.where(np.arange(600).reshape(20, 30) % 3 == number, 9, 5).astype(np.uint8)
        write_raster(tmp_path / f"t{number}_SCL.tif", codes, grid)
    plan = PicturePlan(mask="SCL")
    (picture,) = open_pictures([str(tmp_path / f"t{number}.tif") for number in range(2)], plan)
    info, parts = describe_mosaic(picture.layers)
    _, valid = read_parts(RasterReader(), parts, Window(0, 0, 20, 60), [1])
    places = np.arange(600).reshape(20, 30) % 3
    assert info.grid.width == 60
    assert np.array_equal(valid[..., 0], np.concatenate([places != 0, places != 1], axis=1))


def test_a_mask_that_is_not_there_is_refused_by_name(make_grid: Make, tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", np.zeros((20, 30, 2), np.uint8), make_grid(), names=("B4", "B8"))
    for plan, message in (
        (PicturePlan(mask="SCL"), r"has no mask SCL: none of its bands B4, B8 .* such as scene_SCL\.tif"),
        (PicturePlan(mask=str(tmp_path / "no.tif"), mask_out="1"), r"there is no raster .*no\.tif"),
        (PicturePlan(mask="B8"), "which of its values"),
    ):
        with pytest.raises(FewshotError, match=message):
            open_pictures([str(tmp_path / "scene.tif")], plan)
    with pytest.raises(RecipeError, match="name the mask with --mask"):
        PicturePlan(mask_out="1")
