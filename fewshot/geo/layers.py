"""Layers: the files that a scene is read from, with what is known of each beyond what it says itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.codes import Codes
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.windows import Window

BoolArray = npt.NDArray[np.bool_]


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
