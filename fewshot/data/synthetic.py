"""A SIMULATED regional land-cover source: no measurement is in it, and nothing found on it holds for the Earth.

It has what makes the real task hard: a class looks different from region to region (season, haze, soil,
light), so that a classifier trained on all regions together fails in a new one, while two examples from
the new region tell most classes apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fewshot.data.patches import IGBP_CLASSES
from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.errors import TaskError

FloatArray = npt.NDArray[np.float64]

# Reflectance 0-1 in blue, green, red and near infrared, invented but plausible, in the order of IGBP_CLASSES.
_SIGNATURES = np.array(
    [
        [0.03, 0.05, 0.03, 0.32],
        [0.07, 0.10, 0.11, 0.24],
        [0.07, 0.11, 0.13, 0.27],
        [0.06, 0.11, 0.09, 0.33],
        [0.05, 0.07, 0.06, 0.19],
        [0.07, 0.11, 0.09, 0.38],
        [0.15, 0.17, 0.19, 0.25],
        [0.70, 0.70, 0.68, 0.60],
        [0.15, 0.21, 0.27, 0.34],
        [0.08, 0.07, 0.05, 0.03],
    ]
)
_GREENNESS = np.array([1.0, 0.6, 0.7, 0.9, 0.5, 1.0, 0.1, 0.0, 0.0, 0.0])  # how much of it follows the season
_BARENESS = np.array([0.05, 0.5, 0.45, 0.3, 0.1, 0.4, 0.2, 0.0, 0.7, 0.0])  # how much soil shows through
_ROUGHNESS = np.array([0.20, 0.22, 0.18, 0.08, 0.16, 0.12, 0.45, 0.05, 0.12, 0.06])  # relative spread within a patch
_GRAIN = np.array([3, 2, 3, 1, 4, 4, 1, 2, 2, 2])  # pixels over which a patch's texture holds together
_SOIL = np.array([0.10, 0.16, 0.23, 0.31])
_GROUP = 3  # images cut from one source patch


@dataclass(frozen=True)
class _Conditions:
    """What a region does to every spectrum seen there, or to those of one class."""

    season: FloatArray
    soil: FloatArray
    local: FloatArray
    haze: FloatArray
    light: FloatArray
    roughness: FloatArray


def simulate_patches(  # noqa: PLR0913  independent sizes, all with defaults
    regions: int = 24, *, images_per_class: int = 30, size: int = 16, bands: int = 4, seed: int = 0
) -> RegionSet:
    """Simulate land-cover patches of several regions.

    Args:
        regions: How many; each has four to eight of the ten classes.
        images_per_class: In each region; three at a time are neighbours, cut from one source patch.
        size: Side of a patch, in pixels.
        bands: Evenly spread from blue to near infrared.
        seed: The same seed gives the same images on any machine.

    Returns:
        Images [size, size, bands], simulated reflectance 0-1; the set's name says that it is simulated.

    Raises:
        TaskError: if a number is less than one.
    """
    if min(regions, images_per_class, size, bands) < 1:
        raise TaskError(
            "simulated patches need at least one region, image, pixel and band; received"
            f" {regions}, {images_per_class}, {size} and {bands}"
        )
    names: list[str] = []
    pixels, made, start = [], [], 0
    digits = max(2, len(str(regions - 1)))
    for number in range(regions):
        rng = np.random.default_rng([seed, number])
        classes = np.sort(rng.permutation(len(IGBP_CLASSES))[: rng.integers(4, 9)])
        labels = np.repeat(np.arange(len(classes)), images_per_class)
        sources = _sources(labels)
        seen = _conditions(bands, rng)
        spectra = _spectra(classes[labels], sources, seen, rng)
        pixels.append(_patches(spectra, classes[labels], size, seen, rng))
        name = f"simulated_{number:0{digits}d}"
        class_names = tuple(IGBP_CLASSES[i] for i in classes)
        names += [f"{name}/{class_names[label]}/{i % images_per_class:03d}" for i, label in enumerate(labels)]
        images = np.arange(start, start + len(labels))
        made.append(Region(name, class_names, images, labels.astype(np.int64), sources.astype(np.int64)))
        start += len(labels)
    store = ArrayStore(names, np.concatenate(pixels), scale=1.0)
    return RegionSet("simulated land cover", store, tuple(made), IGBP_CLASSES)


def _sources(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number source patches of three images, never of two classes."""
    position = np.arange(len(labels)) - np.searchsorted(labels, labels)
    return labels * (len(labels) + 1) + position // _GROUP


def _conditions(bands: int, rng: np.random.Generator) -> _Conditions:
    """Draw one region's season, soil, local varieties, haze, light and textures."""
    place = np.linspace(0, 3, bands)
    infrared = np.clip(place - 2, 0, 1)
    # In the dry season the near infrared falls and the red rises.
    dry = rng.uniform(0.0, 1.0)
    season = (1 - 0.55 * dry * infrared) * (1 + 0.8 * dry * (1 - infrared))
    soil = np.interp(place, np.arange(4), _SOIL) * rng.uniform(0.5, 1.6) * (1 + 0.15 * rng.standard_normal(bands))
    local = np.exp(0.5 * rng.standard_normal((len(IGBP_CLASSES), bands)))
    haze = rng.uniform(0, 0.2) * np.exp(-place / 1.5)
    light = rng.uniform(0.6, 1.4) * (1 + 0.06 * rng.standard_normal(bands))
    roughness = _ROUGHNESS * np.exp(0.5 * rng.standard_normal(len(_ROUGHNESS)))
    return _Conditions(season, soil, local, haze, light, roughness)


def _spectra(
    kinds: npt.NDArray[np.int64], sources: npt.NDArray[np.int64], seen: _Conditions, rng: np.random.Generator
) -> FloatArray:
    """Return the mean spectrum [n, bands] of each image of class `kinds` [n] under a region's conditions."""
    bands = len(seen.haze)
    place = np.linspace(0, 3, bands)
    pure = np.stack([np.interp(place, np.arange(4), spectrum) for spectrum in _SIGNATURES])[kinds] * seen.local[kinds]
    green, bare = _GREENNESS[kinds, None], _BARENESS[kinds, None]
    _, group = np.unique(sources, return_inverse=True)
    # Neighbours share their soil cover and their variety; single images differ a little more.
    cover = np.clip(bare * (1 + 0.5 * rng.standard_normal((group.max() + 1, 1))[group]), 0, 1)
    variety = np.exp(0.38 * rng.standard_normal((group.max() + 1, bands))[group])
    single = np.exp(0.2 * rng.standard_normal((len(kinds), bands)))
    ground = (1 - cover) * pure * (1 + green * (seen.season - 1)) + cover * seen.soil
    return np.asarray(ground * variety * single * seen.light + seen.haze)


def _patches(
    spectra: FloatArray, kinds: npt.NDArray[np.int64], size: int, seen: _Conditions, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Paint patches [n, size, size, bands] with the texture of their class, and add sensor noise."""
    rough = rng.standard_normal((len(kinds), size, size, 1))
    for grain in np.unique(_GRAIN):
        chosen = np.flatnonzero(_GRAIN[kinds] == grain)
        coarse = -(-size // int(grain))
        fields = rng.standard_normal((len(chosen), coarse, coarse, 1))
        rough[chosen] = fields.repeat(grain, axis=1).repeat(grain, axis=2)[:, :size, :size]
    texture = np.exp(seen.roughness[kinds, None, None, None] * rough)
    noise = 0.01 * rng.standard_normal((len(kinds), size, size, spectra.shape[1]))
    return np.clip(spectra[:, None, None, :] * texture + noise, 0, 1).astype(np.float32)
