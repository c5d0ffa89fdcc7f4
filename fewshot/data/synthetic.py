"""A SIMULATED Earth: no measurement is in it, and nothing found on it holds for the Earth.

Regions of a made-up world, with terrain, climate, seasons, fields, rivers, towns and roads, as two made-up sensors
see them. It has what makes the real task hard: a class looks different from region to region (soil, plants, season,
haze, light), so that a classifier trained on other regions fails in a new one, while examples from the new region
tell most of its classes apart. Labels are exact: every pixel's class is what was drawn there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.data.earth_climate import Place, choose_seasons, draw_place, draw_sight
from fewshot.data.earth_ground import cover_ground
from fewshot.data.earth_landcover import draw_landscape
from fewshot.data.earth_sensor import OPTICAL, draw_spectra, see_optical, see_radar
from fewshot.data.earth_terrain import COARSE, PIXEL
from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.errors import TaskError
from fewshot.geo.landcover import IGBP
from fewshot.geo.rasters import Grid

NATURAL_BANDS = ("B2", "B3", "B4", "B8")
"""Blue, green, red and near infrared."""

_GROUP = 3  # images of one source patch, which has this many times the side
_PURE = 0.6  # share of an image that its class covers at least
_LEAST_CLASSES = 4
_LEAST_SIDE = 256


@dataclass(frozen=True, eq=False)
class SimulatedRegion:
    """A place in a season, as simulated sensors see it.

    Attributes:
        name: Season and place, e.g. "summer_7".
        place: The same for all seasons of a place, e.g. "7".
        season: Of `fewshot.data.earth_climate.SEASONS`.
        classes: [H, W] uint8, the exact IGBP number, 1-17, of every pixel.
        optical: [H, W, bands] uint16, reflectance at the top of the atmosphere x 10^4.
        radar: [H, W, 2] float32, VV and VH in dB; None where it was not asked for.
        bands: Names of the optical bands, in order.
        grid: Where it would lie on the Earth: 10 m pixels in a UTM zone.
    """

    name: str
    place: str
    season: str
    classes: npt.NDArray[np.uint8]
    optical: npt.NDArray[np.uint16]
    radar: npt.NDArray[np.float32] | None = field(repr=False)
    bands: tuple[str, ...]
    grid: Grid


def simulate_region(
    number: int, *, seed: int = 0, size: int = 1024, bands: Sequence[str] = OPTICAL, radar: bool = True
) -> SimulatedRegion:
    """Simulate one region of the world that `seed` stands for.

    Every fourth region (3, 7, 11 ...) is the place of the third before it in another season: the same ground, classes
    and parcels, other crops, leaves, air and light. The size is part of the draw: a region of another size is another
    landscape of the same climate.

    Args:
        number: Of the region, from 0; regions do not depend on each other.
        seed: Of the world; the same seed gives the same region on any machine, but for the last bits of its
            arithmetic, which may round a pixel here and there to the neighbouring digital number.
        size: Rows and columns of 10 m pixels, a multiple of 8, at least 128.
        bands: Sentinel-2 bands to simulate, of `OPTICAL`; a band does not depend on which others are simulated.
        radar: Whether to simulate VV and VH as well.

    Raises:
        TaskError: if the number, the size or a band is out of range.
    """
    _check(number, size, bands)
    place, season = _destination(number, seed)
    land = draw_landscape(_rng(seed, 1, place.number), size, place)
    sight = draw_sight(_rng(seed, 3, number), place, season)
    ground = cover_ground(_rng(seed, 4, place.number), land, sight)
    spectra = draw_spectra(_rng(seed, 5, place.number))
    return SimulatedRegion(
        name=name_region(number, seed=seed),
        place=str(place.number + 1),
        season=season,
        classes=land.classes,
        optical=see_optical(_rng(seed, 6, number), (land, ground, sight, spectra), tuple(bands)),
        radar=see_radar(_rng(seed, 7, number), land, ground, spectra) if radar else None,
        bands=tuple(bands),
        grid=_grid(_rng(seed, 8, place.number), place, size),
    )


def name_region(number: int, *, seed: int = 0) -> str:
    """Return the name of a region without simulating it: season and place, e.g. "summer_7"."""
    place, season = _destination(number, seed)
    return f"{season}_{place.number + 1}"


def _rng(seed: int, purpose: int, of: int) -> np.random.Generator:
    """Return the randomness of one purpose, for a place or a region: none depends on another."""
    return np.random.default_rng([seed, purpose, of])


def _destination(number: int, seed: int) -> tuple[Place, str]:
    """Return the place and the season of a region."""
    place_number, visit = visited(number)
    place = draw_place(_rng(seed, 0, place_number), place_number)
    return place, choose_seasons(_rng(seed, 2, place_number), place)[visit]


def visited(number: int) -> tuple[int, int]:
    """Return which place region `number` is, from 0, and whether it is seen for the first (0) or second (1) time."""
    group, member = divmod(number, 4)
    return (3 * group + member, 0) if member < 3 else (3 * group, 1)


def _check(number: int, size: int, bands: Sequence[str]) -> None:
    """Check what a region was asked for."""
    unknown = [band for band in bands if band not in OPTICAL]
    if number < 0 or size < 128 or size % (2 * COARSE) or unknown or not bands:
        raise TaskError(
            f"a simulated region has a number from 0, a size of at least 128 that is a multiple of {2 * COARSE}, and "
            f"bands of {', '.join(OPTICAL)}; received number {number}, size {size} and bands {', '.join(bands)}"
        )


def _grid(rng: np.random.Generator, place: Place, size: int) -> Grid:
    """Give a place somewhere to lie: a UTM zone of its own for sixty places, a northing that fits its latitude."""
    zone = 1 + (place.number * 7 + 31) % 60
    north = place.latitude >= 0
    east = 10 * round(rng.uniform(30_000, 69_000))
    top = 10 * round(11_057.4 * place.latitude + (0 if north else 1_000_000))
    return Grid(
        size, size, (PIXEL, 0.0, float(east), 0.0, -PIXEL, float(top)), f"EPSG:{(32600 if north else 32700) + zone}"
    )


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
        that it is simulated. The last sets made are kept, so asking again costs nothing.

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
    for number in range(regions):
        name = f"simulated_{number:0{digits}d}"
        images, labels, sources = _cut(number, images_per_class, size, bands, seed)
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


def _cut(
    number: int, images_per_class: int, size: int, bands: tuple[str, ...], seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return one region's images [n, size, size, bands], their labels by IGBP index and their sources, by class."""
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
    return np.minimum(images.astype(np.float32) * np.float32(1e-4), 1), labels, source


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
