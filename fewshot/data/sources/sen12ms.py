"""SEN12MS as published, or the simulated Earth in its layout: GeoTIFF triplets, one region a season and place.

    <root>/ROIs1158_spring/{s1,s2,lc}_<region>/ROIs1158_spring_{s1,s2,lc}_<region>_p<patch>.tif

A 256-pixel patch is cut to windows that do not overlap. Only an index of the windows is in memory
(`fewshot.data.sources.sen12ms_index`); pixels are read when they are asked for, from the GeoTIFFs or from records.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot.data.bands import StoredBand
from fewshot.data.catalogue.manifest import Manifest, read_manifest
from fewshot.data.earth.files import write_earth
from fewshot.data.images import OnDamaged
from fewshot.data.region import FloatArray, ImageStore, Region, RegionSet
from fewshot.data.source import Source
from fewshot.data.sources.prepared import PREPARED, Prepared, Records, RegionIndex, record_type
from fewshot.data.sources.sen12ms_index import IMAGE, PARTS, THREADS, find_regions, index_region, is_simulated, prepare
from fewshot.errors import RecipeError
from fewshot.files import cache_folder
from fewshot.geo.rasters import RasterReader
from fewshot.geo.windows import Window
from fewshot.progress import progress_bar

SIMULATED_PATCHES = 9
"""Patches of each region of the simulated Earth that a recipe makes for itself."""


@dataclass(frozen=True)
class Cut:
    """How patches become images.

    Attributes:
        window: Rows and columns of the windows that a patch is cut to; divides 128, or is 256.
        size: Rows and columns that a window is averaged to; 0 leaves it as it is.
        bands: Names in the wanted order; empty for all bands of Sentinel-1 and 2.
        purity: Least share of a window's labelled pixels that must be of its most common class. Windows of less are
            left out, as are those without any label.
    """

    window: int = 128
    size: int = 0
    bands: tuple[str, ...] = ()
    purity: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.window < 1 or (128 % self.window and self.window != IMAGE):
            raise RecipeError(f"SEN12MS windows divide 128 pixels, or are 256; received data.window = {self.window}.")
        if self.size and self.window % self.size:
            raise RecipeError(f"data.size divides data.window ({self.window}); received {self.size}.")
        if not 0 <= self.purity <= 1:
            raise RecipeError(f"data.purity is a share from 0 to 1; received {self.purity}.")


@dataclass(frozen=True)
class Sen12ms(Cut, Source):
    """SEN12MS in its published layout, or records made of it by `fewshot data prepare`.

    Attributes:
        simulate: Regions of the simulated Earth to train on where no path is named; 0 for none.
    """

    name: ClassVar[str] = "sen12ms"
    one_path: ClassVar[bool] = True

    simulate: int = 0

    def own_paths(self) -> Sequence[Path]:
        """Return the simulated Earth, where that is wanted."""
        return [simulated_earth(self.simulate, window=self.window)] if self.simulate else []

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the tree, or its preparation."""
        return read_sen12ms(paths[0], self, on_damaged=self.on_damaged)


def simulated_earth(regions: int, *, window: int) -> Path:
    """Return a folder with a simulated Earth, prepared; made the first time, which takes about a minute.

    It is kept in `$FEWSHOT_CACHE`, or in `~/.cache/fewshot`.
    """
    tree = cache_folder() / f"simulated-earth-{regions}x{SIMULATED_PATCHES}"
    made = tree / PREPARED.format(window=window)
    if not Prepared.is_one(made):
        with progress_bar(f"Simulating {regions} regions in {tree}", "files") as show:
            write_earth(tree, regions=regions, patches_per_region=SIMULATED_PATCHES, progress=show)
        with progress_bar(f"Preparing windows of {window} pixels", "regions") as show:
            prepare(tree, made, window=window, records=True, progress=show)
    return tree


def read_sen12ms(root: Path, cut: Cut | None = None, *, on_damaged: OnDamaged = "raise") -> RegionSet:
    """Read a SEN12MS tree, or a folder that `fewshot data prepare` made of one.

    Args:
        root: Either folder. A preparation beside the seasons (`<root>/prepared-128` for windows of 128 pixels) is
            used; without one the land cover is read now.
        cut: How patches become images; windows of 128 pixels with all bands if None.
        on_damaged: Whether a damaged patch stops the reading or is left out, with a remark in `skipped`.

    Returns:
        One region a season and place. An image's label is the most common class of its window, its source the block of
        4x4 windows it lies in; windows in the gaps between blocks are left out, so that no two that touch have
        different sources. The store has the labels of pixels too.

    Raises:
        DataNotFoundError: if there is no region.
        DamagedDataError: if a patch cannot be read, unless skipped.
        ManifestError: if a label raster has an unknown class.
        RecipeError: if a band is unknown, or the folder was prepared for other windows.
    """
    cut = cut or Cut()
    manifest = read_manifest("sen12ms")
    bands = _chosen_bands(manifest, cut.bands)
    prepared = _open_prepared(root, cut.window, on_damaged)
    # The tree may be gone; what was prepared before that was kept knows it from the tree alone.
    simulated = prepared.simulated or is_simulated(prepared.tree)
    regions, first = [], 0
    for index in prepared.regions:
        region = _region(index, first, cut.purity, manifest.class_table.names)
        regions += [region] if len(region.images) else []
        first += len(index)
    store = WindowStore(prepared, bands, manifest, cut.size or cut.window)
    return RegionSet(
        "SIMULATED Earth" if simulated else "SEN12MS",
        store,
        tuple(regions),
        manifest.class_table.names,
        skipped=prepared.skipped,
        manifest="synthetic" if simulated else "sen12ms",
    )


def _chosen_bands(manifest: Manifest, names: Sequence[str]) -> tuple[StoredBand, ...]:
    """Return bands by name, all of them for none."""
    known = {band.name: band for band in manifest.bands}
    for name in names:
        if name not in known:
            raise RecipeError(f"{manifest.title} has no band {name!r} (data.bands); it has {', '.join(known)}.")
    return tuple(known[name] for name in names) or manifest.bands


def _open_prepared(root: Path, window: int, on_damaged: OnDamaged) -> Prepared:
    """Open the preparation of a tree, or index the tree now if there is none."""
    for folder in (root, root / PREPARED.format(window=window)):
        if Prepared.is_one(folder):
            return Prepared.open(folder, window)
    indexed = [index_region(root, region, window, on_damaged=on_damaged) for region in find_regions(root)]
    skipped = tuple(line for _, lines in indexed for line in lines)
    return Prepared(root, root, window, tuple(index for index, _ in indexed), skipped)


def _region(index: RegionIndex, first: int, purity: float, classes: Sequence[str]) -> Region:
    """Make a region of the windows that have a label, and are pure enough."""
    labelled = index.counts.sum(axis=1)
    most = index.counts.max(axis=1, initial=0)
    kept = np.flatnonzero((labelled > 0) & (most >= purity * labelled) & (index.blocks >= 0))
    labels = index.counts[kept].argmax(axis=1) if len(kept) else np.zeros(0, np.int64)
    # All classes that some pixel of the region has: a window's label is one of them, and so is every pixel's.
    present = np.flatnonzero(index.counts[kept].sum(axis=0))
    names = tuple(classes[int(number)] for number in present)
    numbers = np.searchsorted(present, labels).astype(np.int64)
    return Region(index.name, names, first + kept, numbers, index.blocks[kept].astype(np.int64), index.place)


class WindowStore(ImageStore):
    """Windows of SEN12MS patches and their labels, read when they are asked for, by several threads."""

    def __init__(self, prepared: Prepared, bands: Sequence[StoredBand], manifest: Manifest, size: int) -> None:
        """Keep the index.

        Args:
            prepared: The index, and the records where there are some.
            bands: To read, in the wanted order.
            manifest: Whose bands and classes they are.
            size: Rows and columns to average a window to.
        """
        self.names, self.bands, self.has_labels = _Names(prepared), tuple(bands), True
        self.shape = (size, size, len(bands))
        self._prepared, self._table, self._size = prepared, manifest.class_table, size
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sen12ms")
        self._reader = RasterReader()
        numbers = {part: [band.name for band in manifest.bands if band.part == part] for part in PARTS if part != "lc"}
        self._taken = {part: _Taken(part, names, bands) for part, names in numbers.items()}
        self._records: Records | None = None
        if prepared.records:
            paths = [prepared.folder / f"{index.name}.arrayrecord" for index in prepared.regions if len(index)]
            self._records = Records(paths, record_type(prepared.window, PARTS))

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the windows `indices` [n] as [n, H, W, bands] float32 in the bands' units; 0 where not valid."""
        numbers = np.asarray(indices, np.int64)
        images = np.empty([len(numbers), self._prepared.window, self._prepared.window, len(self.bands)], np.float32)
        records = None if self._records is None else self._records.read(numbers)

        def fill(at: int) -> None:
            for part, bands in self._taken.items():
                if bands.places.size:
                    stored = (
                        self._read_file(int(numbers[at]), part, bands.numbers)
                        if records is None
                        else records[at][part][..., bands.numbers]
                    )
                    bands.fill(images[at], stored)

        list(self._threads.map(fill, range(len(numbers))))
        return _averaged(images, self._size)

    def read_labels(self, indices: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the labels of windows `indices` [n] as [n, H, W], index in the set's classes, -1 where ignored.

        Where windows are averaged, a pixel has the label of the original pixel at its middle.
        """
        numbers = np.asarray(indices, np.int64)
        if self._records is not None:
            pixels = self._records.read(numbers)["lc"][..., 0]
        else:
            found = self._threads.map(lambda number: self._read_file(number, "lc", [0]), numbers.tolist())
            pixels = np.stack(list(found))[..., 0]
        labels = self._table.indices(pixels, where=f"{self._prepared.tree}")
        step = self._prepared.window // self._size
        return np.ascontiguousarray(labels[:, step // 2 :: step, step // 2 :: step])

    def _read_file(self, number: int, part: str, bands: list[int]) -> npt.NDArray[Any]:
        """Read bands of one window from its GeoTIFF."""
        (index, at), window = self._prepared.find(number), self._prepared.window
        path = index.file(self._prepared.tree, part, int(index.patches[at]))
        row, column = (window * place for place in divmod(int(index.squares[at]), IMAGE // window))
        numbers, place = [band + 1 for band in bands], Window(row, column, window, window)
        return self._reader.read(path, place, bands=numbers, alpha=False)[0]


class _Taken:
    """Which bands of one part to read, and where in an image they go."""

    def __init__(self, part: str, names: Sequence[str], bands: Sequence[StoredBand]) -> None:
        """Find the bands of a part, stored in the order of `names`, among those of an image."""
        own = [(place, band) for place, band in enumerate(bands) if band.part == part]
        self.places = np.array([place for place, _ in own], np.int64)
        self.numbers = [names.index(band.name) for _, band in own]
        self._all = len(own) == len(bands)
        self._scale = np.array([band.scale for _, band in own], np.float32)
        self._offset = np.array([band.offset for _, band in own], np.float32)

    def fill(self, image: FloatArray, stored: npt.NDArray[Any]) -> None:
        """Write stored values [H, W, own bands] to an image [H, W, bands] in the bands' units; 0 where not finite."""
        values = np.multiply(stored, self._scale, out=image if self._all else None, dtype=np.float32)
        if self._offset.any():
            values += self._offset
        if stored.dtype.kind == "f":
            np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if not self._all:
            image[..., self.places] = values


def _averaged(images: FloatArray, size: int) -> FloatArray:
    """Average images [n, H, W, bands] to [n, size, size, bands]; H is a multiple of `size`."""
    step = images.shape[1] // size
    if step == 1:
        return images
    split = images.reshape(len(images), size, step, size, step, images.shape[-1])
    return np.asarray(split.mean(axis=(2, 4)), np.float32)


class _Names(Sequence[str]):
    """Names of the windows, made when they are asked for: a tree has hundreds of thousands."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def __len__(self) -> int:
        return len(self._prepared)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        index, at = self._prepared.find(range(len(self))[int(number)])
        return f"{index.name}/p{index.patches[at]}_{index.squares[at]}"
