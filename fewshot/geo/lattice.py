"""Grids that are joined: side by side on one lattice of pixels, or over the same ground."""

from collections.abc import Sequence

import numpy as np

from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.windows import Window

_APART = 1e-3  # pixels that two grids may be off each other
_LEAST_SHARE, _LARGE = 0.01, 10**7  # of a mosaic, its files cover so much, if it has more pixels than that


def lay_out(grids: Sequence[tuple[str, Grid]]) -> tuple[Grid, list[Window]]:
    """Return the grid that holds rasters whose pixels lie on one lattice, and the window of each in it.

    Args:
        grids: Of each raster, with its name.

    Raises:
        RasterError: if their pixels do not lie on one lattice, or they lie so far apart that nearly all is empty.
    """
    first = grids[0]
    corners = [_corner(first, other) for other in grids]
    row, column = (min(place) for place in zip(*corners, strict=True))
    windows = [
        Window(top - row, left - column, grid.height, grid.width)
        for (top, left), (_, grid) in zip(corners, grids, strict=True)
    ]
    whole = _shifted(first[1], row, column, windows)
    _require_near(whole, windows, first[0])
    return whole, windows


def same_ground(one: Grid, two: Grid) -> bool:
    """Whether two grids cover the same ground, to less than a pixel of the coarser one."""
    if one.same_as(two):
        return True
    if one.crs is None or one.crs != two.crs:
        return False
    rows, columns = np.array([0, one.height]), np.array([0, one.width])
    down, across = two.to_pixels(*one.to_map(rows, columns))
    off = np.abs([down - [0, two.height], across - [0, two.width]]).max(axis=1)
    ratio = one.height / two.height, one.width / two.width
    return bool(np.all(off < np.maximum(1, 1 / np.array(ratio)))) and max(ratio[0], 1 / ratio[0]) > 1.01


def _require_near(grid: Grid, windows: Sequence[Window], first: str) -> None:
    """Refuse neighbours that lie so far apart that their mosaic would be nearly empty."""
    whole = grid.height * grid.width
    share = sum(window.height * window.width for window in windows) / whole
    if share < _LEAST_SHARE and whole > _LARGE:
        raise RasterError(
            f"{first} and {len(windows) - 1} more would be a mosaic of {grid.height}x{grid.width} pixels, and "
            f"have {100 * share:.2g} % of it; expected neighbours. Is the CRS of one wrong? Map what lies far apart by "
            "itself, for example with fewshot map-many"
        )


def _corner(first: tuple[str, Grid], other: tuple[str, Grid]) -> tuple[int, int]:
    """Return row and column in the grid of `first` where `other` begins."""
    (name, grid), (path, own) = first, other
    one, two = grid.transform, own.transform
    off = max(
        abs(change) * length
        for change, length in zip(
            ((two.a - one.a), (two.d - one.d), (two.b - one.b), (two.e - one.e)),
            (own.width, own.width, own.height, own.height),
            strict=True,
        )
    )
    pixel = min(np.hypot(one.a, one.d), np.hypot(one.b, one.e))
    row, column = grid.to_pixels(two.c, two.f)
    if grid.crs != own.crs:
        raise RasterError(
            f"{path} is in {own.crs}, {name} in {grid.crs}; expected one CRS. Bring them to one first, for example "
            "with gdalwarp -t_srs"
        )
    if off > _APART * pixel or max(abs(row - round(row)), abs(column - round(column))) > _APART:
        raise RasterError(
            f"the pixels of {path} do not lie on the grid of {name}: it begins at row {row:.3f}, column "
            f"{column:.3f} of it, with pixels of {two.a:g} x {two.e:g} against {one.a:g} x {one.e:g}. Warp them to one "
            "grid first, for example with gdalwarp -tap."
        )
    return round(row), round(column)


def _shifted(grid: Grid, row: int, column: int, windows: Sequence[Window]) -> Grid:
    """Return the grid that begins at a row and column of another, and holds all windows."""
    t = grid.transform
    x, y = grid.to_map(row, column)
    height = max(window.row + window.height for window in windows)
    width = max(window.column + window.width for window in windows)
    transform = t if (row, column) == (0, 0) else type(t)(t.a, t.b, x, t.d, t.e, y)
    return Grid(height, width, transform, grid.crs)
