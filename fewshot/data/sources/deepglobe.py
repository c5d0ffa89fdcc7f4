"""DeepGlobe land cover: half-metre colour images of 2448 pixels with colour masks. One image is one region.

    <root>/train/<id>_sat.jpg and <root>/train/<id>_mask.png

An image is cut to a 4x4 grid of windows of 612 pixels, from which tasks draw support and query windows.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fewshot.data.catalogue.manifest import read_manifest
from fewshot.data.images import DamageLog, OnDamaged
from fewshot.data.region import FloatArray, ImageStore, Region, RegionSet
from fewshot.data.source import Source
from fewshot.errors import DataNotFoundError, RasterError, RecipeError
from fewshot.geo.landcover import ClassTable
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.windows import Window

SIDE = 4
"""Windows along each side of an image."""
THREADS = 4


@dataclass(frozen=True)
class DeepGlobe(Source):
    """DeepGlobe's images with their masks.

    Attributes:
        size: Pixels of a side that a window is averaged to; 0 leaves it as it is.
        window: Pixels of a window's side: a quarter of an image, and nothing else; 0 does not say it.
    """

    name: ClassVar[str] = "deepglobe"
    one_path: ClassVar[bool] = True

    size: int = 0
    window: int = 0

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the images that have a mask."""
        return read_deepglobe(paths[0], size=self.size, window=self.window, on_damaged=self.on_damaged)


def read_deepglobe(root: Path, *, size: int = 0, window: int = 0, on_damaged: OnDamaged = "raise") -> RegionSet:
    """Read the images that have a mask.

    Args:
        root: The folder that holds `train/`, or `train/` itself.
        size: Rows and columns that a window is averaged to; 0 leaves it at a quarter of the image.
        window: Rows and columns of a window, a quarter of the image; 0 does not say it.
        on_damaged: Whether a damaged image, or one without its mask, stops the reading or is left out.

    Returns:
        One region an image, with 16 windows; their labels are those of pixels.

    Raises:
        DataNotFoundError: if there is no image.
        DamagedDataError: if an image cannot be read, or image and mask differ in size, unless skipped.
        RecipeError: if the windows are not of `window` pixels, or not a multiple of `size`.
    """
    manifest = read_manifest("deepglobe")
    folder = root / "train" if (root / "train").is_dir() else root
    images = sorted(folder.glob("*_sat.jpg"))
    if not images:
        raise DataNotFoundError(
            f"{root} is not a DeepGlobe folder: expected train/<id>_sat.jpg with train/<id>_mask.png beside. "
            "`fewshot data show deepglobe` says how to get them."
        )
    log = DamageLog(on_damaged)
    with ThreadPoolExecutor(THREADS) as pool:
        sides = list(pool.map(_side, images))
    kept: list[tuple[Path, int]] = []
    for path, found in zip(images, sides, strict=True):
        if isinstance(found, str):
            log.report(found)
        elif kept and found != kept[0][1]:
            log.report(f"{path} is {found}x{found} pixels, expected {kept[0][1]}x{kept[0][1]} as {kept[0][0].name} is.")
        else:
            kept.append((path, found))
    if not kept:
        raise DataNotFoundError(f"{root} has no whole image with its mask.")
    side = kept[0][1] // SIDE
    if window not in (0, side):
        raise RecipeError(
            f"DeepGlobe windows are a quarter of an image, {side} pixels; received data.window = {window}."
        )
    if size and side % size:
        raise RecipeError(f"data.size divides a window of {side} pixels (612 in DeepGlobe: 51, 102, 153, 204, 306).")
    store = MaskedImages([path for path, _ in kept], manifest.class_table, side, size or side)
    cells = SIDE * SIDE
    none = np.zeros(cells, np.int64)
    names = manifest.class_table.names
    regions = tuple(
        Region(path.name.removesuffix("_sat.jpg"), names, np.arange(cells) + cells * number, none, np.arange(cells))
        for number, (path, _) in enumerate(kept)
    )
    return RegionSet("DeepGlobe", store, regions, names, skipped=tuple(log.skipped), manifest="deepglobe")


def _mask_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix("_sat.jpg") + "_mask.png")


def _side(path: Path) -> int | str:
    """Return the side of an image and its mask, or what is wrong with them."""
    mask = _mask_of(path)
    if not mask.exists():
        return f"{path} has no mask; expected {mask.name} beside it."
    try:
        grids = [describe_raster(file).grid for file in (path, mask)]
    except RasterError as error:
        return f"{error}."
    shapes = [(grid.height, grid.width) for grid in grids]
    if shapes[0] != shapes[1] or shapes[0][0] != shapes[0][1] or shapes[0][0] % SIDE:
        return f"{path} is {shapes[0]} pixels and its mask {shapes[1]}; expected one square size, divisible by {SIDE}."
    return shapes[0][0]


class MaskedImages(ImageStore):
    """Windows of images and the labels of their pixels, read when they are asked for, by several threads."""

    def __init__(self, images: Sequence[Path], table: ClassTable, window: int, size: int) -> None:
        """Keep the list of files.

        Args:
            images: Whose masks lie beside them.
            table: The classes by their colours.
            window: Rows and columns of a window.
            size: Rows and columns that it is averaged to.
        """
        self._images, self._table, self._window, self._size = tuple(images), table, window, size
        self._reader = RasterReader()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="deepglobe")
        stems = [path.name.removesuffix("_sat.jpg") for path in images]
        self.names = tuple(f"{stem}/{cell:02d}" for stem in stems for cell in range(SIDE * SIDE))
        self.shape, self.has_labels = (size, size, 3), True

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the windows `indices` [n] as [n, H, W, 3] float32, red, green and blue 0-1."""
        return np.stack(list(self._threads.map(self._read_pixels, np.asarray(indices, np.int64).tolist())))

    def read_labels(self, indices: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the labels of windows `indices` [n] as [n, H, W], -1 where unknown.

        Where windows are averaged, a pixel has the label of the original pixel at its middle.

        Raises:
            DamagedDataError: if a mask has a colour that is no class.
        """
        return np.stack(list(self._threads.map(self._read_labels, np.asarray(indices, np.int64).tolist())))

    def _place(self, number: int) -> tuple[Path, Window]:
        image, cell = divmod(number, SIDE * SIDE)
        row, column = (self._window * part for part in divmod(cell, SIDE))
        return self._images[image], Window(row, column, self._window, self._window)

    def _read_pixels(self, number: int) -> FloatArray:
        path, window = self._place(number)
        pixels, _ = self._reader.read(path, window, bands=[1, 2, 3], size=self._size)
        return pixels.astype(np.float32) / np.float32(255)

    def _read_labels(self, number: int) -> npt.NDArray[np.int32]:
        path, window = self._place(number)
        colours, _ = self._reader.read(_mask_of(path), window, bands=[1, 2, 3])
        step = self._window // self._size
        middle = colours[step // 2 :: step, step // 2 :: step]
        return self._table.indices_of_colours(middle, cut=128, where=f"{_mask_of(path)}, {window}")
