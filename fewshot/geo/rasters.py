"""The only file that opens a raster to read; `writing.py` writes them."""

import os
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as _RasterioWindow

from fewshot.errors import RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.names import gdal_name, is_path, require_file, require_no_pipe
from fewshot.geo.products import known_scaling, recorded_in, sensor_in
from fewshot.geo.soundness import require_real, require_whole
from fewshot.geo.spectrum import Spectrum, read_tags
from fewshot.geo.windows import Window

Pixels = npt.NDArray[Any]

OPEN_FILES = 64
"""Rasters that a `RasterReader` keeps open in each thread."""


@dataclass(frozen=True)
class RasterInfo:
    """What a raster says of itself, without its pixels.

    Attributes:
        path: Of the file.
        grid: Size and georeference.
        dtype: Type of the pixels, the same for all bands.
        names: Description of each band, "" where it has none.
        nodata: Value that stands for no data, None where there is none.
        scales: What one unit of each band is worth, as the file says; 1 if it says nothing.
        offsets: What is added to it.
        colours: For a class raster with a colour table, (red, green, blue) 0-255 of each class.
        block: Rows and columns that the file stores together.
        spectra: Where each band lies in the spectrum, as the file's tags say.
        sensor: What recorded it, as its tags or its name say; "" where they do not.
        product: Scale and offset that all files of such a product have without saying so; None where not known.
        class_names: For a map of this program, the name of each class by its number.
        recorded: When, as "2024-06-01", as its tags or its name say; "" where they do not.
    """

    path: Path
    grid: Grid
    dtype: str
    names: tuple[str, ...]
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    colours: Mapping[int, tuple[int, int, int]]
    block: tuple[int, int]
    spectra: tuple[Spectrum, ...] = ()
    sensor: str = ""
    product: tuple[float, float] | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)
    recorded: str = ""

    @property
    def bands(self) -> int:
        """The number of bands."""
        return len(self.names)

    @property
    def undescribed(self) -> bool:
        """Whether the descriptions say nothing but the order of the bands."""
        named = enumerate(self.names, start=1)
        return all(re.fullmatch(rf"(band[\s_]*)?0*{number}|", name.strip().lower()) for number, name in named)

    def states_scale(self, number: int) -> bool:
        """Whether the file says what one unit of band `number`, counted from 1, is worth."""
        return (self.scales[number - 1], self.offsets[number - 1]) != (1.0, 0.0)

    def stating(self, scaling: tuple[float, float] | None) -> "RasterInfo":
        """Return the same with a scale and an offset of all bands, unless the file states any or there are none."""
        if scaling is None or any(self.states_scale(number) for number in range(1, self.bands + 1)):
            return self
        scale, offset = scaling
        return replace(self, scales=(scale,) * self.bands, offsets=(offset,) * self.bands, product=None)


def describe_raster(path: str | Path) -> RasterInfo:
    """Read what a raster says of itself.

    Args:
        path: A file, or another name that GDAL opens: see `names`.

    Raises:
        DataNotFoundError: if there is no such file.
        RasterError: if it cannot be opened, holds several rasters, or its bands differ in type or nodata.
    """
    with _opened(path) as raster:
        if not raster.count:
            held = f"holds {len(raster.subdatasets)} rasters, which are named {', '.join(raster.subdatasets[:12])}"
            raise RasterError(
                f"{path} {held if raster.subdatasets else 'has no band'}; expected one. Name the one you mean, or "
                "several that have a band each."
            )
        if len(set(raster.dtypes)) != 1:
            raise RasterError(
                f"{path}: its bands are {', '.join(raster.dtypes)}; expected one type for all bands. Convert it, "
                "for example with rio convert --dtype float32"
            )
        if len({str(value) for value in raster.nodatavals}) != 1:
            raise RasterError(f"{path}: its bands have nodata {raster.nodatavals}; expected one value for all bands")
        require_real(raster, path)
        if is_path(path):
            require_whole(raster, path, Path(path))
        tags = _all_tags(raster, 0)
        return RasterInfo(
            path=Path(path),
            grid=Grid(raster.height, raster.width, raster.transform, raster.crs),
            dtype=raster.dtypes[0],
            names=tuple(name or "" for name in raster.descriptions),
            nodata=raster.nodatavals[0],
            scales=tuple(raster.scales),
            offsets=tuple(raster.offsets),
            colours=_colour_table(raster),
            block=raster.block_shapes[0],
            spectra=read_tags([_all_tags(raster, number) for number in raster.indexes], tags),
            sensor=sensor_in(path, tags),
            product=known_scaling(path, tags),
            class_names={int(key[6:]): text for key, text in tags.items() if re.fullmatch(r"CLASS_\d{1,3}", key)},
            recorded=recorded_in(path, tags),
        )


def _all_tags(raster: Any, band: int) -> dict[str, str]:
    """Return the tags of a band, or with 0 of the whole file; those of its own domain come before GDAL's of images."""
    spaces = [space for space in ("IMAGERY", "ENVI") if space in raster.tag_namespaces(band)]
    return {key: text for space in (*spaces, None) for key, text in raster.tags(band, ns=space).items()}


def _colour_table(raster: Any) -> dict[int, tuple[int, int, int]]:
    """Return the colour table of the first band, empty if it has none."""
    try:
        return {value: colour[:3] for value, colour in raster.colormap(1).items()}
    except ValueError:  # rasterio's way to say that there is none
        return {}


class RasterReader:
    """Reads windows of many rasters, keeping the files used last open in each thread.

    GDAL's handles must not be shared between threads; each thread has its own.
    """

    def __init__(self, *, open_files: int = OPEN_FILES) -> None:
        """Make a reader that keeps at most `open_files` rasters open in each thread."""
        self._most = open_files
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without the open files; scenes that share it go on to."""
        return partial(RasterReader, open_files=self._most), ()

    def read(  # noqa: PLR0913  each may be left out
        self,
        path: str | Path,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        size: int | tuple[int, int] | None = None,
        grid: Grid | None = None,
        alpha: bool = True,
    ) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Read a window.

        Args:
            path: Of the raster.
            window: What to read; all of it if None.
            bands: Bands in the wanted order, counted from 1; all if None.
            size: Rows and columns to average the window to, through overviews where the file has some; as it is if
                None.
            grid: Where it differs from the raster's own grid: the one that the window is of, each pixel taken from
                the nearest one of the raster; what lies outside of the raster is not valid.
            alpha: Whether a fourth band of 8 bits may say where the others are valid, as GDAL takes it to.

        Returns:
            Pixels [H, W, bands] in the raster's own type and unit, and where they are valid [H, W, bands]: not nodata
            as the file says it, and finite. Values that are not valid are 0.

        Raises:
            DataNotFoundError: if there is no such file.
            RasterError: if it cannot be read, lacks a band, or ends before the window does.
        """
        raster = self._open(path, grid)
        count = self._open(path).count
        chosen = list(bands) if bands is not None else list(range(1, count + 1))
        if min(chosen) < 1 or max(chosen) > count:
            raise RasterError(f"{path} has {count} bands; band {max(chosen)} was asked for")
        window = window or Window(0, 0, raster.height, raster.width)
        inside = window.row >= 0 and window.column >= 0
        if not inside or window.row + window.height > raster.height or window.column + window.width > raster.width:
            raise RasterError(f"{path} is {raster.height}x{raster.width} pixels; {window} reach outside")
        try:
            return _read(raster, window, chosen, size, alpha=alpha)
        except (RasterioError, OSError) as error:
            raise RasterError(f"{path}: {window} cannot be read, the file may be cut short: {error}") from error

    def read_codes(
        self, path: str | Path, window: Window, *, band: int, grid: Grid | None = None
    ) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Read the numbers of a band that are no measurements but a code each, the one for no data too.

        Args:
            path: Of the raster.
            window: What to read.
            band: Counted from 1.
            grid: As for `read`.

        Returns:
            Pixels [H, W] in the raster's own type, and which of them [H, W] the raster reaches.

        Raises:
            DataNotFoundError: if there is no such file.
            RasterError: if it cannot be read.
        """
        raster = self._open(path, grid, codes=True)
        self._open(path)  # so that it is not closed before the warped one that reads it
        shown = _RasterioWindow(window.column, window.row, window.width, window.height)
        try:
            numbers = raster.read(band, window=shown)
            reached = raster.read(raster.count, window=shown) > 0 if grid else np.ones(numbers.shape, np.bool_)
        except (RasterioError, OSError) as error:
            raise RasterError(f"{path}: {window} cannot be read, the file may be cut short: {error}") from error
        return numbers, reached

    def _open(self, path: str | Path, grid: Grid | None = None, *, codes: bool = False) -> Any:
        """Return the raster that this thread has open, or opens now: as it is, or as it lies on another grid."""
        key = (os.fspath(path), grid, codes and grid is not None)
        files: OrderedDict[Any, Any] | None = getattr(self._local, "files", None)
        if files is None:
            files = self._local.files = OrderedDict()
        if key not in files:
            files[key] = _open_raster(path) if grid is None else _open_warped(self._open(path), grid, codes=codes)
            while len(files) > max(self._most, 2):  # the raster that a warped one reads is always used after it
                files.popitem(last=False)[1].close()
        files.move_to_end(key)
        return files[key]


def read_image(source: Path | bytes, *, size: int | None = None) -> tuple[Pixels, tuple[int, int]]:
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
    if isinstance(source, bytes):
        try:
            with without_warnings(), MemoryFile(source) as memory, memory.open() as raster:
                return _read(raster, None, None, size)[0], (raster.height, raster.width)
        except (RasterioError, OSError) as error:
            raise RasterError(f"the raster cannot be read: {error}") from error
    with _opened(source) as raster:
        return _read(raster, None, None, size)[0], (raster.height, raster.width)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Do not warn of rasters without a georeference; who needs one checks for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _open_raster(path: str | Path) -> Any:
    """Open a raster to read."""
    require_no_pipe(path)
    try:
        with without_warnings():
            return rasterio.open(gdal_name(path))
    except (RasterioError, OSError, UnicodeEncodeError) as error:
        require_file(path, "raster")
        raise RasterError(f"{path} cannot be read as a raster: {error}") from error


def _open_warped(raster: Any, grid: Grid, *, codes: bool) -> Any:
    """Lay an open raster on another grid, by nearest neighbour; the number for no data is one of its codes or none."""
    own = {"src_nodata": None} if codes else {}
    try:
        return WarpedVRT(
            raster,
            **{"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width},
            resampling=Resampling.nearest,
            tolerance=1e-3,  # pixels: so small that a pixel does not depend on the window it is read with
            add_alpha=codes or raster.nodata is None,  # marks what lies outside of the raster
            **own,
        )
    except (RasterioError, OSError) as error:
        raise RasterError(f"{raster.name} cannot be laid on a grid in {grid.crs}: {error}") from error


def burn(shapes: Sequence[tuple[Any, int]], window: Window) -> npt.NDArray[np.int32]:
    """Draw numbered shapes over each other, the last on top.

    Args:
        shapes: (geometry, number), the geometry in pixels of the scene: x is the column, y the row.
        window: Of the scene.

    Returns:
        [H, W] int32, -1 where there is no shape. A polygon holds the pixels whose centre it holds, a line those it
        runs through.
    """
    if not shapes:
        return np.full((window.height, window.width), -1, np.int32)
    return np.asarray(
        rasterio.features.rasterize(
            shapes,
            out_shape=(window.height, window.width),
            fill=-1,
            transform=rasterio.Affine.translation(window.column, window.row),
            dtype="int32",
        )
    )


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """Open a raster for a while; what goes wrong meanwhile names the file."""
    raster = _open_raster(path)
    try:
        with raster:
            yield raster
    except (RasterioError, OSError) as error:
        if isinstance(error, RasterError):
            raise
        raise RasterError(f"{path} cannot be read: {error}") from error


def _read(
    raster: Any,
    window: Window | None,
    bands: Sequence[int] | None,
    size: int | tuple[int, int] | None,
    *,
    alpha: bool = True,
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Read bands of an open raster, and where they are valid."""
    flags = raster.mask_flag_enums
    masked = any(MaskFlags.all_valid not in flag for flag in flags) and (alpha or MaskFlags.alpha not in flags[0])
    shown = _RasterioWindow(window.column, window.row, window.width, window.height) if window else None
    shape = (size, size) if isinstance(size, int) else size
    found = raster.read(
        indexes=bands,
        window=shown,
        out_shape=(len(bands) if bands else raster.count, *shape) if shape else None,
        resampling=Resampling.average,
        masked=masked,
    )
    # [bands, H, W] -> [H, W, bands]
    values = np.ascontiguousarray(np.moveaxis(np.ma.filled(found, 0), 0, -1))
    valid = np.ones(values.shape, np.bool_)
    if masked:
        np.logical_not(np.moveaxis(np.ma.getmaskarray(found), 0, -1), out=valid)
    if not masked and alpha and ColorInterp.alpha in raster.colorinterp:
        # Beside one or three bands GDAL takes an alpha band for the mask itself, beside others it does not.
        number = raster.colorinterp.index(ColorInterp.alpha) + 1
        seen = raster.read(number, window=shown, out_shape=shape, resampling=Resampling.average)
        valid &= (seen > 0)[..., np.newaxis]
        values[~valid] = 0
    if np.issubdtype(values.dtype, np.floating):
        valid &= np.isfinite(values)
        values[~valid] = 0
    return values, valid
