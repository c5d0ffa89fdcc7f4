"""The only file that opens a raster."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from fewshot.errors import RasterError


def read_image(source: Path | bytes, *, size: int | None = None) -> tuple[npt.NDArray[Any], tuple[int, int]]:
    """Read a whole small raster, such as a patch of a class folder, without its georeference.

    Args:
        source: A file, or the bytes of one.
        size: Rows and columns to average to; as they are if None.

    Returns:
        Pixels [H, W, bands] in the raster's own type and unit, nodata and NaN as 0, and its rows and columns
        before resizing.

    Raises:
        RasterError: if it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if isinstance(source, bytes):
                with MemoryFile(source) as memory, memory.open() as raster:
                    return _read(raster, size)
            with rasterio.open(source) as raster:
                return _read(raster, size)
    except (RasterioError, OSError) as error:
        where = "the raster" if isinstance(source, bytes) else str(source)
        raise RasterError(f"{where} cannot be read: {error}") from error


def _read(raster: Any, size: int | None) -> tuple[npt.NDArray[Any], tuple[int, int]]:  # noqa: ANN401  rasterio is untyped
    """Read all bands of an open raster."""
    shape = (raster.count, size or raster.height, size or raster.width)
    bands = raster.read(out_shape=shape, resampling=Resampling.average, masked=True).filled(0)
    if np.issubdtype(bands.dtype, np.floating):
        bands = np.nan_to_num(bands, nan=0.0, posinf=0.0, neginf=0.0)
    # [bands, H, W] -> [H, W, bands]
    return np.ascontiguousarray(np.moveaxis(bands, 0, -1)), (raster.height, raster.width)
