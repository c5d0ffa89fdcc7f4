"""Materials on the simulated ground: what each class is made of in each season, pixel by pixel."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fewshot.data.earth.climate import Sight
from fewshot.data.earth.landscape import Landscape
from fewshot.data.earth.people import HASHES
from fewshot.data.earth.terrain import Array, Field, Numbers, noise

MATERIALS = (
    *("conifer", "broadleaf", "grass", "crop", "dry", "scrub", "dark_soil", "light_soil", "rock"),
    *("asphalt", "bright_roof", "tiles", "clear_water", "turbid_water", "snow"),
)
"""What every pixel is a mixture of."""

VARIETIES = 4
"""Of each class, in one region."""

_FARMED = (10, 12, 13, 14)  # these change from parcel to parcel, the others over the land


@dataclass(frozen=True, eq=False)
class Ground:
    """What covers a place in one season.

    Attributes:
        shares: [materials, H, W] float32, summing to 1 over `MATERIALS`.
        bright: [H, W] float32, times the brightness that the materials have: texture and shade.
        variety: [H, W], which of its class's varieties grows there, 0 to `VARIETIES` - 1.
    """

    shares: Field
    bright: Field
    variety: Numbers


def cover_ground(rng: np.random.Generator, land: Landscape, sight: Sight) -> Ground:
    """Say what materials cover each pixel.

    Args:
        rng: Source of what belongs to the place: hand it over in the same state for every season.
        land: The place.
        sight: The season.
    """
    size = len(land.classes)
    painter = _Painter(rng, land, sight)
    for numbers, paint in painter.paints():
        at = np.flatnonzero(np.isin(land.classes, numbers).ravel())
        if len(at):
            paint(at)
    painter.let_snow_fall()
    shares = painter.shares / painter.shares.sum(axis=0)
    wild = np.clip(np.floor(VARIETIES / 2 + 1.3 * noise(rng, size, 35, 0.8)), 0, VARIETIES - 1).astype(np.int64)
    variety = np.where(np.isin(land.classes, _FARMED), land.parcels.parcel % VARIETIES, wild)
    return Ground(shares.reshape(-1, size, size), painter.bright.reshape(size, size), variety)


class _Painter:
    """Covers one class after another, on flat arrays: `shares` [materials, H*W] and `bright` [H*W].

    `fine`, `middle` and `broad` are textures of a few metres, of stands, and of soils; `tone` [4, HASHES] is what
    owners, builders and chance do to each parcel. Each method takes the pixels `at` [n] of its classes.
    """

    def __init__(self, rng: np.random.Generator, land: Landscape, sight: Sight) -> None:
        size = len(land.classes)
        self.land, self.sight, self.place = land, sight, land.place
        self.fine, self.middle, self.broad = (
            noise(rng, size, reach, rough).ravel() for reach, rough in ((1.2, 0.5), (6, 0.8), (45, 0.8))
        )
        self.tone = rng.standard_normal((4, HASHES)).astype(np.float32)
        self.soil, self.silt = rng.uniform(0.1, 0.9), rng.uniform(0.0, 0.9)
        # Each class has its own chance, so that no class depends on which others there are.
        self.crop_rng, self.town_rng = rng.spawn(2)
        self.classes, self.slope = land.classes.ravel(), land.terrain.slope.ravel()
        self.block, self.parcel = land.parcels.block.ravel(), land.parcels.parcel.ravel()
        self.shadow = 1 / (1 - 0.35 * (1 - sight.sun[2]))
        self.shares = np.zeros((len(MATERIALS), size * size), np.float32)
        self.bright = np.ones(size * size, np.float32)

    def paints(self) -> tuple[tuple[tuple[int, ...], Callable[[Numbers], None]], ...]:
        """Return the IGBP numbers and the method of each kind of cover."""
        return (
            ((1, 2, 3, 4, 5), self.forest),
            ((6, 7), self.shrubs),
            ((8, 9), self.savanna),
            ((10,), self.grass),
            ((11,), self.wetland),
            ((12, 14), self.crops),
            ((13,), self.town),
            ((15,), self.ice),
            ((16,), self.barren),
            ((17,), self.water),
        )

    def put(self, at: Numbers, **shares: Array | float) -> None:
        """Add shares of materials; negative ones count as none."""
        for name, share in shares.items():
            self.shares[MATERIALS.index(name), at] += np.maximum(share, 0)

    def put_soil(self, at: Numbers, share: Array | float, shift: Array | float = 0.0) -> None:
        """Add bare soil, light or dark as the region's soils are."""
        light = np.clip(self.soil + 0.22 * self.broad[at] + 0.1 * self.middle[at] + shift, 0, 1)
        self.put(at, light_soil=share * light, dark_soil=share * (1 - light))

    def put_herbs(self, at: Numbers, share: Array | float, green: Array | float) -> None:
        """Add herbs, partly green, partly dry."""
        green = np.clip(green, 0, 1)
        self.put(at, grass=share * green, dry=share * (1 - green))

    def put_trees(self, at: Numbers, share: Array | float) -> None:
        """Add single broad-leaved trees, bare twigs out of season."""
        self.put(at, broadleaf=share * self.sight.leaf, scrub=share * (1 - self.sight.leaf))

    def forest(self, at: Numbers) -> None:
        """Canopy with its shadows, in stands of several ages; bare deciduous trees show the ground."""
        kind = self.classes[at]
        needles = np.array([0, 0.95, 0, 0.95, 0.05, 0.5], np.float32)[kind] + (kind == 5) * 0.35 * self.middle[at]
        needles = np.clip(needles, 0, 1)
        leaf = np.where(np.isin(kind, (3, 4, 5)), self.sight.leaf, 1.0)
        leaf = np.where(kind == 5, needles + (1 - needles) * leaf, leaf)
        stand = self.tone[0][self.block[at]]
        young = np.where(stand > 1.1, 0.35, 0.0)
        leaves = leaf * np.clip(0.88 + 0.05 * self.broad[at] + 0.06 * self.fine[at] - young, 0.1, 1)
        self.put(at, conifer=leaves * needles, broadleaf=leaves * (1 - needles), dry=0.25 * (1 - leaves))
        self.put_herbs(at, 0.6 * (1 - leaves), self.sight.green)
        self.put_soil(at, 0.15 * (1 - leaves))
        depth = (0.10 + 0.05 * needles) * self.shadow
        self.bright[at] = 1 - 0.12 * needles + depth * self.fine[at] + 0.05 * self.middle[at] + 0.05 * stand

    def shrubs(self, at: Numbers) -> None:
        """Clumps of scrub on herbs and soil."""
        dense = np.where(self.classes[at] == 6, 0.6, 0.35)
        scrub = np.clip(dense + 0.16 * self.fine[at] + 0.14 * self.middle[at] + 0.06 * self.broad[at], 0.02, 0.95)
        bare = np.clip(0.75 - 0.8 * self.place.humidity + 0.1 * self.broad[at], 0.05, 0.9)
        self.put(at, scrub=scrub)
        self.put_herbs(at, (1 - scrub) * (1 - bare), self.sight.green)
        self.put_soil(at, (1 - scrub) * bare)
        self.bright[at] = 1 + 0.06 * self.fine[at]

    def savanna(self, at: Numbers) -> None:
        """Single trees and groves over grass."""
        dense = np.where(self.classes[at] == 8, 0.42, 0.2)
        trees = np.clip(dense + 0.22 * self.fine[at] + 0.1 * self.middle[at], 0.0, 0.9)
        cold = float(self.place.temperature < 6)
        self.put(at, conifer=trees * cold)
        self.put_trees(at, trees * (1 - cold))
        self.put_herbs(at, (1 - trees) * 0.85, self.sight.green + 0.1 * self.broad[at])
        self.put_soil(at, (1 - trees) * 0.15)
        self.bright[at] = 1 - 0.15 * trees * self.shadow + 0.03 * self.fine[at]

    def grass(self, at: Numbers) -> None:
        """Meadows and steppe, mown or grazed parcel by parcel where they are farmed."""
        used = 0.12 * min(2 * self.place.people, 1)
        green = self.sight.green + 0.08 * self.broad[at] + 0.05 * self.middle[at] + used * self.tone[1][self.parcel[at]]
        bare = np.clip(0.3 - 0.4 * self.place.humidity + 0.05 * self.middle[at], 0.02, 0.5)
        trees = np.clip(0.08 * (self.fine[at] + 0.5 * self.middle[at] - 1.6), 0, 0.3)
        self.put_trees(at, trees)
        self.put_herbs(at, (1 - bare) * (1 - trees), green)
        self.put_soil(at, bare * (1 - trees))
        self.bright[at] = 1 + 0.03 * self.fine[at] + 0.03 * self.middle[at]

    def wetland(self, at: Numbers) -> None:
        """Reeds and bog with open water between."""
        pools = np.clip(0.22 + 0.16 * self.middle[at] + 0.05 * self.fine[at] + 0.05 * self.broad[at], 0.02, 0.8)
        bushes = np.clip(0.12 + 0.12 * self.broad[at], 0, 0.4)
        self.put(at, clear_water=0.6 * pools, turbid_water=0.4 * pools)
        self.put(at, scrub=(1 - pools) * bushes, dark_soil=(1 - pools) * 0.15)
        self.put_herbs(at, (1 - pools) * (0.85 - bushes), self.sight.green + 0.12 * self.broad[at])
        self.bright[at] = 0.9 + 0.04 * self.fine[at]

    def crops(self, at: Numbers) -> None:
        """Parcels of several crops, each with its own calendar; orchards in rows, hedges, trees in mosaics."""
        growing, ripe, orchard = self._calendar()
        parcel = self.parcel[at]
        green = np.clip(growing[parcel] + 0.05 * self.middle[at] + 0.06 * self.broad[at], 0, 1)
        dry = np.clip(ripe[parcel] + 0.03 * self.middle[at], 0, 1) * (1 - green)
        rows = 0.5 * np.sin(2.1 * self.land.parcels.across.ravel()[at])
        trees = orchard[parcel] * np.clip(0.4 + 0.25 * rows + 0.05 * self.fine[at], 0, 1)
        trees += (self.classes[at] == 14) * np.clip(0.25 + 0.25 * self.middle[at] + 0.1 * self.fine[at], 0, 0.9)
        # Hedges stand between parcels, more of them where it is moist.
        trees += 0.3 * self.land.parcels.edge.ravel()[at] * (self.tone[0][parcel] > 1.6 - 2.2 * self.place.humidity)
        trees = np.clip(trees, 0, 0.95)
        self.put_trees(at, trees)
        self.put(at, crop=(1 - trees) * green, dry=(1 - trees) * dry)
        shift = 0.12 * self.tone[3][parcel] + 0.05 * rows * (green < 0.3)
        self.put_soil(at, (1 - trees) * (1 - green - dry), shift)
        self.bright[at] = 1 + 0.05 * self.tone[0][parcel] + 0.02 * self.fine[at]

    def _calendar(self) -> tuple[Array, Array, Array]:
        """Return how green and how ripe each parcel is now [HASHES], 0-1, and whether trees grow on it."""
        rng, kinds, warm = self.crop_rng, 5, self.place.temperature > 19
        sown = rng.uniform(-0.6, 0.8, kinds) + warm * rng.uniform(0, 4, kinds)
        kind = rng.choice(kinds, HASHES, p=rng.dirichlet(np.full(kinds, 0.8)))
        age = (self.sight.time - sown[kind] + 0.25 * self.tone[2]) % 4
        growing = np.interp(age, [0, 0.5, 1.0, 1.7, 2.1, 4], [0.0, 0.35, 0.95, 0.9, 0.1, 0.0])
        growing *= np.clip(0.85 + 0.15 * self.tone[1], 0.3, 1) * np.clip((self.sight.warmth + 2) / 9, 0.1, 1)
        ripe = np.interp(age, [1.4, 1.9, 2.3, 3.2, 4], [0.0, 0.8, 0.55, 0.2, 0.1]) * (1 - growing)
        return growing, ripe, rng.random(HASHES) < 0.15 * rng.random()

    def town(self, at: Numbers) -> None:
        """Streets, roofs and gardens; large roofs in some quarters."""
        across, along = self.land.parcels.across.ravel()[at], self.land.parcels.along.ravel()[at]
        large = self.broad[at] > 1.0
        side = np.where(large, 9.0, 3.0)
        lot = np.floor(across / side) * 31 + np.floor(along / side) * 57 + self.block[at] * 13
        house = lot.astype(np.int64) % HASHES
        pitch = 7 + 6 * np.abs(self.tone[1][self.block[at]])
        street = ((across % pitch) < 1) | ((along % (1.6 * pitch)) < 1) | self.land.roads.ravel()[at]
        gardens = 1.15 - self.land.built.ravel()[at] + 0.18 * self.middle[at] + 0.12 * self.tone[2][house]
        gardens = np.clip(gardens, 0.03, 0.8) * np.where(street | large, 0.15, 1.0)
        roofs = self.town_rng.dirichlet((1.2, 1.2, 1.2), HASHES) * self.town_rng.dirichlet((3, 2, 2))
        roofs = (roofs / roofs.sum(axis=1, keepdims=True))[house]
        roofs[large] = 0.3, 0.7, 0.0
        roofs[street] = 0.9, 0.1, 0.0
        asphalt, bright, tiles = (1 - gardens) * roofs.T
        self.put(at, asphalt=asphalt, bright_roof=bright, tiles=tiles)
        trees = np.clip(0.4 + 0.2 * self.fine[at], 0, 1) * min(1.0, 0.3 + self.place.humidity) * self.sight.leaf
        self.put(at, broadleaf=gardens * trees)
        self.put_herbs(at, gardens * (1 - trees) * 0.8, self.sight.green)
        self.put_soil(at, gardens * 0.2)
        self.bright[at] = np.clip(0.95 + 0.16 * self.tone[3][house] + 0.06 * self.fine[at], 0.4, 1.6)

    def ice(self, at: Numbers) -> None:
        """Old and fresh snow, with rock where it is steep."""
        rock = np.clip(2.2 * self.slope[at] - 0.7 + 0.15 * self.middle[at], 0, 0.8)
        self.put(at, snow=1 - rock, rock=rock)
        self.bright[at] = 0.92 + 0.04 * self.broad[at] + 0.02 * self.middle[at]

    def barren(self, at: Numbers) -> None:
        """Rock where it is steep, gravel, sand and dunes where it is not."""
        rock = np.clip(2.5 * self.slope[at] + 0.15 + 0.2 * self.broad[at], 0, 1)
        rows, columns = np.divmod(at, len(self.land.classes))
        waves = np.sin(rows * 0.45 + columns * 0.2 + 2.2 * self.middle[at] + 5 * self.broad[at])
        dunes = waves * (self.place.humidity < 0.25) * (1 - rock)
        herbs = np.clip(0.06 + 0.05 * self.middle[at], 0, 0.3)
        self.put(at, rock=(1 - herbs) * rock)
        self.put_soil(at, (1 - herbs) * (1 - rock), 0.15)
        self.put_herbs(at, herbs, self.sight.green)
        self.bright[at] = 1 + 0.07 * dunes + 0.04 * self.fine[at] + 0.05 * self.middle[at]

    def water(self, at: Numbers) -> None:
        """Clear, or turbid near the shore and where the region's rivers carry silt."""
        depth = -self.land.terrain.shore.ravel()[at]
        turbid = np.clip(self.silt + 0.15 * self.broad[at] + 0.35 * np.exp(-depth / 4) - 0.2, 0, 1)
        weeds = np.clip(0.1 * np.exp(-depth / 2) + 0.03 * self.middle[at], 0, 0.3) * self.sight.green
        self.put(at, turbid_water=(1 - weeds) * turbid, clear_water=(1 - weeds) * (1 - turbid), grass=weeds)

    def let_snow_fall(self) -> None:
        """Let snow lie where it is cold: on open land, less under trees, as ice on lakes in hard frost."""
        terrain = self.land.terrain
        warmth = self.sight.warmth - 0.0065 * (terrain.height - terrain.height.mean()).ravel() + 0.8 * self.broad
        warmth += 3 * terrain.southness.ravel() * np.sign(self.place.latitude)
        table = np.ones(18, np.float32)
        table[1:6], table[13], table[17] = 0.3, 0.55, 0.0
        lying = np.clip((-warmth - 1.5) / 7, 0, 0.6) * (1 + 0.25 * self.middle) * table[self.classes]
        frozen = np.clip((-warmth - 5) / 8, 0, 0.6) * (self.classes == 17)
        share = np.clip(lying + frozen, 0, 0.9).astype(np.float32)
        if share.max() > 0:
            self.shares *= (1 - share) / self.shares.sum(axis=0)
            self.shares[MATERIALS.index("snow")] += share
