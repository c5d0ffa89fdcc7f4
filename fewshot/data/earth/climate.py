"""Places of the simulated Earth and their seasons: climate, people, weather and the sun."""

from dataclasses import dataclass

import numpy as np

from fewshot.data.earth.terrain import Relief

SEASONS = ("spring", "summer", "fall", "winter")
"""Of the northern half of the Earth everywhere, as SEN12MS names them: in the south, "winter" is the warm season."""


@dataclass(frozen=True)
class FieldPattern:
    """How the farmland of a place is cut up; lengths in pixels.

    Attributes:
        name: Of the pattern.
        block: Side of a block of parcels of one direction.
        width: Of a parcel.
        length: Of a parcel.
        turned: Whether every block has its own direction.
        circles: Share of blocks watered by a turning arm, and so round.
    """

    name: str
    block: float
    width: float
    length: float
    turned: bool = True
    circles: float = 0.0


PATTERNS = (
    FieldPattern("strips", 60, 6, 32),
    FieldPattern("smallholdings", 34, 4, 7),
    FieldPattern("enclosures", 48, 15, 22),
    FieldPattern("prairie", 80, 40, 80, turned=False),
    FieldPattern("irrigated", 80, 20, 40, turned=False, circles=0.6),
    FieldPattern("estates", 110, 34, 52),
)


@dataclass(frozen=True)
class Place:
    """What is the same at a place in every season.

    Attributes:
        number: Of the place, from 0.
        latitude: Degrees, south negative.
        temperature: Mean of the year at mid height, degrees Celsius.
        humidity: 0-1, from desert to rain forest.
        relief: Of the ground.
        people: 0-1, how much of the land is used.
        pattern: Of the fields.
    """

    number: int
    latitude: float
    temperature: float
    humidity: float
    relief: Relief
    people: float
    pattern: FieldPattern


@dataclass(frozen=True)
class Sight:
    """What a place is like in one season, and how it is seen then.

    Attributes:
        season: One of `SEASONS`.
        leaf: 0-1, leaves on deciduous trees.
        green: 0-1, how much of the herbs is green rather than dry.
        warmth: Degrees Celsius at mid height.
        time: Seasons since the local spring began, for the calendar of crops.
        sun: Direction to the sun: east, south, up.
        haze: Times the light that clear air adds.
        noise: The sensor's noise, standard deviation in reflectance.
    """

    season: str
    leaf: float
    green: float
    warmth: float
    time: float
    sun: tuple[float, float, float]
    haze: float
    noise: float


def rise(value: float, middle: float, width: float) -> float:
    """Return a smooth step.

    Args:
        value: Where on it.
        middle: Where it is one half; far below it is 0, far above it 1.
        width: Within which it rises.
    """
    return float(1 / (1 + np.exp(-np.clip((value - middle) / width, -30, 30))))


def draw_place(rng: np.random.Generator, number: int) -> Place:
    """Draw the climate, the relief and the people of a place."""
    latitude = rng.uniform(0, 66)
    temperature = 27.5 - 0.0072 * latitude**2 + 3 * rng.standard_normal()
    humidity = float(rng.beta(2.0, 1.5) * (1 - 0.5 * np.exp(-(((latitude - 24) / 9) ** 2))))
    metres = float(np.exp(rng.uniform(np.log(25), np.log(1600))))
    relief = Relief(
        metres=metres,
        dissection=rng.uniform(0.3, 1.0),
        sea=rng.uniform(0.08, 0.35) if rng.random() < 0.22 else 0.0,
        lakes=rng.uniform(0.01, 0.10) * float(rng.random() < 0.25 + 0.5 * humidity),
        rivers=float(np.clip(humidity * rng.uniform(0.5, 1.8), 0.1, 1.0)),
    )
    comfort = rise(temperature, 2, 3) * (0.45 + 0.55 * rise(humidity, 0.25, 0.08))
    people = float(np.clip(comfort * rng.beta(2.4, 1.3) * (1.1 - 0.3 * rise(metres, 700, 200)), 0.03, 1))
    fitting = np.array([1.0, 0.6 + (temperature > 18), 0.9, 0.7, 2.5 * (humidity < 0.4), 0.7])
    pattern = PATTERNS[int(rng.choice(len(PATTERNS), p=fitting / fitting.sum()))]
    half = -1 if rng.random() < 0.35 else 1
    return Place(number, half * latitude, temperature, humidity, relief, people, pattern)


def draw_sight(rng: np.random.Generator, place: Place, season: str) -> Sight:
    """Draw the weather and the light of a season at a place.

    Args:
        rng: Source of randomness.
        place: Which.
        season: One of `SEASONS`.
    """
    north = SEASONS.index(season)
    time = (north if place.latitude >= 0 else (north + 2) % 4) + rng.uniform(0.1, 0.9)
    warmth = place.temperature + (3 + 0.2 * abs(place.latitude)) * np.sin((time - 0.5) * np.pi / 2)
    damp = np.clip(place.humidity + 0.15 * rng.standard_normal(), 0, 1)
    if place.temperature > 19:  # a wet and a dry season instead of a warm and a cold one
        rain = 0.5 + 0.5 * np.sin(time * np.pi / 2 + 2.3 * place.number)
        leaf, green = 0.35 + 0.65 * max(damp, rain), damp * 0.5 + 0.55 * rain * min(2 * damp, 1)
    else:
        leaf = rise(warmth, 8.5, 1.8)
        drought = max(0.0, 0.75 - damp) * np.clip((warmth - 12) / 10, 0, 1)
        green = np.clip((warmth + 3) / 14, 0.15, 1) * (1 - 1.1 * drought)
    return Sight(
        season=season,
        leaf=float(np.clip(leaf, 0.02, 1)),
        green=float(np.clip(green, 0.03, 0.97)),
        warmth=float(warmth),
        time=float(time),
        sun=_sun(place.latitude, north + rng.uniform(0.1, 0.9)),
        haze=float(rng.uniform(0.75, 1.6)),
        noise=float(rng.uniform(0.0015, 0.004)),
    )


def choose_seasons(rng: np.random.Generator, place: Place) -> tuple[str, str]:
    """Return two seasons in which a place is seen, without frost where there are any."""
    order = [SEASONS[k] for k in rng.permutation(len(SEASONS))]
    warmth = {season: draw_sight(np.random.default_rng(0), place, season).warmth for season in SEASONS}
    order.sort(key=lambda season: warmth[season] < 4)
    return order[0], order[1]


def _sun(latitude: float, season: float) -> tuple[float, float, float]:
    """Return the direction to the sun at half past ten: east, south, up."""
    declination = np.radians(23.4) * np.sin(season * np.pi / 2)
    hour, at = np.radians(-22.5), np.radians(latitude)
    up = np.sin(at) * np.sin(declination) + np.cos(at) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    south = np.sin(at) * np.cos(declination) * np.cos(hour) - np.cos(at) * np.sin(declination)
    height = max(0.25, float(up))  # no scene is taken in the dark
    scale = np.sqrt((1 - height**2) / (east**2 + south**2))
    return float(scale * east), float(scale * south), height
