import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.env import get_gdal_config

from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.windows import blocks
from fewshot.geo.writing import (
    CACHE_BYTES,
    RasterStyle,
    bounded_cache,
    category_names,
    raster_in_blocks,
    remove_plain,
    write_cog,
    write_raster,
)

STYLE = RasterStyle("uint8", ("classes",), 0, {1: (255, 0, 0), 2: (0, 0, 255)}, {"REMARK": "made up"})


def test_blocks_in_any_order_become_a_cloud_optimized_geotiff(make_grid: Callable[..., Grid], tmp_path: Path) -> None:
    grid = make_grid(1100, 700, degrees=12)
    pixels = np.random.default_rng(0).integers(0, 3, (1100, 700)).astype(np.uint8)
    with raster_in_blocks(tmp_path / "plain.tif", grid, STYLE) as writer:
        for window in list(blocks(1100, 700, 150))[::-1]:
            writer.write(window, pixels[window.slices])
    write_cog(tmp_path / "plain.tif", tmp_path / "cog.tif", classes=True)
    with rasterio.open(tmp_path / "cog.tif") as raster:
        assert np.array_equal(raster.read(1), pixels)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.overviews(1) == [2, 4]
        assert raster.transform == grid.transform and raster.nodata == 0
        assert raster.descriptions == ("classes",) and raster.tags()["REMARK"] == "made up"
        assert raster.colormap(1)[2] == (0, 0, 255, 255)


def test_bands_have_their_names_and_what_stands_for_no_data(make_grid: Callable[..., Grid], tmp_path: Path) -> None:
    grid = replace(make_grid(40, 30), crs=None)
    pixels = np.random.default_rng(0).random((40, 30, 2)).astype(np.float32)
    pixels[:7, :9] = np.nan
    style = RasterStyle("float32", ("wood", "a < b & c"), float("nan"), {}, {"REMARK": 'made "up" <b>\nä'})
    with raster_in_blocks(tmp_path / "plain.tif", grid, style) as writer:
        for window in blocks(40, 30, 16):
            writer.write(window, pixels[window.slices])
    write_cog(tmp_path / "plain.tif", tmp_path / "cog.tif", classes=False)
    remove_plain(tmp_path / "plain.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["cog.tif"]
    with rasterio.open(tmp_path / "cog.tif") as raster:
        assert np.array_equal(np.moveaxis(raster.read(), 0, -1), pixels, equal_nan=True)
        assert raster.crs is None and raster.transform == grid.transform and np.isnan(raster.nodata)
        assert raster.descriptions == style.names and raster.tags()["REMARK"] == style.tags["REMARK"]


def test_nothing_is_lost_while_another_thread_reads(make_grid: Callable[..., Grid], tmp_path: Path) -> None:
    """GDAL's cache, here of 256 bytes, is that of all threads, and one pushes out of it what another is writing."""
    grid = make_grid(256, 256)
    write_raster(tmp_path / "scene.tif", np.zeros((512, 512), np.float32), make_grid(512, 512))
    pixels = np.random.default_rng(0).random((256, 256)).astype(np.float32)
    written = threading.Event()

    def read() -> None:
        with rasterio.open(tmp_path / "scene.tif") as raster:
            while not written.is_set():
                raster.read(1)

    for _ in range(12):
        written.clear()
        with ThreadPoolExecutor(1) as beside:
            reading = beside.submit(read)
            style = RasterStyle("float32", ("a",), 0.0)
            with rasterio.Env(GDAL_CACHEMAX=256), raster_in_blocks(tmp_path / "plain.tif", grid, style) as writer:
                for window in blocks(256, 256, 8):
                    writer.write(window, pixels[window.slices])
            written.set()
            reading.result()
        with rasterio.open(tmp_path / "plain.tif") as raster:
            assert np.array_equal(raster.read(1), pixels)
        remove_plain(tmp_path / "plain.tif")


def test_the_cache_is_bounded_and_as_before_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    before = get_gdal_config("GDAL_CACHEMAX")
    with bounded_cache():
        assert get_gdal_config("GDAL_CACHEMAX") == CACHE_BYTES < before
    assert get_gdal_config("GDAL_CACHEMAX") == before
    monkeypatch.setenv("GDAL_CACHEMAX", "64")
    with bounded_cache():
        assert get_gdal_config("GDAL_CACHEMAX") == before


def test_what_fails_leaves_no_file(make_grid: Callable[..., Grid], tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        with raster_in_blocks(tmp_path / "plain.tif", make_grid(), STYLE):
            raise KeyError("something else")
    with pytest.raises(RasterError, match="cannot be written"):
        write_cog(tmp_path / "none.tif", tmp_path / "cog.tif", classes=True)
    with pytest.raises(RasterError, match="cannot be written"):
        with raster_in_blocks(tmp_path / "no" / "folder.tif", make_grid(), STYLE):
            pass
    assert list(tmp_path.iterdir()) == []


def test_names_are_escaped() -> None:
    assert "<Category>a &lt; b</Category>" in category_names(["", "a < b"])


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_no_file(make_grid: Callable[..., Grid], tmp_path: Path) -> None:
    """In a process whose files may not grow beyond a limit, as on a disk that is full."""
    import subprocess
    import sys

    code = f"""
import resource, signal, sys
from pathlib import Path
import numpy as np
from rasterio import Affine
from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.windows import Window
from fewshot.geo.writing import RasterStyle, raster_in_blocks, remove_plain, write_cog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, grid = Path({str(tmp_path)!r}), Grid(1500, 1500, Affine.scale(10, -10), None)
pixels = np.random.default_rng(0).integers(1, 255, (1500, 1500)).astype(np.uint8)
style = RasterStyle("uint8", ("classes",), 0)
with raster_in_blocks(folder / "plain.tif", grid, style) as writer:
    writer.write(Window(0, 0, 1500, 1500), pixels)
said = []
for limit in (2_600_000, 1_000_000, 200_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_cog(folder / "plain.tif", folder / "cog.tif", classes=True)
    except RasterError as error:
        said.append(str(error))
    try:
        with raster_in_blocks(folder / "other.tif", grid, style) as writer:
            writer.write(Window(0, 0, 1500, 1500), pixels)
        remove_plain(folder / "other.tif")
    except RasterError as error:
        said.append(str(error))
print(len(said), sorted(path.name for path in folder.iterdir()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # The COG with its overviews needs 2.9 MB, the plain file 2.4 MB.
    assert result.stdout.strip() == "5 ['plain.tif', 'plain.tif.pixels']", result.stdout + result.stderr
