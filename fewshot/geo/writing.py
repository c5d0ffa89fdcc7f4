"""Writes rasters: whole, block by block, and Cloud Optimized; beside `rasters.py` the only file to open one."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # what copying raises, which rasterio shows under no other name
from rasterio.errors import RasterioError

from fewshot.errors import RasterError
from fewshot.files import write_whole
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import without_warnings
from fewshot.geo.windows import Window

BLOCK = 512
"""Rows and columns that a written file stores together."""

CACHE_BYTES = 256 << 20
"""Most memory in which GDAL holds blocks of large rasters; its own choice is a twentieth of the machine's."""

_GDAL_TYPES = {"uint8": "Byte", "float32": "Float32"}
# GDAL's own choice, of which an environment may allow less.
_RAW_BANDS = {"GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "SIBLING_OR_CHILD_OF_VRT_PATH"}


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


@contextmanager
def bounded_cache() -> Iterator[None]:
    """Let GDAL's cache be small while large rasters are read and written; as large as the environment says, if it does.

    For all threads, and to be entered by one of them only: whoever leaves it makes the cache as large as it was.
    """
    if "GDAL_CACHEMAX" in os.environ:
        yield
        return
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        yield


class BlockWriter:
    """Writes windows to a file of nothing but pixels, band after band.

    Not through GDAL: where another thread pushes a block that is half written out of GDAL's cache while this one asks
    for it again, what was written to it is lost (GDAL's own remarks, where `GDALRasterBlock` makes room).
    """

    def __init__(self, file: BinaryIO, grid: Grid, style: RasterStyle) -> None:
        """Write to a file from its beginning.

        Args:
            file: Open, and of its full length.
            grid: Size.
            style: Type of the pixels.
        """
        self._file, self._shape, self._dtype = file, (grid.height, grid.width), np.dtype(style.dtype)

    def write(self, window: Window, pixels: npt.NDArray[Any]) -> None:
        """Write a window of the raster: [H, W, bands], or [H, W] for one band."""
        bands = np.atleast_3d(pixels)
        height, width = self._shape
        for band, own in enumerate(np.ascontiguousarray(np.moveaxis(bands, -1, 0), self._dtype)):
            for row, line in enumerate(own, start=band * height + window.row):
                self._file.seek((row * width + window.column) * self._dtype.itemsize)
                self._file.write(line.data)


@contextmanager
def raster_in_blocks(path: Path, grid: Grid, style: RasterStyle) -> Iterator[BlockWriter]:
    """Write a raster window by window, in any order, until all of it is written; removed again where that fails.

    It is two files: the pixels, and under the given name what GDAL reads them by. `remove_plain` removes them.

    Args:
        path: File to write; no backslash is in its name, which GDAL takes for a folder's end.
        grid: Size and georeference.
        style: What it says of itself.

    Raises:
        RasterError: if it cannot be written.
    """
    bands, dtype = len(style.names), np.dtype(style.dtype)
    try:
        with _pixels_of(path).open("wb") as file:
            file.truncate(grid.height * grid.width * bands * dtype.itemsize)
            yield BlockWriter(file, grid, style)
        path.write_text(_described(_pixels_of(path).name, grid, style), encoding="utf-8")
    except OSError as error:
        remove_plain(path)
        raise RasterError(f"{path} cannot be written: {error}") from error
    except BaseException:
        remove_plain(path)
        raise


def remove_plain(path: Path) -> None:
    """Remove what `raster_in_blocks` wrote, if it is there."""
    for one in (path, _pixels_of(path)):
        one.unlink(missing_ok=True)


def _pixels_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.pixels")


def _described(pixels: str, grid: Grid, style: RasterStyle) -> str:
    """Return what GDAL reads a file of pixels by: its virtual format (VRT)."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        ElementTree.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = grid.crs.to_wkt()
    transform = (f"{number:.17g}" for number in grid.transform.to_gdal())
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(transform)
    tags = ElementTree.SubElement(root, "Metadata")
    for key, text in style.tags.items():
        ElementTree.SubElement(tags, "MDI", key=key).text = text
    for number, name in enumerate(style.names):
        root.append(_described_band(pixels, number, name, grid, style))
    return ElementTree.tostring(root, encoding="unicode")


def _described_band(pixels: str, number: int, name: str, grid: Grid, style: RasterStyle) -> ElementTree.Element:
    """Return where a band's pixels lie, and what they are."""
    dtype = np.dtype(style.dtype)
    line = grid.width * dtype.itemsize
    kind = {"dataType": _GDAL_TYPES[dtype.name], "band": str(number + 1), "subClass": "VRTRawRasterBand"}
    band = ElementTree.Element("VRTRasterBand", kind)
    said = {"Description": name, "NoDataValue": f"{style.nodata:g}", "ImageOffset": str(number * grid.height * line)}
    said |= {"PixelOffset": str(dtype.itemsize), "LineOffset": str(line), "ByteOrder": "LSB"}
    for key, text in said.items():
        ElementTree.SubElement(band, key).text = text
    ElementTree.SubElement(band, "SourceFilename", relativeToVRT="1").text = pixels
    if style.colours:
        ElementTree.SubElement(band, "ColorInterp").text = "Palette"
        table = ElementTree.SubElement(band, "ColorTable")
        for value in range(max(style.colours) + 1):
            red, green, blue = map(str, style.colours.get(value, (0, 0, 0)))
            ElementTree.SubElement(table, "Entry", c1=red, c2=green, c3=blue, c4="255")
    return band


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
        with rasterio.Env(COG_TMP_COMPRESSION="NONE", **_RAW_BANDS):
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
