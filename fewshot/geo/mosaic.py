"""Several rasters read as one: neighbours side by side, and files of one band each on top of each other."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.codes import Codes
from fewshot.geo.grid import Grid
from fewshot.geo.lattice import lay_out, same_ground
from fewshot.geo.names import short_name
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.spectrum import read_name
from fewshot.geo.windows import Window, intersection

Pixels = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
ReadNumbers = Callable[[Window, Sequence[int], int], tuple[Pixels, BoolArray]]
"""Reads a window inside a scene, that begins at a multiple of the last argument, in bands counted from 1, so many
pixels along each side averaged to one: numbers [H, W, bands], and where they are valid."""


@dataclass(frozen=True)
class Mask:
    """A band of a raster that says which pixels are left out.

    Attributes:
        source: The raster, as GDAL takes it.
        codes: What of it is left out.
        band: Counted from 1.
        grid: What it is laid on, each pixel taking the nearest one; None where it has the same pixels.
    """

    source: str
    codes: Codes
    band: int = 1
    grid: Grid | None = None

    def on(self, grid: Grid) -> "Mask":
        """Return the mask as it lies on a grid.

        Raises:
            RasterError: if it says nowhere where it lies, or elsewhere.
        """
        own = describe_raster(self.source).grid
        if own.same_as(grid):
            return replace(self, grid=None)
        if own.crs is None or grid.crs is None or not own.overlaps(grid):
            where = own.extent() if own.crs else "a raster without a CRS"
            raise RasterError(
                f"the mask {self.source} is {where}, and has no ground in common with the scene, "
                f"{grid.extent() if grid.crs else 'which names no CRS'}. Name the one that belongs to it."
            )
        return replace(self, grid=grid)

    def read(self, reader: RasterReader, window: Window) -> BoolArray:
        """Return which pixels [H, W] of a window are left out; those that the mask does not reach are too.

        Args:
            reader: Keeps the raster open.
            window: Of the grid that it lies on.

        Raises:
            RasterError: if it cannot be read.
        """
        numbers, inside = reader.read_codes(self.source, window, band=self.band, grid=self.grid)
        known = inside & np.isfinite(numbers)
        numbers = np.where(known, numbers, 0).astype(np.int64)
        left_out = np.isin(numbers, self.codes.values)
        left_out |= (numbers & sum(1 << bit for bit in self.codes.bits)) != 0
        return left_out | ~known


@dataclass(frozen=True)
class Layer:
    """One file of a scene.

    Attributes:
        source: Its name, as GDAL takes it.
        info: Of the bands that are read.
        numbers: Of these bands in the file, counted from 1.
        mask: Which of its pixels are left out.
        nodata: Number that stands for no data, where the file does not say.
    """

    source: str
    info: RasterInfo
    numbers: tuple[int, ...]
    mask: Mask | None = None
    nodata: float | None = None

    def without(self, number: int) -> "Layer":
        """Return the layer without one band of the file."""
        kept, info = [place for place, own in enumerate(self.numbers) if own != number], self.info
        info = replace(
            info,
            names=tuple(info.names[place] for place in kept),
            scales=tuple(info.scales[place] for place in kept),
            offsets=tuple(info.offsets[place] for place in kept),
            spectra=tuple(info.spectra[place] for place in kept if info.spectra),
        )
        return replace(self, info=info, numbers=tuple(self.numbers[place] for place in kept))


def open_layer(source: "str | Path | Layer") -> Layer:
    """Describe a file as a layer of all its bands.

    Raises:
        DataNotFoundError: if there is no such file.
        RasterError: if it cannot be read.
    """
    if isinstance(source, Layer):
        return source
    info = describe_raster(source)
    return Layer(str(source), info, tuple(range(1, info.bands + 1)))


@dataclass(frozen=True)
class Picture:
    """What was recorded on one day.

    Attributes:
        date: As "2024-06-01"; "" where it is not known.
        layers: Its files.
    """

    date: str
    layers: tuple[Layer, ...]


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

    def read(
        self, reader: RasterReader, window: Window, bands: Sequence[int], size: tuple[int, int] | None = None
    ) -> tuple[Pixels, BoolArray]:
        """Read bands of the mosaic that the file holds, as `read_parts` does.

        Args:
            reader: Keeps the file open.
            window: Counted from where the file lies.
            bands: Of the mosaic.
            size: Rows and columns to average to; as they are if None.
        """
        numbers = [self.numbers[self.bands.index(band)] for band in bands]
        # A fourth band that is wanted is no mask.
        alpha = self.grid is not None or max(numbers) < max(self.numbers)
        pixels, valid = reader.read(self.source, window, bands=numbers, size=size, grid=self.grid, alpha=alpha)
        if self.nodata is not None:
            valid &= pixels != self.nodata
        if self.mask is not None:
            left_out = self.mask.read(reader, window)
            rows, columns = (np.arange(new) * old // new for new, old in zip(valid.shape, left_out.shape, strict=False))
            valid &= ~left_out[np.ix_(rows, columns)][..., np.newaxis]
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
        home = next((stack for stack in stacks if same_ground(stack[0].info.grid, layer.info.grid)), None)
        # A whole further scene on the same ground is a neighbour that lies on top of the first.
        if home is not None and not own & {name for other in home for name in _names(other.info)} - {""}:
            home.append(layer)
        else:
            stacks.append([layer])
    return stacks


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
    product = first.product
    if any(info.product != product for info in infos):  # each file's numbers are worth what they are by themselves
        infos, product = [info.stating(info.product) for info in infos], None
    return replace(
        first,
        grid=finest,
        product=product,
        names=tuple(name for info in infos for name in _names(info, words=True)),
        spectra=tuple(spectrum for info in infos for spectrum in info.spectra),
        scales=tuple(scale for info in infos for scale in info.scales),
        offsets=tuple(offset for info in infos for offset in info.offsets),
        colours={},
    )


def _require_alike(first: RasterInfo, other: RasterInfo) -> None:
    """Refuse neighbours that differ in their bands, type, scale or CRS."""
    products = (None if info.states_scale(1) else info.product for info in (first, other))
    pairs = {
        "bands": (first.bands, other.bands),
        "band names": (", ".join(first.names), ", ".join(other.names)),
        "pixels of type": (first.dtype, other.dtype),
        "nodata": (str(first.nodata), str(other.nodata)),
        "scales": (first.scales, other.scales),
        "offsets": (first.offsets, other.offsets),
        "scales and offsets of their products": tuple(products),
        "CRS": (str(first.grid.crs), str(other.grid.crs)),
    }
    for what, (one, two) in pairs.items():
        if one != two:
            raise RasterError(
                f"{other.path} and {first.path} are no mosaic: the {what} {two} and {one} differ. Bring them to one "
                "form first, for example with gdalwarp or gdalbuildvrt, and name the result as the scene."
            )


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
    for part, here, places in _holding(parts, window, bands):
        read = part.read(reader, here.within(part.window), [bands[place] for place in places])
        pixels = _laid_on(pixels, valid, (*here.within(window).slices, places), read)
    return np.zeros(valid.shape, np.float32) if pixels is None else pixels, valid


def _holding(parts: Sequence[Part], window: Window, bands: Sequence[int]) -> Iterator[tuple[Part, Window, list[int]]]:
    """Yield the parts that have some of a window: each with what it has of it, and the places of the bands it has."""
    for part in parts:
        here = intersection(window, part.window)
        places = [place for place, band in enumerate(bands) if band in part.bands]
        if here is not None and places:
            yield part, here, places


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
        found, ok = part.read(reader, here.within(part.window), [bands[place] for place in places], size)
        pixels = _laid_on(pixels, valid, (rows, columns, places), (found, ok))
    return np.zeros(valid.shape, np.float32) if pixels is None else pixels, valid


def _scaled_span(first: int, length: int, scale: float) -> slice:
    """Return where pixels lie once scaled: one at least."""
    start, stop = round(first * scale), round((first + length) * scale)
    return slice(min(start, max(stop - 1, 0)), max(stop, 1))
