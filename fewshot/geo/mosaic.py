"""Several rasters read as one: neighbours side by side, and files of one band each on top of each other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.names import short_name
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.spectrum import read_name
from fewshot.geo.windows import Window, intersection

Pixels = npt.NDArray[Any]

_APART = 1e-3  # pixels that two grids may be off each other
_LEAST_SHARE, _LARGE = 0.01, 10**8  # of a mosaic, its files cover so much, if it has more pixels than that


@dataclass(frozen=True)
class Part:
    """One file of a mosaic.

    Attributes:
        source: Its name, as GDAL takes it.
        window: Where it lies in the mosaic.
        bands: The mosaic's number of each of its bands.
    """

    source: str
    window: Window
    bands: tuple[int, ...]


def describe_mosaic(sources: Sequence[str | Path]) -> tuple[RasterInfo, tuple[Part, ...]]:
    """Lay files side by side and on top of each other: files on one grid are bands of one raster, others neighbours.

    Args:
        sources: Files, in the order in which they are taken where they overlap, and in which bands are counted.

    Returns:
        What the whole says of itself, and where its parts are.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, or they do not fit together.
    """
    infos = [describe_raster(source) for source in sources]
    stacks: list[list[int]] = []
    for number, info in enumerate(infos):
        home = next((stack for stack in stacks if infos[stack[0]].grid.same_as(info.grid)), None)
        # A whole further scene on the same grid is a neighbour that lies on top of the first.
        if home is not None and not set(_names(info)) & {name for i in home for name in _names(infos[i])} - {""}:
            home.append(number)
        else:
            stacks.append([number])
    merged = [_stacked([infos[number] for number in stack]) for stack in stacks]
    first = merged[0]
    for info in merged[1:]:
        _require_alike(first, info)
    corners = [_corner(first, info) for info in merged]
    row, column = (min(place) for place in zip(*corners, strict=True))
    windows = [
        Window(top - row, left - column, info.grid.height, info.grid.width)
        for (top, left), info in zip(corners, merged, strict=True)
    ]
    grid = _shifted(first.grid, row, column, windows)
    _require_near(grid, windows, sources)
    parts = []
    for stack, window in zip(stacks, windows, strict=True):
        begin = 1
        for number in stack:
            count = infos[number].bands
            parts.append(Part(str(sources[number]), window, tuple(range(begin, begin + count))))
            begin += count
    return replace(first, grid=grid), tuple(parts)


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
    for info in infos[1:]:
        if (info.dtype, str(info.nodata)) != (first.dtype, str(first.nodata)):
            raise RasterError(
                f"{info.path} has {info.dtype} pixels and nodata {info.nodata}, {first.path} {first.dtype} and "
                f"{first.nodata}; expected the same of all files of one scene"
            )
    return replace(
        first,
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


def _require_near(grid: Grid, windows: Sequence[Window], sources: Sequence[str | Path]) -> None:
    """Refuse neighbours that lie so far apart that their mosaic would be nearly empty."""
    whole = grid.height * grid.width
    share = sum(window.height * window.width for window in windows) / whole
    if share < _LEAST_SHARE and whole > _LARGE:
        raise RasterError(
            f"{sources[0]} and {len(sources) - 1} more would be a mosaic of {grid.height}x{grid.width} pixels, and "
            f"have {100 * share:.2g} % of it; expected neighbours. Is the CRS of one wrong? Map what lies far apart by "
            "itself, for example with fewshot map-many"
        )


def _corner(first: RasterInfo, other: RasterInfo) -> tuple[int, int]:
    """Return row and column in the grid of `first` where `other` begins."""
    one, two = first.grid.transform, other.grid.transform
    rows, columns = other.grid.height, other.grid.width
    off = max(
        abs(change) * length
        for change, length in zip(
            ((two.a - one.a), (two.d - one.d), (two.b - one.b), (two.e - one.e)),
            (columns, columns, rows, rows),
            strict=True,
        )
    )
    pixel = min(np.hypot(one.a, one.d), np.hypot(one.b, one.e))
    row, column = first.grid.to_pixels(two.c, two.f)
    if off > _APART * pixel or max(abs(row - round(row)), abs(column - round(column))) > _APART:
        raise RasterError(
            f"the pixels of {other.path} do not lie on the grid of {first.path}: it begins at row {row:.3f}, column "
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
    if len(parts) == 1 and parts[0].bands == tuple(range(1, len(parts[0].bands) + 1)):
        only = parts[0]
        own = max(bands) < len(only.bands)
        return reader.read(only.source, window.within(only.window), bands=bands, alpha=own)
    pixels: Pixels | None = None
    valid = np.zeros((window.height, window.width, len(bands)), np.bool_)
    for part, here, places in _holding(parts, window, bands):
        read = _read_part(reader, part, here, [bands[place] for place in places])
        pixels = _laid_on(pixels, valid, (*here.within(window).slices, places), read)
    return np.zeros(valid.shape, np.float32) if pixels is None else pixels, valid


def _holding(parts: Sequence[Part], window: Window, bands: Sequence[int]) -> Iterator[tuple[Part, Window, list[int]]]:
    """Yield the parts that have some of a window: each with what it has of it, and the places of the bands it has."""
    for part in parts:
        here = intersection(window, part.window)
        places = [place for place, band in enumerate(bands) if band in part.bands]
        if here is not None and places:
            yield part, here, places


def _read_part(
    reader: RasterReader, part: Part, window: Window, bands: Sequence[int], size: tuple[int, int] | None = None
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Read a window of the mosaic that lies in one part."""
    numbers = [part.bands.index(band) + 1 for band in bands]
    own = max(numbers) < len(part.bands)  # a fourth band that is wanted is no mask
    return reader.read(part.source, window.within(part.window), bands=numbers, size=size, alpha=own)


def _laid_on(
    pixels: Pixels | None,
    valid: npt.NDArray[np.bool_],
    where: tuple[slice, slice, list[int]],
    read: tuple[Pixels, npt.NDArray[np.bool_]],
) -> Pixels:
    """Put what was read where nothing valid is yet."""
    (rows, columns, places), (found, ok) = where, read
    pixels = np.zeros(valid.shape, found.dtype) if pixels is None else pixels
    for layer, place in enumerate(places):
        new = ok[..., layer] & ~valid[rows, columns, place]
        pixels[rows, columns, place][new] = found[..., layer][new]
        valid[rows, columns, place] |= new
    return pixels


def read_reduced(
    reader: RasterReader, parts: Sequence[Part], window: Window, bands: Sequence[int], shape: tuple[int, int]
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Read a window of a mosaic averaged to fewer pixels, through the overviews of its files where they have some.

    Args:
        reader: Keeps the files open.
        parts: Of the mosaic.
        window: Of the mosaic.
        bands: Of the mosaic, in the wanted order, counted from 1.
        shape: Rows and columns of what is returned, no more than those of the window.

    Returns:
        Pixels [*shape, bands] and where they are valid, as `read_parts` gives them; where parts meet, to a pixel.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read.
    """
    if shape == (window.height, window.width):
        return read_parts(reader, parts, window, bands)
    pixels: Pixels | None = None
    valid = np.zeros((*shape, len(bands)), np.bool_)
    for part, here, places in _holding(parts, window, bands):
        inner = here.within(window)
        rows = _scaled_span(inner.row, inner.height, shape[0] / window.height)
        columns = _scaled_span(inner.column, inner.width, shape[1] / window.width)
        size = (rows.stop - rows.start, columns.stop - columns.start)
        found, ok = _read_part(reader, part, here, [bands[place] for place in places], size)
        pixels = _laid_on(pixels, valid, (rows, columns, places), (found, ok))
    return np.zeros(valid.shape, np.float32) if pixels is None else pixels, valid


def _scaled_span(first: int, length: int, scale: float) -> slice:
    """Return where pixels lie once scaled: one at least."""
    start, stop = round(first * scale), round((first + length) * scale)
    return slice(min(start, max(stop - 1, 0)), max(stop, 1))
