"""The grid of a raster: where its pixels lie on the Earth, and how large they are there."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.warp
from rasterio import Affine
from rasterio._err import CPLE_BaseError  # what PROJ has against a place, which rasterio shows under no other name
from rasterio.crs import CRS
from rasterio.errors import RasterioError

_EQUATOR = 6_378_137.0  # metres, radius of the ellipsoid WGS 84, and of Web Mercator's sphere
_FLATTENED = 0.006_694_379_990_14  # its eccentricity, squared
_STEP = 10.0  # units of a CRS over which it is looked at how large they are on the ground
_WGS84 = CRS.from_epsg(4326)
_TRUE_TO_SIZE = 0.01  # a projection is taken at its word where areas are so little off: UTM, Lambert, Albers ...


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
        """Return rows and columns in another grid of places [n] in this one; not finite where it knows no such place.

        Args:
            other: The other grid.
            rows: [n] in this grid.
            columns: [n] in this grid.
        """
        x, y = self.to_map(rows, columns)
        if self.crs != other.crs:
            x, y = _transformed(self.crs, other.crs, x, y)
        with np.errstate(invalid="ignore"):
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
            except (RasterioError, CPLE_BaseError):  # too far outside of what the other CRS is made for
                return False
        spans = [(left, right)]
        if right < left:  # across the antimeridian, where degrees start again
            spans = [(left, right + 360), (left - 360, right)]
        other_left, other_bottom, other_right, other_top = other._bounds()
        high = bottom < other_top and top > other_bottom
        return high and any(begin < other_right and end > other_left for begin, end in spans)

    def pixel_areas(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """Return the area in square metres of a pixel [count] in each row from `first` on; 1 where no CRS is known.

        It is the area on the ground, in the middle of the row: pixels in degrees narrow towards the poles, and so do
        those of Web Mercator.
        """
        if self.crs is None:
            return np.ones(count)
        t = self.transform
        return np.asarray(abs(t.a * t.e - t.b * t.d) * self._unit_areas(np.arange(first, first + count) + 0.5))

    def pixel_sides(self) -> tuple[float, float]:
        """Return how many metres the pixels in the middle are high and wide; pixels where the CRS is unknown."""
        t, middle = self.transform, self.height / 2
        east = north = 1.0
        if self.crs is not None and self.crs.is_geographic:
            east, north = (float(length) for length in _degrees(self.to_map(middle, self.width / 2)[1]))
        elif self.crs is not None:
            east = north = math.sqrt(self._unit_areas(np.array([middle]))[0])
        return math.hypot(t.b * east, t.e * north), math.hypot(t.a * east, t.d * north)

    def _unit_areas(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return how many square metres a square unit of the CRS is in the middle of rows [n]."""
        x, y = self.to_map(rows, np.full(len(rows), self.width / 2))
        if self.crs.is_geographic:
            return np.prod(_degrees(y), axis=0)
        said = self.crs.linear_units_factor[1] ** 2
        found = _projected_areas(self.crs, x, y)
        return np.where(np.abs(found / said - 1) > _TRUE_TO_SIZE, found, said)  # what is not known is as it is said

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
    side = 2 * math.pi * _EQUATOR
    return Grid(1, 1, Affine(side, 0, -side / 2, 0, -side, side / 2), CRS.from_epsg(3857))


def _degrees(latitude: Any) -> tuple[Any, Any]:
    """Return how many metres a degree of longitude and one of latitude are on the ellipsoid."""
    angle = np.radians(latitude)
    bent = 1 - _FLATTENED * np.sin(angle) ** 2
    east, north = np.abs(np.cos(angle)) / np.sqrt(bent), (1 - _FLATTENED) / bent**1.5
    return np.radians(1) * _EQUATOR * east, np.radians(1) * _EQUATOR * north


def _transformed(crs: Any, other: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return x and y of places [n] in another CRS, infinite where that knows no such place, which ends all at once."""
    try:
        found, at = rasterio.warp.transform(crs, other, x, y)
        return np.asarray(found), np.asarray(at)
    except (RasterioError, CPLE_BaseError):
        if len(x) == 1:
            return np.array([np.inf]), np.array([np.inf])
    halves = [_transformed(crs, other, x[part], y[part]) for part in (slice(len(x) // 2), slice(len(x) // 2, None))]
    (first, above), (second, below) = halves
    return np.concatenate([first, second]), np.concatenate([above, below])


def _projected_areas(crs: Any, x: Any, y: Any) -> npt.NDArray[np.float64]:
    """Return how many square metres a square unit of a projection is at places [n]; not a number where it ends."""
    try:
        # [3, n]: each place, one to the right of it, and one above
        along = np.stack([x, x + _STEP, x]), np.stack([y, y, y + _STEP])
        found = rasterio.warp.transform(crs, _WGS84, *(places.ravel() for places in along))
    except (RasterioError, CPLE_BaseError):
        return np.full(len(x), np.nan)
    longitude, latitude = (np.reshape(places, along[0].shape) for places in found)
    with np.errstate(invalid="ignore"):
        east = (longitude[1:] - longitude[0] + 180) % 360 - 180  # across the antimeridian too
        north = latitude[1:] - latitude[0]
        cross = np.abs(east[0] * north[1] - east[1] * north[0]) / _STEP**2
        return np.asarray(cross * np.prod(_degrees(latitude[0]), axis=0))
