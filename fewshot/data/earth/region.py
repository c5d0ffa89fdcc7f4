"""One region of the simulated Earth: a place in a season, as simulated sensors see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fewshot.data.earth.climate import Place, choose_seasons, draw_place, draw_sight
from fewshot.data.earth.ground import cover_ground
from fewshot.data.earth.landscape import draw_landscape
from fewshot.data.earth.sensor import OPTICAL, draw_spectra, see_optical, see_radar
from fewshot.data.earth.terrain import COARSE, PIXEL
from fewshot.errors import TaskError
from fewshot.geo.grid import Grid


@dataclass(frozen=True, eq=False)
class SimulatedRegion:
    """A place in a season, as simulated sensors see it.

    Attributes:
        name: Season and place, e.g. "summer_7".
        place: The same for all seasons of a place, e.g. "7".
        season: Of `fewshot.data.earth.climate.SEASONS`.
        classes: [H, W] uint8, the exact IGBP number, 1-17, of every pixel.
        materials: [H, W] uint8, which of `fewshot.data.earth.ground.MATERIALS` covers most of each pixel.
        optical: [H, W, bands] uint16, reflectance at the top of the atmosphere x 10^4.
        radar: [H, W, 2] float32, VV and VH in dB; None where it was not asked for.
        bands: Names of the optical bands, in order.
        grid: Where it would lie on the Earth: 10 m pixels in a UTM zone.
    """

    name: str
    place: str
    season: str
    classes: npt.NDArray[np.uint8]
    materials: npt.NDArray[np.uint8]
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
        materials=ground.shares.argmax(axis=0).astype(np.uint8),
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
