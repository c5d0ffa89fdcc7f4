from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import shapely
from rasterio import Affine
from rasterio.warp import transform

from fewshot.errors import DataNotFoundError, RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import RasterReader, burn, describe_raster
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
RNG = np.random.default_rng(0)


def test_the_real_scene_says_what_it_is(data_root: Path) -> None:
    found = describe_raster(data_root / "scene_maryland/landsat_leaf_on.tif")
    assert (found.bands, found.dtype, found.nodata) == (9, "float32", None)
    assert found.grid.crs.to_epsg() == 26917
    assert (found.grid.height, found.grid.width) == (260, 260)
    # Pixels that are not square are as good as any.
    assert found.grid.transform.a == pytest.approx(23.6, abs=0.05)
    assert found.grid.transform.e == pytest.approx(-29.46, abs=0.05)
    assert found.grid.same_as(describe_raster(data_root / "scene_maryland/landcover.tif").grid)


def test_a_window_is_that_part_of_the_raster(tmp_path: Path, make_grid: Make) -> None:
    pixels = RNG.integers(0, 9999, (20, 30, 3)).astype(np.uint16)
    write_raster(tmp_path / "x.tif", pixels, make_grid(), names=("a", "b", "c"), nodata=0, tags={"made": "here"})
    found = describe_raster(tmp_path / "x.tif")
    assert (found.names, found.nodata, found.grid) == (("a", "b", "c"), 0, make_grid())
    read, valid = RasterReader().read(tmp_path / "x.tif", Window(3, 7, 10, 12), bands=[3, 1])
    np.testing.assert_array_equal(read, pixels[3:13, 7:19, [2, 0]])
    np.testing.assert_array_equal(valid, read != 0)
    assert read.dtype == np.uint16
    assert list(tmp_path.iterdir()) == [tmp_path / "x.tif"]  # nothing unfinished is left


def test_what_is_not_there_says_so(tmp_path: Path, make_grid: Make) -> None:
    reader = RasterReader()
    with pytest.raises(DataNotFoundError, match="there is no raster .*none.tif"):
        describe_raster(tmp_path / "none.tif")
    write_raster(tmp_path / "x.tif", np.zeros((20, 30), np.uint8), make_grid())
    with pytest.raises(RasterError, match="x.tif has 1 bands; band 2 was asked for"):
        reader.read(tmp_path / "x.tif", bands=[2])
    for window in (Window(0, 25, 5, 6), Window(-1, 0, 5, 5), Window(16, 0, 5, 5)):
        with pytest.raises(RasterError, match="is 20x30 pixels; rows .*reach outside"):
            reader.read(tmp_path / "x.tif", window)


def test_a_truncated_geotiff_names_file_and_window(tmp_path: Path, make_grid: Make) -> None:
    path = tmp_path / "x.tif"
    write_raster(path, RNG.integers(0, 9999, (600, 600, 2)).astype(np.uint16), make_grid(600, 600))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RasterError, match=r"x.tif.*(cannot be read|cut short)"):
        RasterReader().read(path, Window(344, 344, 256, 256))
    path.write_bytes(whole[:100])
    with pytest.raises(RasterError, match="x.tif cannot be read"):
        describe_raster(path)


def test_bands_of_different_types_are_refused(tmp_path: Path, make_grid: Make) -> None:
    write_raster(tmp_path / "a.tif", np.zeros((4, 4), np.uint8), make_grid(4, 4))
    write_raster(tmp_path / "b.tif", np.zeros((4, 4), np.float32), make_grid(4, 4))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{n}"><SimpleSource><SourceFilename relativeToVRT="1">{file}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for n, (kind, file) in enumerate((("Byte", "a.tif"), ("Float32", "b.tif")), start=1)
    )
    path = tmp_path / "mixed.vrt"
    path.write_text(f'<VRTDataset rasterXSize="4" rasterYSize="4">{bands}</VRTDataset>')
    with pytest.raises(RasterError, match="mixed.vrt: its bands are uint8, float32; expected one type"):
        describe_raster(path)


def test_nan_and_infinite_pixels_are_not_valid(tmp_path: Path, make_grid: Make) -> None:
    pixels = np.ones((4, 4, 2), np.float32)
    pixels[0, 0, 0], pixels[1, 1, 1], pixels[2, 2, 0] = np.nan, np.inf, -np.inf
    write_raster(tmp_path / "x.tif", pixels, make_grid(4, 4))
    read, valid = RasterReader().read(tmp_path / "x.tif")
    assert np.isfinite(read).all()
    np.testing.assert_array_equal(valid, np.isfinite(pixels))


def test_an_all_nodata_window_has_no_valid_pixel(tmp_path: Path, make_grid: Make) -> None:
    pixels = np.full((20, 30, 2), 7, np.int16)
    pixels[:8] = -9999
    write_raster(tmp_path / "x.tif", pixels, make_grid(), nodata=-9999)
    read, valid = RasterReader().read(tmp_path / "x.tif", Window(0, 0, 8, 8))
    assert not valid.any() and not read.any()


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
def test_a_scene_one_pixel_wide_is_read(tmp_path: Path, make_grid: Make, shape: tuple[int, int]) -> None:
    pixels = RNG.integers(1, 200, shape).astype(np.uint8)
    write_raster(tmp_path / "x.tif", pixels, make_grid(*shape))
    np.testing.assert_array_equal(RasterReader().read(tmp_path / "x.tif")[0][..., 0], pixels)


def test_a_raster_on_another_grid_gives_its_nearest_pixels(tmp_path: Path, make_grid: Make) -> None:
    pixels = np.arange(1, 101, dtype=np.uint8).reshape(10, 10)
    write_raster(tmp_path / "x.tif", pixels, make_grid(10, 10))
    finer = make_grid(24, 24, corner=(499980, 5000020), pixel=(5, 5))  # starts two coarse pixels further out
    read, valid = RasterReader().read(tmp_path / "x.tif", Window(0, 0, 24, 24), grid=finer)
    np.testing.assert_array_equal(read[4:, 4:, 0], pixels.repeat(2, 0).repeat(2, 1))
    assert valid[4:, 4:].all()
    assert not valid[:4].any() and not valid[:, :4].any()


def test_a_pixel_on_another_grid_does_not_depend_on_the_window(tmp_path: Path, make_grid: Make) -> None:
    pixels = RNG.integers(1, 250, (80, 80)).astype(np.uint8)
    write_raster(tmp_path / "x.tif", pixels, make_grid(80, 80))
    (x,), (y,) = transform("EPSG:32633", "EPSG:32632", [500000], [5000000])
    other = make_grid(90, 90, crs="EPSG:32632", corner=(x - 50, y + 50), pixel=(9, 9), degrees=4)
    reader = RasterReader()
    whole, valid = reader.read(tmp_path / "x.tif", Window(0, 0, 90, 90), grid=other)
    assert 0.3 < valid.mean() < 1
    for row in range(0, 90, 30):
        for column in range(0, 90, 30):
            part = reader.read(tmp_path / "x.tif", Window(row, column, 30, 30), grid=other)[0]
            np.testing.assert_array_equal(part, whole[row : row + 30, column : column + 30])


def test_a_reader_keeps_few_files_open_even_of_warped_rasters(tmp_path: Path, make_grid: Make) -> None:
    for number in range(6):
        write_raster(tmp_path / f"{number}.tif", np.full((4, 4), number, np.uint8), make_grid(4, 4))
    reader, finer = RasterReader(open_files=3), make_grid(8, 8, pixel=(5, 5))
    for _ in range(2):
        for number in range(6):
            for grid in (None, finer):
                read, _ = reader.read(tmp_path / f"{number}.tif", Window(0, 0, 4, 4), grid=grid)
                assert (read == number).all()
    assert len(reader._local.files) == 3


def test_a_warped_raster_of_codes_keeps_the_one_that_it_reads_open(tmp_path: Path, make_grid: Make) -> None:
    for number in range(4):
        write_raster(tmp_path / f"{number}.tif", np.full((4, 4), number, np.uint8), make_grid(4, 4))
    reader, finer, window = RasterReader(open_files=3), make_grid(8, 8, pixel=(5, 5)), Window(0, 0, 4, 4)
    for other in (1, 2, 3):
        numbers, reached = reader.read_codes(tmp_path / "0.tif", window, band=1, grid=finer)
        assert reached.all() and not numbers.any()
        reader.read(tmp_path / f"{other}.tif")
        kept = [path for path, grid, _ in reader._local.files if grid is None]
        assert str(tmp_path / "0.tif") in kept


def test_threads_read_the_same(tmp_path: Path, make_grid: Make) -> None:
    pixels = RNG.integers(0, 9999, (300, 300, 2)).astype(np.uint16)
    write_raster(tmp_path / "x.tif", pixels, make_grid(300, 300))
    reader = RasterReader()
    windows = [Window(int(r), int(c), 32, 32) for r, c in RNG.integers(0, 268, (60, 2))]
    with ThreadPoolExecutor(4) as threads:
        for window, (read, _) in zip(
            windows, threads.map(lambda w: reader.read(tmp_path / "x.tif", w), windows), strict=True
        ):
            np.testing.assert_array_equal(read, pixels[window.slices])


def test_shapes_are_drawn_in_order_with_the_last_on_top() -> None:
    shapes = [
        (shapely.box(2, 1, 6, 5), 1),
        (shapely.box(4, 3, 8, 8), 2),
        (shapely.LineString([(0.5, 0.5), (0.5, 6)]), 3),
    ]
    whole = burn(shapes, Window(0, 0, 10, 10))
    expected = np.full((10, 10), -1)
    expected[1:5, 2:6], expected[3:8, 4:8], expected[0:7, 0] = 1, 2, 3
    np.testing.assert_array_equal(whole[:6], expected[:6])
    np.testing.assert_array_equal(burn(shapes, Window(2, 3, 5, 4)), whole[2:7, 3:7])
    assert (burn([], Window(0, 0, 3, 3)) == -1).all()


def test_writing_refuses_what_does_not_fit_and_leaves_nothing(tmp_path: Path, make_grid: Make) -> None:
    with pytest.raises(RasterError, match=r"pixels \[3, 4\] do not fit a grid of 20x30"):
        write_raster(tmp_path / "x.tif", np.zeros((3, 4)), make_grid())
    (tmp_path / "y.tif").mkdir()
    with pytest.raises(RasterError, match="y.tif cannot be written"):
        write_raster(tmp_path / "y.tif", np.zeros((20, 30), np.uint8), make_grid())
    assert list(tmp_path.iterdir()) == [tmp_path / "y.tif"]


def test_a_class_raster_keeps_its_colours(tmp_path: Path, make_grid: Make) -> None:
    write_raster(tmp_path / "x.tif", np.zeros((20, 30), np.uint8), make_grid(), colours={0: (1, 2, 3), 5: (9, 8, 7)})
    colours = describe_raster(tmp_path / "x.tif").colours
    assert (colours[0], colours[5]) == ((1, 2, 3), (9, 8, 7))


def test_a_raster_without_georeference_has_no_crs(tmp_path: Path) -> None:
    write_raster(tmp_path / "x.tif", np.zeros((4, 4), np.uint8), Grid(4, 4, Affine.identity(), None))
    assert describe_raster(tmp_path / "x.tif").grid.crs is None
