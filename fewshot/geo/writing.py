"""Writes rasters: whole, block by block, and Cloud Optimized; beside `rasters.py` the only file to open one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # what copying raises, which rasterio shows under no other name
from rasterio.errors import RasterioError
from rasterio.windows import Window as _RasterioWindow

from fewshot.errors import RasterError
from fewshot.files import write_whole
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import without_warnings
from fewshot.geo.windows import Window

BLOCK = 512
"""Rows and columns that a written file stores together."""

CACHE_MB = 256
"""Most memory in which GDAL holds blocks of large rasters; its own choice is a twentieth of the machine's."""


def write_raster(  # noqa: PLR0913  what a GeoTIFF says of itself
    path: Path,
    pixels: npt.NDArray[Any],
    grid: Grid,
    *,
    names: Sequence[str] = (),
    nodata: float | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    tags: Mapping[str, str] | None = None,
    scale: float = 1.0,
) -> None:
    """Write a tiled, compressed GeoTIFF; the file appears under its name only when it is whole.

    Args:
        path: File to write; its folder is made if missing.
        pixels: [H, W] or [H, W, bands].
        grid: Georeference, of the pixels' size.
        names: Description of each band.
        nodata: Value that stands for no data.
        colours: (red, green, blue) 0-255 of each class, for one band of uint8.
        tags: Remarks to keep in the file.
        scale: What one unit is worth, to be kept in the file.

    Raises:
        RasterError: if pixels and grid differ in size, or the file cannot be written.
    """
    bands = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    if bands.shape[:2] != (grid.height, grid.width):
        raise RasterError(f"{path}: pixels {list(pixels.shape)} do not fit a grid of {grid.height}x{grid.width}")
    path = Path(path)
    profile = {
        **{"driver": "GTiff", "height": grid.height, "width": grid.width, "count": bands.shape[2]},
        **{"dtype": bands.dtype.name, "crs": grid.crs, "transform": grid.transform, "nodata": nodata},
        **{"compress": "deflate", "predictor": 3 if bands.dtype.kind == "f" else 2},
    }
    if min(grid.height, grid.width) > 512:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}

    def write(unfinished: Path) -> None:
        with without_warnings(), rasterio.open(unfinished, "w", **profile) as raster:
            raster.write(np.moveaxis(bands, -1, 0))
            for number, name in enumerate(names, start=1):
                raster.set_band_description(number, name)
            raster.scales = (scale,) * bands.shape[2]
            raster.update_tags(**(tags or {}))
            if colours:
                raster.write_colormap(1, {value: (*colour, 255) for value, colour in colours.items()})

    try:
        write_whole(path, write)
    except (RasterioError, OSError) as error:
        raise RasterError(f"{path} cannot be written: {error}") from error


@dataclass(frozen=True)
class RasterStyle:
    """What a raster says of itself.

    Attributes:
        dtype: Type of the pixels.
        names: Description of each band; there are as many bands as names.
        nodata: Value that stands for no data.
        colours: (red, green, blue) 0-255 of each value, for one band of uint8.
        tags: Remarks to keep in the file.
    """

    dtype: str
    names: tuple[str, ...]
    nodata: float
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class BlockWriter:
    """Writes windows of an open raster."""

    def __init__(self, raster: Any) -> None:
        """Keep the open raster."""
        self._raster = raster

    def write(self, window: Window, pixels: npt.NDArray[Any]) -> None:
        """Write a window of the raster: [H, W, bands], or [H, W] for one band."""
        bands = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
        target = _RasterioWindow(window.column, window.row, window.width, window.height)
        self._raster.write(np.moveaxis(bands, -1, 0), window=target)


@contextmanager
def raster_in_blocks(path: Path, grid: Grid, style: RasterStyle) -> Iterator[BlockWriter]:
    """Write an uncompressed GeoTIFF window by window, in any order; removed again where that fails.

    Args:
        path: File to write.
        grid: Size and georeference.
        style: What it says of itself.

    Raises:
        RasterError: if it cannot be written.
    """
    profile = {
        **{"driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(style.names)},
        **{"dtype": style.dtype, "crs": grid.crs, "transform": grid.transform, "nodata": style.nodata},
        **{"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "BIGTIFF": "IF_SAFER", "SPARSE_OK": True},
    }
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB), rasterio.open(path, "w", **profile) as raster:
            raster.descriptions = style.names
            raster.update_tags(**style.tags)
            if style.colours:
                raster.write_colormap(1, {value: (*colour, 255) for value, colour in style.colours.items()})
            yield BlockWriter(raster)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        path.unlink(missing_ok=True)
        raise RasterError(f"{path} cannot be written: {error}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_cog(source: Path, to: Path, *, classes: bool) -> None:
    """Copy a raster to a Cloud Optimized GeoTIFF, overviews included; removed again where that fails.

    Args:
        source: The raster.
        to: File to write.
        classes: Whether overviews show the most common value, or else the mean.

    Raises:
        RasterError: if it cannot be written.
    """
    # A higher level takes twice the time and makes files little smaller. A predictor puts like bytes of neighbours
    # together, which helps floating-point numbers that are multiples of a power of two, and does not help classes.
    options = {"compress": "deflate", "level": 1, "blocksize": BLOCK, "bigtiff": "if_safer", "num_threads": "all_cpus"}
    options |= {} if classes else {"predictor": "yes"}
    try:
        # Overviews are compressed once, in the file itself, not a first time in the one that GDAL makes on the way.
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB, COG_TMP_COMPRESSION="NONE"):
            rasterio.shutil.copy(
                source, to, driver="COG", overview_resampling="mode" if classes else "average", **options
            )
        _require_whole(to)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        to.unlink(missing_ok=True)
        raise RasterError(f"{to} cannot be written: {error}") from error


def _require_whole(path: Path) -> None:
    """Read the first and the last block: GDAL does not report every write that failed as it closed a file."""
    with rasterio.open(path) as raster:
        rows, columns = (-(-length // BLOCK) for length in raster.shape)
        for row, column in {(0, 0), (rows - 1, columns - 1)}:
            raster.read(1, window=raster.block_window(1, row, column))


def category_names(names: Sequence[str]) -> str:
    """Return what GDAL keeps beside a raster (`.aux.xml`) to call its values 0, 1, ... by names."""
    listed = "".join(f"<Category>{escape(name)}</Category>" for name in names)
    return f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{listed}</CategoryNames></PAMRasterBand></PAMDataset>\n'
