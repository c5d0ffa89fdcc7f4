from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import describe_mosaic, read_parts
from fewshot.geo.rasters import RasterReader
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (20, 30, 2)).astype(np.uint8)


def part_of(grid: Grid, rows: slice, columns: slice) -> Grid:
    t = grid.transform
    x, y = grid.to_map(rows.start, columns.start)
    transform = type(t)(t.a, t.b, x, t.d, t.e, y)
    return Grid(rows.stop - rows.start, columns.stop - columns.start, transform, grid.crs)


@pytest.mark.parametrize("degrees", [0, 25])
def test_neighbours_are_read_as_one(make_grid: Make, tmp_path: Path, picture: np.ndarray, degrees: float) -> None:
    grid = make_grid(20, 30, degrees=degrees)
    places = [(slice(8, 20), slice(0, 13)), (slice(0, 9), slice(0, 30)), (slice(8, 20), slice(13, 30))]
    paths = []
    for number, (rows, columns) in enumerate(places):
        paths.append(tmp_path / f"{number}.tif")
        write_raster(paths[-1], picture[rows, columns], part_of(grid, rows, columns), names=("B1", "B2"), nodata=0)
    info, parts = describe_mosaic(paths)
    assert (info.grid.height, info.grid.width, info.names) == (20, 30, ("B1", "B2"))
    np.testing.assert_allclose(info.grid.transform, grid.transform)
    reader = RasterReader()
    found, valid = read_parts(reader, parts, Window(0, 0, 20, 30), [2, 1])
    assert np.array_equal(found, picture[..., ::-1]) and valid.all()
    found, _ = read_parts(reader, parts, Window(5, 9, 7, 11), [1])
    assert np.array_equal(found[..., 0], picture[5:12, 9:20, 0])


def test_what_no_part_covers_is_not_valid_and_the_first_part_with_data_counts(
    make_grid: Make, tmp_path: Path, picture: np.ndarray
) -> None:
    grid = make_grid(20, 30)
    first, second = picture[:12, :20].copy(), picture[6:, 10:].copy()
    first[8:, 15:] = 0
    second[:4] = 77
    for name, pixels, rows, columns in (
        ("a", first, slice(0, 12), slice(0, 20)),
        ("b", second, slice(6, 20), slice(10, 30)),
    ):
        write_raster(tmp_path / f"{name}.tif", pixels, part_of(grid, rows, columns), nodata=0)
    info, parts = describe_mosaic([tmp_path / "a.tif", tmp_path / "b.tif"])
    found, valid = read_parts(RasterReader(), parts, Window(0, 0, 20, 30), [1, 2])
    expected = np.zeros_like(picture)
    expected[6:, 10:] = second
    expected[:12, :20] = np.where(first > 0, first, expected[:12, :20])
    assert np.array_equal(found, expected)
    assert np.array_equal(valid, expected > 0)
    assert not valid[15, 3].any()


def test_files_of_one_band_are_stacked_and_take_their_names(
    make_grid: Make, tmp_path: Path, picture: np.ndarray
) -> None:
    grid = make_grid(20, 30)
    write_raster(tmp_path / "T33_20200101_B02.tif", picture[..., 0], grid, scale=1e-4)
    write_raster(tmp_path / "T33_20200101_B8A.tif", picture[..., 1], grid)
    info, parts = describe_mosaic([tmp_path / "T33_20200101_B8A.tif", tmp_path / "T33_20200101_B02.tif"])
    assert (info.names, info.scales, info.bands) == (("B8A", "B02"), (1.0, 1e-4), 2)
    found, _ = read_parts(RasterReader(), parts, Window(2, 3, 10, 10), [1, 2])
    assert np.array_equal(found, picture[2:12, 3:13, ::-1])


def test_a_fourth_band_that_is_wanted_is_no_mask(make_grid: Make, tmp_path: Path) -> None:
    """GDAL takes the fourth of four bands of bytes for transparency; in aerial pictures it is near infrared."""
    pixels = np.full((20, 30, 4), 9, np.uint8)
    pixels[:5, :, 3] = 0
    write_raster(tmp_path / "naip.tif", pixels, make_grid(20, 30))
    info, parts = describe_mosaic([tmp_path / "naip.tif"])
    found, valid = read_parts(RasterReader(), parts, Window(0, 0, 20, 30), [1, 4])
    assert valid.all() and np.array_equal(found[..., 1], pixels[..., 3])


def test_what_does_not_fit_together_is_refused(make_grid: Make, tmp_path: Path, picture: np.ndarray) -> None:
    grid = make_grid(20, 30)
    write_raster(tmp_path / "a.tif", picture, grid, names=("B1", "B2"))
    for name, pixels, other, names, message in (
        ("off", picture, make_grid(20, 30, corner=(500004, 5000000)), ("B1", "B2"), "do not lie on the grid"),
        ("size", picture, make_grid(20, 30, pixel=(20, 10)), ("B1", "B2"), "do not lie on the grid"),
        ("crs", picture, make_grid(20, 30, crs="EPSG:32634"), ("B1", "B2"), "CRS"),
        ("type", picture.astype(np.uint16), make_grid(20, 30, corner=(500300, 5000000)), ("B1", "B2"), "type"),
        ("names", picture, make_grid(20, 30, corner=(500300, 5000000)), ("B1", "B3"), "band names"),
    ):
        write_raster(tmp_path / f"{name}.tif", pixels, other, names=names)
        with pytest.raises(RasterError, match=message):
            describe_mosaic([tmp_path / "a.tif", tmp_path / f"{name}.tif"])
    single = tmp_path / "b3.tif"
    write_raster(single, picture[..., 0].astype(np.int16), grid, names=("B3",))
    with pytest.raises(RasterError, match="expected the same of all files"):
        describe_mosaic([tmp_path / "a.tif", single])


def test_neighbours_whose_numbers_are_worth_other_reflectance_are_refused(make_grid: Make, tmp_path: Path) -> None:
    """Sentinel-2's numbers have an offset since baseline 04.00, which the files do not state."""
    names = ("S2A_MSIL2A_20210601T101031_N0301_R022_T33UUS_x", "S2A_MSIL2A_20240601T101031_N0510_R022_T33UUT_x")
    files = [tmp_path / f"{name}.tif" for name in names]
    for number, file in enumerate(files):
        grid = make_grid(20, 30, corner=(500000 + 300 * number, 5000000))
        write_raster(file, np.ones((20, 30, 1), np.uint16), grid, names=("B4",))
    with pytest.raises(
        RasterError, match=r"no mosaic: the scales and offsets of their products \(0.0001, -0.1\) and No"
    ):
        describe_mosaic(files)


def test_bands_of_several_products_are_worth_what_each_is(make_grid: Make, tmp_path: Path) -> None:
    old, new = "S2A_MSIL2A_20210601T101031_N0301_R022_T33UUS", "S2A_MSIL2A_20240601T101031_N0510_R022_T33UUS"
    files = [tmp_path / f"{name}_{band}.tif" for name, band in ((old, "B04"), (new, "B08"))]
    for file in files:
        write_raster(file, np.ones((20, 30, 1), np.uint16), make_grid(20, 30))
    for order, scales in ((files, [(1, 0), (1e-4, -0.1)]), (files[::-1], [(1e-4, -0.1), (1, 0)])):
        info, _ = describe_mosaic(order)
        assert info.product is None and list(zip(info.scales, info.offsets, strict=True)) == scales
    write_raster(files[0].with_name(f"{new}_B04.tif"), np.ones((20, 30, 1), np.uint16), make_grid(20, 30))
    info, _ = describe_mosaic([files[1], files[0].with_name(f"{new}_B04.tif")])
    assert info.product == (1e-4, -0.1) and info.scales == (1, 1)


def test_one_file_is_read_as_it_is(make_grid: Make, tmp_path: Path, picture: np.ndarray) -> None:
    write_raster(tmp_path / "a.tif", picture, make_grid(20, 30))
    info, parts = describe_mosaic([tmp_path / "a.tif"])
    window = Window(3, 4, 9, 8)
    one = read_parts(RasterReader(), parts, window, [1, 2])
    two = RasterReader().read(tmp_path / "a.tif", window, bands=[1, 2])
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])
    with pytest.raises(RasterError, match="reach outside"):
        read_parts(RasterReader(), parts, Window(15, 4, 9, 8), [1, 2])
