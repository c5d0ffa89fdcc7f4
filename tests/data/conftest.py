"""Small scenes with their class rasters."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.data.sources.scenes import SceneFiles
from fewshot.geo.grid import Grid
from fewshot.geo.labels import LabelFiles
from fewshot.geo.writing import write_raster

Write = Callable[..., SceneFiles]


def path_of(files: SceneFiles) -> Path:
    """The only file of a scene."""
    (source,) = files.sources
    return Path(source)


def grid_of(height: int, width: int, *, corner: tuple[float, float] = (500000, 5000000)) -> Grid:
    return Grid(height, width, Affine(20, 0, corner[0], 0, -30, corner[1]), CRS.from_epsg(32633))


@pytest.fixture
def write_scene(tmp_path: Path) -> Write:
    """Writes a scene whose first band is 100 times the class, and its class raster: squares of 8 pixels of a class."""

    def write(
        name: str,
        *,
        size: int = 80,
        pixels: np.ndarray | None = None,
        ids: np.ndarray | None = None,
        corner: tuple[float, float] = (500000, 5000000),
        nodata: float | None = None,
    ) -> SceneFiles:
        if ids is None:
            rng = np.random.default_rng(len(name))
            ids = rng.integers(1, 4, (-(-size // 8), -(-size // 8))).repeat(8, 0).repeat(8, 1)[:size, :size]
        if pixels is None:
            pixels = np.stack([ids * 100, np.arange(ids.size).reshape(ids.shape) % 9999], axis=-1).astype(np.uint16)
        grid = grid_of(*ids.shape, corner=corner)
        write_raster(tmp_path / f"{name}.tif", pixels, grid, names=("B4", "B3")[: pixels.shape[2]], nodata=nodata)
        write_raster(tmp_path / f"{name}_lc.tif", ids.astype(np.uint8), grid)
        return SceneFiles(name, tmp_path / f"{name}.tif", LabelFiles(tmp_path / f"{name}_lc.tif"))

    return write
