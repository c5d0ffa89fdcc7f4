"""A SIMULATED Earth: no measurement is in it, and nothing found on it holds for the Earth.

Regions of a made-up world, with terrain, climate, seasons, fields, rivers, towns and roads, as two made-up sensors
see them. It has what makes the real task hard: a class looks different from region to region (soil, plants, season,
haze, light), so that a classifier trained on other regions fails in a new one, while examples from the new region
tell most of its classes apart. Labels are exact: every pixel's class is what was drawn there.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot.data.bands import StoredBand
from fewshot.data.earth.kept import Arrays, simulated_once
from fewshot.data.earth.region import simulate_region, visited
from fewshot.data.earth.terrain import COARSE
from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.data.source import Source
from fewshot.errors import TaskError
from fewshot.geo.landcover import IGBP

NATURAL_BANDS = ("B2", "B3", "B4", "B8")
"""Blue, green, red and near infrared."""

_GROUP = 3  # images of one source patch, which has this many times the side
_PURE = 0.6  # share of an image that its class covers at least
_LEAST_CLASSES = 4
_LEAST_SIDE = 256


@dataclass(frozen=True)
class Synthetic(Source):
    """Small simulated patches, made in memory."""

    name: ClassVar[str] = "synthetic"
    reads_files: ClassVar[bool] = False
    simulated: ClassVar[bool] = True
    licence: ClassVar[str] = "Apache-2.0, as the program that makes it"

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Simulate the patches; paths mean nothing."""
        return simulate_patches()

    def describe_bands(self, regions: RegionSet) -> tuple[StoredBand, ...]:
        """Return the bands by number: they are those of no sensor."""
        unit, count = "simulated reflectance", regions.store.shape[-1]
        return tuple(StoredBand(f"simulated {i + 1}", unit=unit, stored="float32, 0-1") for i in range(count))


@lru_cache(maxsize=2)
def simulate_patches(  # noqa: PLR0913  independent sizes, all with defaults
    regions: int = 24,
    *,
    images_per_class: int = 30,
    size: int = 16,
    bands: tuple[str, ...] = NATURAL_BANDS,
    seed: int = 0,
) -> RegionSet:
    """Cut patches from simulated regions, in memory.

    Args:
        regions: How many; each has four or more of the ten classes of `fewshot.geo.landcover.IGBP`.
        images_per_class: In each region; up to three are neighbours, cut from one source patch of three times the side.
        size: Side of a patch, in pixels of 10 m.
        bands: Of `OPTICAL`.
        seed: The same seed gives the same images; a region does not depend on the number of regions.

    Returns:
        Images [size, size, bands], simulated reflectance 0-1, at least 60 % of each of its class; the set's name says
        that it is simulated. The last sets made stay in memory, and what each is made of in the program's cache.

    Raises:
        TaskError: if a number is less than one, a band is unknown, or patches are so large and so many that no region
            has enough.
    """
    if min(regions, images_per_class, size) < 1:
        raise TaskError(
            "simulated patches need at least one region, image and pixel; received"
            f" {regions}, {images_per_class} and {size}"
        )
    names: list[str] = []
    pixels, made, start = [], [], 0
    digits = max(2, len(str(regions - 1)))
    with ThreadPoolExecutor() as pool:  # arrays are computed beside each other; a region depends on its number alone
        cut = list(pool.map(lambda number: _patches(number, images_per_class, size, bands, seed), range(regions)))
    for number, made_once in enumerate(cut):
        images, labels, sources = (made_once[name] for name in ("images", "labels", "sources"))
        name = f"simulated_{number:0{digits}d}"
        classes = np.unique(labels)
        class_names = tuple(IGBP.names[kind] for kind in classes)
        own = np.searchsorted(classes, labels)
        names += [f"{name}/{class_names[label]}/{i % images_per_class:03d}" for i, label in enumerate(own)]
        place = f"simulated_place_{visited(number)[0] + 1}"
        made.append(Region(name, class_names, np.arange(start, start + len(own)), own, sources, place))
        pixels.append(images)
        start += len(own)
    store = ArrayStore(names, np.concatenate(pixels), scale=1.0)
    return RegionSet("simulated land cover", store, tuple(made), IGBP.names)


def _patches(number: int, images_per_class: int, size: int, bands: tuple[str, ...], seed: int) -> Arrays:
    """Return one region's patches, as `_cut` makes them, from the cache where they are there."""
    asked = (number, images_per_class, size, bands, seed)
    return simulated_once(asked, lambda: _cut(*asked), code=Path(__file__))


def _cut(number: int, images_per_class: int, size: int, bands: tuple[str, ...], seed: int) -> Arrays:
    """Return a region's `images` [n, size, size, bands], their `labels` by IGBP index and their `sources`, by class."""
    cells = _GROUP * int(np.ceil(max((43 * images_per_class) ** 0.5, 24, _LEAST_SIDE / size) / _GROUP))
    for _ in range(3):
        side = -(-cells * size // (2 * COARSE)) * 2 * COARSE
        region = simulate_region(number, seed=seed, size=side, bands=bands, radar=False)
        labels, cell, source = _choose(
            region.classes, size, cells, images_per_class, np.random.default_rng([seed, number])
        )
        if len(np.unique(labels)) >= _LEAST_CLASSES:
            break
        cells = 2 * cells
    else:
        raise TaskError(
            f"simulated region {number} of seed {seed} has not {images_per_class} patches of {size} pixels of "
            f"{_LEAST_CLASSES} classes; ask for fewer or smaller ones"
        )
    row, column = np.divmod(cell, cells)
    across = np.arange(size)
    # [n, size, size, bands]: the pixels of each chosen cell
    images = region.optical[
        (row * size)[:, np.newaxis, np.newaxis] + across[:, np.newaxis],
        (column * size)[:, np.newaxis, np.newaxis] + across,
    ]
    images = np.minimum(images.astype(np.float32) * np.float32(1e-4), 1)
    return {"images": images, "labels": labels, "sources": source}


def _choose(
    classes: npt.NDArray[np.uint8], size: int, cells: int, count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose `count` pure cells of every class that has so many: their labels, numbers and source patches."""
    merged = np.zeros(18, np.int64)
    for kind, entry in enumerate(IGBP.classes):
        merged[list(entry.ids)] = kind
    kinds = merged[classes[: cells * size, : cells * size]]
    row, column = np.divmod(np.arange(cells * cells), cells)
    cell_of = (np.arange(cells * size) // size)[:, np.newaxis] * cells + np.arange(cells * size) // size
    pixels = np.bincount((cell_of * len(IGBP.names) + kinds).ravel(), minlength=cells * cells * len(IGBP.names))
    shares = pixels.reshape(-1, len(IGBP.names)) / size**2
    sources = (row // _GROUP) * (cells // _GROUP) + column // _GROUP
    luck = rng.random(sources.max() + 1)
    found: list[Any] = []
    for kind in range(len(IGBP.names)):
        pure = rng.permutation(np.flatnonzero(shares[:, kind] >= _PURE))
        pure = pure[np.argsort(sources[pure], kind="stable")]
        rank = np.arange(len(pure)) - np.searchsorted(sources[pure], sources[pure])
        pure = pure[rank < _GROUP]
        # Sources with three images come first, so that few sources give fewer.
        full = np.bincount(sources[pure], minlength=len(luck))[sources[pure]]
        pure = pure[np.lexsort((luck[sources[pure]], -full))][:count]
        if len(pure) == count:
            found.append((np.full(count, kind), pure, sources[pure]))
    if not found:
        return (np.zeros(0, np.int64),) * 3
    labels, chosen, source = (np.concatenate(part).astype(np.int64) for part in zip(*found, strict=True))
    return labels, chosen, source
