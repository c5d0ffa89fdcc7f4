"""Small grids on the Earth."""

import math
from collections.abc import Callable

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.geo.grid import Grid


@pytest.fixture
def make_grid() -> Callable[..., Grid]:
    """Builds a grid in UTM zone 33 N, of 10 m pixels from (500000, 5000000) on, rotated if asked for."""

    def make(
        height: int = 20,
        width: int = 30,
        *,
        crs: str | None = "EPSG:32633",
        corner: tuple[float, float] = (500000, 5000000),
        pixel: tuple[float, float] = (10, 10),
        degrees: float = 0,
    ) -> Grid:
        angle = math.radians(degrees)
        across, down = (math.cos(angle), math.sin(angle)), (math.sin(angle), -math.cos(angle))
        transform = Affine(
            *(pixel[0] * across[0], pixel[1] * down[0], corner[0]),
            *(pixel[0] * across[1], pixel[1] * down[1], corner[1]),
        )
        return Grid(height, width, transform, CRS.from_string(crs) if crs else None)

    return make
