"""What covers the simulated Earth: natural cover by climate and ground, farmland, towns, roads and water."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fewshot.data.earth.climate import Place, rise
from fewshot.data.earth.people import HASHES, Parcels, build_towns, cut_parcels, lay_roads, place_towns
from fewshot.data.earth.terrain import Array, Field, Mask, Numbers, Terrain, noise, scaled, shape_terrain, top

GRASSLAND, WETLAND, CROPLAND, URBAN, MOSAIC, SNOW, BARREN, WATER = 10, 11, 12, 13, 14, 15, 16, 17
"""IGBP numbers; 1-5 are forests, 6 and 7 shrublands, 8 and 9 savannas."""

Classes = npt.NDArray[np.uint8]

# How much each natural cover takes to wet, to high and cold, to steep, and to low-lying ground.
_AFFINITY = {
    "forest": (0.9, -0.4, 0.4, 0.0),
    "savanna": (-0.2, -0.3, 0.0, 0.0),
    "shrubland": (-0.6, 0.3, 0.3, 0.0),
    "grassland": (0.2, 0.2, -0.3, 0.1),
    "wetland": (0.6, -0.4, -0.8, 2.2),
    "barren": (-0.9, 0.9, 0.7, 0.0),
    "snow": (0.1, 2.6, -0.3, -0.3),
}


@dataclass(frozen=True, eq=False)
class Landscape:
    """A place before anyone looks at it; maps are [H, W].

    Attributes:
        place: Climate and people.
        terrain: Ground and water.
        classes: IGBP numbers, exact: what is drawn is what the label says.
        parcels: How the land is cut up.
        built: 0-1, density of building.
        roads: Roads between towns.
    """

    place: Place
    terrain: Terrain
    classes: Classes
    parcels: Parcels
    built: Field
    roads: Mask


def draw_landscape(rng: np.random.Generator, size: int, place: Place) -> Landscape:
    """Lay out a place: ground, natural cover, fields, towns and roads.

    Args:
        rng: Source of randomness.
        size: Rows and columns, a multiple of 8.
        place: Its climate and people.
    """
    terrain = shape_terrain(rng, size, place.relief)
    wet = scaled(noise(rng, size, 70, 0.8) - 0.6 * np.minimum(terrain.drop / 30, 2) - 4 * terrain.slope)
    natural = _natural_cover(rng, terrain, place, wet)
    parcels = cut_parcels(rng, terrain, place.pattern)
    towns, reaches = place_towns(rng, terrain, place)
    roads = lay_roads(rng, terrain, towns)
    built = build_towns(rng, towns, reaches, roads)
    farmed = _farmed(rng, natural, (terrain, parcels, wet), place)
    classes = _farmland(rng, natural, farmed, parcels, place)
    classes[((built > 0.5) & (terrain.slope < 0.35)) | roads] = URBAN
    classes[terrain.water & ~roads] = WATER
    return Landscape(place, terrain, classes, parcels, built, roads)


def natural_shares(rng: np.random.Generator, place: Place) -> npt.NDArray[np.float64]:
    """Return how much of the wild land each natural cover takes [7], by the climate and by chance."""
    warm, moist = place.temperature, place.humidity
    mountains = rise(place.relief.metres, 600, 150)

    def around(middle: float, width: float) -> float:
        return float(np.exp(-(((moist - middle) / width) ** 2)))

    weights = np.array(
        [
            1.6 * rise(moist, 0.40, 0.07) * rise(warm, -3, 1.5),
            0.9 * rise(warm, 12, 3) * around(0.42, 0.18) + 0.25 * rise(moist, 0.3, 0.1),
            0.8 * around(0.25, 0.14) + 0.5 * rise(-warm, -3, 2),
            0.4 + 0.4 * around(0.42, 0.2),
            0.35 * rise(moist, 0.45, 0.06) * (1 - 0.7 * mountains),
            1.8 * rise(-moist, -0.18, 0.04) + 0.3 * mountains + 0.15 * rise(-warm, 0, 3),
            0.7 * rise(-warm, -2, 2) * (0.3 + mountains) + 0.4 * mountains * rise(-warm, -9, 3),
        ]
    )
    weights *= np.exp(0.7 * rng.standard_normal(len(weights)))
    weights[weights < 0.09 * weights.sum()] = 0
    return np.asarray(weights / weights.sum())


def _natural_cover(rng: np.random.Generator, terrain: Terrain, place: Place, wet: Field) -> Classes:
    """Return the IGBP numbers [H, W] of what would grow without people."""
    size, metres = len(wet), place.relief.metres
    shares = natural_shares(rng, place)
    cold = scaled(terrain.height) * min(1.0, metres / 250) - 0.3 * scaled(terrain.southness) * np.sign(place.latitude)
    steep = scaled(np.minimum(terrain.slope, 0.8)) * min(1.0, metres / 300)
    low = -scaled(np.log(terrain.drop + 0.01 * metres + 0.3))
    fine = noise(rng, size, 9, 0.6)
    kinds = np.flatnonzero(shares)
    likes = np.array(list(_AFFINITY.values()), np.float32)
    scores = np.empty((len(kinds), size, size), np.float32)
    for order, kind in enumerate(kinds):
        scores[order] = 0.9 * noise(rng, size, rng.uniform(18, 60), 1.0)
        scores[order] += np.float32(0.35) * np.roll(fine, 97 * order, axis=order % 2)
        for like, axis in zip(likes[kind], (wet, cold, steep, low), strict=True):
            scores[order] += like * axis
    thin = scores[:, 3::8, 3::8].reshape(len(kinds), -1)
    bias = np.zeros(len(kinds), np.float32)
    for _ in range(40):  # until each cover takes its share
        taken = np.bincount(np.argmax(thin + bias[:, np.newaxis], axis=0), minlength=len(kinds)) / thin.shape[1]
        bias += (0.5 * np.log((shares[kinds] + 0.01) / (taken + 0.01))).astype(np.float32)
    cover = kinds[np.argmax(scores + bias[:, np.newaxis, np.newaxis], axis=0)]
    return _subdivide(rng, cover, place, wet, cold)


def _subdivide(rng: np.random.Generator, cover: Numbers, place: Place, wet: Field, cold: Array) -> Classes:
    """Tell the IGBP classes of a cover apart: forests by climate and height, the others by how dry it is."""
    warm, moist = place.temperature, place.humidity
    if warm > 17:
        forests = (2, 2) if moist > 0.6 else (2, 4)
    elif warm > 7:
        forests = ((4, 5), (4, 1), (5, 1), (4, 4))[rng.integers(4)]
    else:
        forests = ((1, 1), (5, 1), (3, 3), (1, 3))[rng.integers(4)]
    upper = cold + 0.6 * noise(rng, len(cover), 25, 1) > rng.uniform(-0.6, 0.8)
    pairs = (forests, (8, 9), (6, 7), (GRASSLAND,) * 2, (WETLAND,) * 2, (BARREN,) * 2, (SNOW,) * 2)
    return np.asarray(np.array(pairs, np.uint8)[cover, np.where(cover == 0, upper, wet < 0).astype(np.int64)])


def _farmed(rng: np.random.Generator, natural: Classes, land: tuple[Terrain, Parcels, Field], place: Place) -> Mask:
    """Return where people farm: gentle, moist ground that can be reached, for the most part in whole parcels."""
    terrain, parcels, wet = land
    fit = -8 * np.minimum(terrain.slope, 0.5) + 0.25 * wet + 0.6 * noise(rng, len(wet), 90, 1.2)
    fit -= 1.5 * (natural == SNOW) + 0.5 * (natural == WETLAND) + 0.4 * (natural == BARREN)
    if place.humidity < 0.3:  # dry land is farmed where it can be watered
        fit -= np.minimum(terrain.drop, 40) / 25
    fit = ndimage.gaussian_filter(fit, 3)
    # Owners differ: the border of the farmland follows those of blocks and parcels rather than the ground alone.
    fit += (0.35 * rng.standard_normal(HASHES))[parcels.block] + (0.25 * rng.standard_normal(HASHES))[parcels.parcel]
    return top(fit, 0.78 * place.people)


def _farmland(rng: np.random.Generator, natural: Classes, farmed: Mask, parcels: Parcels, place: Place) -> Classes:
    """Put fields, pastures and woodlots where people farm, a whole parcel each."""
    chance = rng.random(HASHES)[parcels.parcel]
    pasture = 0.25 * rng.random() * (place.humidity > 0.3)
    woodlot = 0.12 * rng.random() * (place.humidity > 0.4)
    mixed = place.pattern.name == "smallholdings" or rng.random() < 0.2
    mosaic = mixed & (noise(rng, len(natural), 50, 1) > 0.3)
    classes = natural.copy()
    classes[farmed] = np.where(mosaic, MOSAIC, CROPLAND)[farmed]
    classes[farmed & (chance < pasture)] = GRASSLAND
    kept = farmed & (chance > 1 - woodlot) & np.isin(natural, (1, 2, 3, 4, 5, 8))
    classes[kept] = natural[kept]
    return classes
