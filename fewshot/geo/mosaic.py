"""Several rasters read as one: neighbours side by side, and files of one band each on top of each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.layers import Layer, Mask, open_layer
from fewshot.geo.names import short_name
from fewshot.geo.rasters import RasterInfo, RasterReader
from fewshot.geo.spectrum import read_name
from fewshot.geo.windows import Window, intersection

Pixels = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

_APART = 1e-3  # pixels that two grids may be off each other
_LEAST_SHARE, _LARGE = 0.01, 10**8  # of a mosaic, its files cover so much, if it has more pixels than that


@dataclass(frozen=True)
class Part:
    """One file of a mosaic.

    Attributes:
        source: Its name, as GDAL takes it.
        window: Where it lies in the mosaic.
        bands: The mosaic's number of each of its bands.
        numbers: The file's own number of each.
        grid: What it is laid on, each pixel taking the nearest one; None where it has the mosaic's own pixels.
        mask: Which pixels of the window are left out.
        nodata: Number that stands for no data, where the file does not say.
    """

    source: str
    window: Window
    bands: tuple[int, ...]
    numbers: tuple[int, ...]
    grid: Grid | None = None
    mask: Mask | None = None
    nodata: float | None = None

    def read(self, reader: RasterReader, window: Window, bands: Sequence[int]) -> tuple[Pixels, BoolArray]:
        """Read bands of the mosaic that the file holds, as `read_parts` does.

        Args:
            reader: Keeps the file open.
            window: Counted from where the file lies.
            bands: Of the mosaic.
        """
        numbers = [self.numbers[self.bands.index(band)] for band in bands]
        # A fourth band that is wanted is no mask.
        alpha = self.grid is not None or max(numbers) < max(self.numbers)
        pixels, valid = reader.read(self.source, window, bands=numbers, grid=self.grid, alpha=alpha)
        if self.nodata is not None:
            valid &= pixels != self.nodata
        if self.mask is not None:
            valid &= ~self.mask.read(reader, window)[..., np.newaxis]
        return pixels, valid


def describe_mosaic(sources: Sequence[str | Path | Layer]) -> tuple[RasterInfo, tuple[Part, ...]]:
    """Lay files side by side and on top of each other.

    Files on one grid are bands of one raster, and so are those of other bands and larger pixels on the same ground,
    which are laid on the finest grid; others are neighbours.

    Args:
        sources: Files, in the order in which they are taken where they overlap, and in which bands are counted.

    Returns:
        What the whole says of itself, and where its parts are.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, or they do not fit together.
    """
    layers = [open_layer(source) for source in sources]
    stacks = _stacks(layers)
    merged = [_stacked([layer.info for layer in stack]) for stack in stacks]
    for info in merged[1:]:
        _require_alike(merged[0], info)
    grid, windows = lay_out([(stack[0].source, info.grid) for stack, info in zip(stacks, merged, strict=True)])
    parts = []
    for stack, info, window in zip(stacks, merged, windows, strict=True):
        begin = 1
        for layer in stack:
            bands = tuple(range(begin, begin + layer.info.bands))
            other = None if layer.info.grid.same_as(info.grid) else info.grid
            mask = layer.mask.on(info.grid) if layer.mask else None
            parts.append(Part(layer.source, window, bands, layer.numbers, other, mask, layer.nodata))
            begin += layer.info.bands
    return replace(merged[0], grid=grid), tuple(parts)


def _stacks(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Return the files that are bands of one raster together, in their order."""
    stacks: list[list[Layer]] = []
    for layer in layers:
        own = set(_names(layer.info))
        home = next((stack for stack in stacks if _same_ground(stack[0].info.grid, layer.info.grid)), None)
        # A whole further scene on the same ground is a neighbour that lies on top of the first.
        if home is not None and not own & {name for other in home for name in _names(other.info)} - {""}:
            home.append(layer)
        else:
            stacks.append([layer])
    return stacks


def _same_ground(one: Grid, two: Grid) -> bool:
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


def _names(info: RasterInfo, *, words: bool = False) -> tuple[str, ...]:
    """Return the names of a file's bands; a file of one band without a description may carry it in its own name.

    Args:
        info: Of the file.
        words: Whether the name may end with what people call a band, such as "nir"; so may that of any other file.
    """
    if info.bands == 1 and info.undescribed:
        called = short_name(info.path)
        found = re.search(r"(?:^|[_.-])(B\d{1,2}A?|VV|VH)(?:[_.-]|$)", called, re.IGNORECASE)
        last = re.split(r"[_.-]", called)[-1]
        return (found[1] if found else last if words and read_name(last).wavelength else "",)
    return info.names


def _stacked(infos: Sequence[RasterInfo]) -> RasterInfo:
    """Describe files on one grid as one raster."""
    if len(infos) == 1:
        return replace(infos[0], names=_names(infos[0]))
    first = infos[0]
    finest = min((info.grid for info in infos), key=lambda grid: -grid.height * grid.width)
    for info in infos[1:]:
        if (info.dtype, str(info.nodata)) != (first.dtype, str(first.nodata)):
            raise RasterError(
                f"{info.path} has {info.dtype} pixels and nodata {info.nodata}, {first.path} {first.dtype} and "
                f"{first.nodata}; expected the same of all files of one scene"
            )
    return replace(
        first,
        grid=finest,
        names=tuple(name for info in infos for name in _names(info, words=True)),
        spectra=tuple(spectrum for info in infos for spectrum in info.spectra),
        scales=tuple(scale for info in infos for scale in info.scales),
        offsets=tuple(offset for info in infos for offset in info.offsets),
        colours={},
    )


def _require_alike(first: RasterInfo, other: RasterInfo) -> None:
    """Refuse neighbours that differ in their bands, type, scale or CRS."""
    pairs = {
        "bands": (first.bands, other.bands),
        "band names": (", ".join(first.names), ", ".join(other.names)),
        "pixels of type": (first.dtype, other.dtype),
        "nodata": (str(first.nodata), str(other.nodata)),
        "scales": (first.scales, other.scales),
        "offsets": (first.offsets, other.offsets),
        "CRS": (str(first.grid.crs), str(other.grid.crs)),
    }
    for what, (one, two) in pairs.items():
        if one != two:
            raise RasterError(
                f"{other.path} and {first.path} are no mosaic: the {what} {two} and {one} differ. Bring them to one "
                "form first, for example with gdalwarp or gdalbuildvrt, and name the result as the scene."
            )


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


def read_parts(
    reader: RasterReader, parts: Sequence[Part], window: Window, bands: Sequence[int]
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Read a window of a mosaic as if it were one file; where parts overlap, the first with data is taken.

    Args:
        reader: Keeps the files open.
        parts: Of the mosaic.
        window: Of the mosaic.
        bands: Of the mosaic, in the wanted order, counted from 1.

    Returns:
        Pixels [H, W, bands] and where they are valid, as `RasterReader.read` gives them; a fourth band of 8 bits says
        where the others are valid, unless it is read itself.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, or a mosaic of one file ends before the window does.
    """
    if len(parts) == 1 and set(bands) <= set(parts[0].bands):
        return parts[0].read(reader, window.within(parts[0].window), bands)
    pixels: Pixels | None = None
    valid = np.zeros((window.height, window.width, len(bands)), np.bool_)
    for part in parts:
        here = intersection(window, part.window)
        places = [place for place, band in enumerate(bands) if band in part.bands]
        if here is None or not places:
            continue
        found, ok = part.read(reader, here.within(part.window), [bands[place] for place in places])
        if pixels is None:
            pixels = np.zeros(valid.shape, found.dtype)
        rows, columns = here.within(window).slices
        for layer, place in enumerate(places):
            new = ok[..., layer] & ~valid[rows, columns, place]
            pixels[rows, columns, place][new] = found[..., layer][new]
            valid[rows, columns, place] |= new
    return np.zeros(valid.shape, np.float32) if pixels is None else pixels, valid
