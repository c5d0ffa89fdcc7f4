"""Regions and the images they are made of.

A `RegionSet` is what every reader returns: one store of images, and for each region (a place and
season, or an alphabet) which images it has and of which class. Nothing here knows a file format.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.data.bands import StoredBand
from fewshot.errors import DataNotFoundError, ShapeError, TaskError
from fewshot.tables import nearest

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


class ImageStore(ABC):
    """Images of one shape, read by index.

    Attributes:
        names: One unique name an image, the same on every machine.
        shape: Rows, columns and bands of every image; of what stands for an image, its own.
        bands: In order; none where the store does not name them.
        has_labels: Whether the pixels are labelled.
    """

    names: Sequence[str]
    shape: tuple[int, ...]
    bands: Sequence[StoredBand] = ()
    has_labels: bool = False

    @abstractmethod
    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the images `indices` [n] as [n, H, W, bands] float32, scaled 0-1.

        Raises:
            RasterError: if a file cannot be read.
        """

    def read_labels(self, indices: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the labels of images `indices` [n] as [n, H, W], index in the set's classes, -1 where ignored.

        Raises:
            TaskError: if the pixels have none.
            RasterError: if a file cannot be read.
        """
        raise TaskError("the pixels of these images have no labels; use tasks of labelled images instead")


class ArrayStore(ImageStore):
    """Images held in memory as they were decoded, and scaled when they are read."""

    def __init__(self, names: Sequence[str], pixels: npt.NDArray[Any], *, scale: float = 1 / 255) -> None:
        """Keep `pixels` under `names`.

        Args:
            names: One unique name an image.
            pixels: [N, H, W, bands], any number type; uint8 is the smallest.
            scale: What one stored unit is worth; `read` multiplies by it.

        Raises:
            ShapeError: if `pixels` is not [N, H, W, bands], N differs from the number of names, or a name occurs twice.
        """
        if pixels.ndim != 4 or len(names) != len(pixels):
            raise ShapeError(f"expected pixels [{len(names)}, H, W, bands], one a name; received {list(pixels.shape)}")
        if len(set(names)) != len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise ShapeError(f"every image needs its own name, but {twice!r} occurs more than once")
        self.names = tuple(names)
        self.shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        self._pixels = pixels
        self._scale = np.float32(scale)

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the images `indices` [n] as [n, H, W, bands] float32, scaled 0-1."""
        images = self._pixels[np.asarray(indices, np.int64)].astype(np.float32)
        images *= self._scale
        return images


class KeptBands(ImageStore):
    """A store some of whose bands are missing: they read as 0, as they do in training with `band_dropout`."""

    def __init__(self, base: ImageStore, kept: Sequence[str]) -> None:
        """Wrap `base`, a store that names its bands.

        Raises:
            DataNotFoundError: if the store does not name its bands, or has none of a name in `kept`.
        """
        known = [band.name for band in base.bands]
        for name in kept:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "its bands have no names"
                raise DataNotFoundError(f"this data has no band {name!r}; {has}")
        self._base = base
        self._kept = np.array([name in kept for name in known])
        self.names, self.shape, self.bands, self.has_labels = base.names, base.shape, base.bands, base.has_labels

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the images `indices` [n] as [n, H, W, bands] float32, missing bands 0."""
        return np.asarray(self._base.read(indices) * self._kept, np.float32)

    def read_labels(self, indices: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the labels of the pixels of images `indices` [n] as [n, H, W]."""
        return self._base.read_labels(indices)


class RotatedStore(ImageStore):
    """A store of square images together with their three quarter turns.

    Image `i` turned `turn` times is image `i + turn * len(base.names)`, named `<name>@90`, `@180`, `@270`.
    """

    def __init__(self, base: ImageStore) -> None:
        """Wrap `base`; its pixels are turned when they are read, not stored again.

        Raises:
            ShapeError: if the images are not square.
        """
        rows, columns, _ = base.shape
        if rows != columns:
            raise ShapeError(f"a quarter turn needs square images, but these have {rows} rows and {columns} columns")
        self._base = base
        self.names = tuple(turned(name, turn) for turn in range(4) for name in base.names)
        self.shape, self.bands = base.shape, base.bands

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the images `indices` [n] as [n, H, W, bands] float32, turned counter-clockwise."""
        turns, base_indices = np.divmod(np.asarray(indices, np.int64), len(self._base.names))
        images = self._base.read(base_indices)
        for turn in range(1, 4):
            chosen = turns == turn
            images[chosen] = np.rot90(images[chosen], turn, axes=(1, 2))
        return images


def turned(name: str, turn: int) -> str:
    """Return the name of `name` after `turn` quarter turns (0-3): `<name>@90` after one."""
    return f"{name}@{90 * turn}" if turn else name


def unturned(name: str) -> str:
    """Return the name that `turned` was given."""
    stem, mark, degrees = name.rpartition("@")
    return stem if mark and degrees in {"90", "180", "270"} else name


@dataclass(frozen=True, eq=False)
class Region:
    """The place and season (or the alphabet) that a task is drawn from.

    Attributes:
        name: Unique in its set, e.g. "spring_122" or "Greek".
        class_names: The region's own classes.
        images: [n] int64, indices in the store.
        labels: [n] int64, index in `class_names`.
        sources: [n] int64, the patch or drawer an image comes from, -1 where unknown.
        place: What must never be on both sides of a split, e.g. "122", whatever the season; the name if empty.
    """

    name: str
    class_names: tuple[str, ...]
    images: IntArray
    labels: IntArray
    sources: IntArray
    place: str = ""

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        if not len(self.images) == len(self.labels) == len(self.sources):
            sizes = [len(self.images), len(self.labels), len(self.sources)]
            raise ShapeError(f"region {self.name} has {sizes} images, labels and sources, expected one number of each")
        object.__setattr__(self, "place", self.place or self.name)


@dataclass(frozen=True)
class PixelLabels:
    """Marks a task whose labels are those of pixels, read from the store.

    Attributes:
        points: Labelled pixels of each class to keep in each support image; 0 keeps them all.
        seed: Of the choice of these pixels.
    """

    points: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Task:
    """One episode: which images are the support set, which the queries.

    Attributes:
        region: The region the classes come from, or "*" where they come from several.
        classes: Class names in the order of the task's own labels.
        support: [n] int64, indices in the store.
        support_y: [n] int32, index in `classes`; -1 where pixels are labelled.
        query: [m] int64, indices in the store.
        query_y: [m] int32, index in `classes`; -1 where pixels are labelled.
        name: Where the source names its tasks, that name.
        pixels: Set where pixels are labelled, not images.
    """

    region: str
    classes: tuple[str, ...]
    support: IntArray
    support_y: npt.NDArray[np.int32]
    query: IntArray
    query_y: npt.NDArray[np.int32]
    name: str = ""
    pixels: PixelLabels | None = None


@dataclass(frozen=True, eq=False)
class RegionSet:
    """Regions that share one store of images.

    Attributes:
        name: Of the data, for reports and frozen task lists.
        store: The images.
        regions: In a fixed order.
        classes: All class names in a fixed order; a global label is an index in it.
        fixed_tasks: Tasks that the source itself defines.
        skipped: Damaged members and the tasks lost with them, where the reader was told to skip.
        manifest: Name of the manifest that describes the data; empty where none does.
    """

    name: str
    store: ImageStore
    regions: tuple[Region, ...]
    classes: tuple[str, ...]
    fixed_tasks: tuple[Task, ...] = ()
    skipped: tuple[str, ...] = ()
    manifest: str = ""

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return tuple(region.name for region in self.regions)

    def select(self, predicate: Callable[[Region], bool], *, name: str | None = None) -> "RegionSet":
        """Keep the regions, and the fixed tasks of the regions, for which `predicate` holds."""
        regions = tuple(region for region in self.regions if predicate(region))
        kept = {region.name for region in regions}
        tasks = tuple(task for task in self.fixed_tasks if task.region in kept)
        return replace(self, name=name or self.name, regions=regions, fixed_tasks=tasks)

    def subset(self, names: Iterable[str], *, name: str | None = None) -> "RegionSet":
        """Keep the regions called `names`; a place ("122") stands for all of its regions.

        Raises:
            DataNotFoundError: if a name is neither a region nor a place of this set.
        """
        wanted = self.regions_called(names)
        return self.select(lambda region: region.name in wanted, name=name)

    def regions_called(self, names: Iterable[str]) -> set[str]:
        """Resolve region names and places to region names.

        Raises:
            DataNotFoundError: if a name is neither a region nor a place of this set.
        """
        if isinstance(names, str):
            names = (names,)
        found: set[str] = set()
        for wanted in names:
            matches = {region.name for region in self.regions if wanted in (region.name, region.place)}
            if not matches:
                known = sorted({*self.region_names, *(region.place for region in self.regions)})
                raise DataNotFoundError(
                    f"{self.name} has no region {wanted!r}.{nearest(wanted, known)} "
                    f"It has: {', '.join(self.region_names) or 'none'}."
                )
            found |= matches
        return found
