"""The grid of a raster: where its pixels lie on the Earth, and how large they are there."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.warp
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError

_MERCATOR_RADIUS = 6_378_137.0  # metres, by definition
_EARTH_RADIUS = 6_371_008.8  # metres, the mean; to half a per cent of the ellipsoid


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie on the Earth.

    Attributes:
        height: Rows.
        width: Columns.
        transform: Affine from (column, row) to (x, y) in the CRS's unit.
        crs: Coordinate reference system, None where the raster names none.
    """

    height: int
    width: int
    transform: Any
    crs: Any

    def to_map(self, rows: Any, columns: Any) -> tuple[Any, Any]:
        """Return x and y of places in the grid; row 0, column 0 is the outer corner of its first pixel."""
        t = self.transform
        return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f

    def to_pixels(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return rows and columns of places on the map; what lies in a pixel is found by rounding down."""
        t = ~self.transform
        return t.d * x + t.e * y + t.f, t.a * x + t.b * y + t.c

    def to_grid(self, other: "Grid", rows: Any, columns: Any) -> tuple[Any, Any]:
        """Return rows and columns in another grid of places [n] in this one; infinite where it knows no such place.

        Args:
            other: The other grid.
            rows: [n] in this grid.
            columns: [n] in this grid.
        """
        x, y = self.to_map(rows, columns)
        if self.crs != other.crs:
            x, y = (np.asarray(found) for found in rasterio.warp.transform(self.crs, other.crs, x, y))
        return other.to_pixels(x, y)

    def reduced(self, step: int, first: tuple[int, int] = (0, 0)) -> "Grid":
        """Return the grid of larger pixels over the same ground, or a little more.

        Args:
            step: Pixels in one of the larger ones, along each side.
            first: Row and column where the first of these begins.
        """
        t, (row, column) = self.transform, first
        x, y = self.to_map(row, column)
        height, width = -(-(self.height - row) // step), -(-(self.width - column) // step)
        return Grid(height, width, type(t)(t.a * step, t.b * step, x, t.d * step, t.e * step, y), self.crs)

    def extent(self) -> str:
        """Say where the raster lies, for messages."""
        (left, top), (right, bottom) = self.to_map(0, 0), self.to_map(self.height, self.width)
        return f"x {left:g} to {right:g}, y {bottom:g} to {top:g} in {name_of(self.crs)}"

    def same_as(self, other: "Grid") -> bool:
        """Whether two rasters have the same pixels: size and CRS, and corners that agree to a thousandth of a pixel."""
        if (self.height, self.width) != (other.height, other.width) or self.crs != other.crs:
            return False
        rows, columns = self._corners()
        other_rows, other_columns = self.to_pixels(*other.to_map(rows, columns))
        return bool(np.all(np.abs([other_rows - rows, other_columns - columns]) < 1e-3))

    def overlaps(self, other: "Grid") -> bool:
        """Whether any ground lies in both grids, as far as their bounding boxes tell."""
        left, bottom, right, top = self._bounds()
        if self.crs != other.crs:
            try:
                left, bottom, right, top = rasterio.warp.transform_bounds(self.crs, other.crs, left, bottom, right, top)
            except RasterioError:  # too far outside of what the other CRS is made for
                return False
        spans = [(left, right)]
        if right < left:  # across the antimeridian, where degrees start again
            spans = [(left, right + 360), (left - 360, right)]
        other_left, other_bottom, other_right, other_top = other._bounds()
        high = bottom < other_top and top > other_bottom
        return high and any(begin < other_right and end > other_left for begin, end in spans)

    def pixel_areas(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """Return the area in square metres of a pixel [count] in each row from `first` on; 1 where no CRS is known."""
        t = self.transform
        flat = abs(t.a * t.e - t.b * t.d)
        if self.crs is None:
            return np.ones(count)
        if not self.crs.is_geographic:
            return np.full(count, flat * self.crs.linear_units_factor[1] ** 2)
        rows = np.arange(first, first + count) + 0.5
        _, latitudes = self.to_map(rows, np.full(count, self.width / 2))
        return flat * np.radians(1) ** 2 * _EARTH_RADIUS**2 * np.cos(np.radians(latitudes))

    def pixel_sides(self) -> tuple[float, float]:
        """Return how many metres the pixels in the middle are high and wide; pixels where the CRS is unknown."""
        t = self.transform
        down, across = math.hypot(t.b, t.e), math.hypot(t.a, t.d)
        if self.crs is None:
            return down, across
        if not self.crs.is_geographic:
            unit = self.crs.linear_units_factor[1]
            return down * unit, across * unit
        _, latitude = self.to_map(self.height / 2, self.width / 2)
        degree = math.radians(1) * _EARTH_RADIUS
        return down * degree, across * degree * math.cos(math.radians(latitude))

    def _bounds(self) -> tuple[float, float, float, float]:
        """Return least x, least y, greatest x and greatest y."""
        x, y = self.to_map(*self._corners())
        return x.min(), y.min(), x.max(), y.max()

    def _corners(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return rows and columns of the four corners."""
        return np.array([0, 0, self.height, self.height]), np.array([0, self.width, 0, self.width])


def name_of(crs: Any) -> str:
    """Return what a CRS is called in messages."""
    return "no CRS" if crs is None else str(crs.to_string())[:40]


def web_mercator() -> Grid:
    """Return the world in Web Mercator as one pixel: services of tiles cut it into halves, quarters, eighths ..."""
    side = 2 * math.pi * _MERCATOR_RADIUS
    return Grid(1, 1, Affine(side, 0, -side / 2, 0, -side, side / 2), CRS.from_epsg(3857))
