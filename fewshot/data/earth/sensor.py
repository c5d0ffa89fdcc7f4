"""How the simulated Earth looks from above: reflectance, light and haze, radar, and two imperfect sensors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fewshot.data.earth.climate import Sight
from fewshot.data.earth.ground import MATERIALS, VARIETIES, Ground
from fewshot.data.earth.landscape import Landscape
from fewshot.data.earth.terrain import PIXEL, Array, Field, noise

OPTICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
RADAR = ("VV", "VH")

_METRES = dict(zip(OPTICAL, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20), strict=True))
_NANOMETRES = np.array([443, 490, 560, 665, 705, 740, 783, 842, 865, 940, 1375, 1610, 2190])
# What clear air adds, and what it lets through: water vapour takes half of B9 and nearly all of B10.
_PATH = (0.105, 0.075, 0.042, 0.023, 0.018, 0.015, 0.012, 0.010, 0.009, 0.006, 0.001, 0.002, 0.001)
_THROUGH = (0.80, 0.84, 0.88, 0.91, 0.92, 0.93, 0.94, 0.95, 0.95, 0.45, 0.01, 0.95, 0.93)

# Reflectance 0-1 of each pure material in the bands of OPTICAL. Invented but plausible.
_REFLECTANCE = {
    "conifer": (0.015, 0.020, 0.040, 0.022, 0.060, 0.170, 0.200, 0.220, 0.230, 0.230, 0.150, 0.100, 0.045),
    "broadleaf": (0.020, 0.025, 0.060, 0.030, 0.100, 0.300, 0.380, 0.410, 0.430, 0.430, 0.280, 0.200, 0.090),
    "grass": (0.030, 0.040, 0.085, 0.055, 0.130, 0.270, 0.320, 0.350, 0.370, 0.370, 0.280, 0.250, 0.140),
    "crop": (0.025, 0.035, 0.080, 0.040, 0.120, 0.340, 0.430, 0.460, 0.480, 0.480, 0.300, 0.220, 0.110),
    "dry": (0.060, 0.080, 0.130, 0.180, 0.210, 0.240, 0.260, 0.280, 0.300, 0.310, 0.330, 0.350, 0.260),
    "scrub": (0.030, 0.040, 0.070, 0.065, 0.100, 0.170, 0.200, 0.220, 0.240, 0.240, 0.220, 0.220, 0.140),
    "dark_soil": (0.050, 0.060, 0.085, 0.110, 0.130, 0.140, 0.155, 0.170, 0.180, 0.190, 0.200, 0.250, 0.220),
    "light_soil": (0.100, 0.130, 0.190, 0.260, 0.290, 0.310, 0.330, 0.350, 0.360, 0.370, 0.400, 0.450, 0.400),
    "rock": (0.100, 0.120, 0.150, 0.175, 0.190, 0.200, 0.210, 0.220, 0.225, 0.230, 0.240, 0.270, 0.250),
    "asphalt": (0.070, 0.080, 0.090, 0.100, 0.110, 0.115, 0.120, 0.130, 0.135, 0.140, 0.140, 0.160, 0.150),
    "bright_roof": (0.220, 0.250, 0.290, 0.310, 0.320, 0.330, 0.340, 0.350, 0.350, 0.350, 0.330, 0.340, 0.310),
    "tiles": (0.070, 0.090, 0.130, 0.220, 0.250, 0.260, 0.270, 0.280, 0.290, 0.290, 0.300, 0.340, 0.300),
    "clear_water": (0.025, 0.025, 0.025, 0.012, 0.010, 0.008, 0.007, 0.006, 0.006, 0.005, 0.003, 0.002, 0.001),
    "turbid_water": (0.060, 0.075, 0.110, 0.100, 0.090, 0.050, 0.045, 0.035, 0.030, 0.020, 0.008, 0.006, 0.004),
    "snow": (0.850, 0.880, 0.870, 0.860, 0.850, 0.830, 0.800, 0.760, 0.740, 0.660, 0.200, 0.110, 0.090),
}
# Backscatter in dB, VV and VH.
_BACKSCATTER = {
    **{"conifer": (-8, -14), "broadleaf": (-8, -13.5), "grass": (-12, -19), "crop": (-10.5, -16.5)},
    **{"dry": (-12.5, -20), "scrub": (-10.5, -16.5), "dark_soil": (-11, -21), "light_soil": (-14, -24)},
    **{"rock": (-11, -20), "asphalt": (-13, -22), "bright_roof": (-1, -9), "tiles": (-3, -10.5)},
    **{"clear_water": (-21, -29), "turbid_water": (-20, -28), "snow": (-13, -21)},
}
# Natural logarithm, standard deviation from place to place.
_SPREAD = {"dark_soil": 0.24, "light_soil": 0.24, "rock": 0.24, "snow": 0.03}
_USUAL_SPREAD = 0.16
_OPEN_WATER = np.isin(MATERIALS, ("clear_water", "turbid_water"))
_SOAKED = np.isin(MATERIALS, ("dark_soil", "light_soil", "dry", "grass"))


@dataclass(frozen=True, eq=False)
class Spectra:
    """How the materials and varieties of one place differ from those of all others.

    Attributes:
        reflectance: [materials, 13], of the place's materials.
        gains: [18, varieties, 13], times the reflectance, of each IGBP class's varieties.
        backscatter: [materials, 2] dB.
    """

    reflectance: Array
    gains: Array
    backscatter: Array


def draw_spectra(rng: np.random.Generator) -> Spectra:
    """Draw what plants, soils, rocks and roofs of a place look like."""
    spread = np.array([_SPREAD.get(name, _USUAL_SPREAD) for name in MATERIALS])
    pure = np.array([_REFLECTANCE[name] for name in MATERIALS])
    reflectance = pure * np.exp(spread[:, np.newaxis] * spectral_noise(rng, len(MATERIALS)))
    local = 0.15 * spectral_noise(rng, 18)[:, np.newaxis]
    varieties = 0.10 * spectral_noise(rng, 18, VARIETIES)
    varied = np.ones((18, 1, 1))
    varied[15], varied[17] = 0.3, 0.5
    backscatter = np.array([_BACKSCATTER[name] for name in MATERIALS])
    backscatter = backscatter + 1.2 * rng.standard_normal(backscatter.shape)
    return Spectra(reflectance, np.exp(varied * (local + varieties)), backscatter)


def spectral_noise(rng: np.random.Generator, *shape: int) -> Array:
    """Draw deviations [*shape, 13] of standard deviation 1: brightness, and a tint that changes slowly by band."""
    gaps = np.abs(np.log(_NANOMETRES[:, np.newaxis] / _NANOMETRES))
    mixing = np.exp(-0.5 * (gaps / 0.42) ** 2) + 0.1 * np.eye(len(OPTICAL))
    mixing /= np.sqrt((mixing**2).sum(axis=0))
    tint = (rng.standard_normal((*shape, len(OPTICAL), 1)) * mixing).sum(axis=-2)
    return np.asarray(0.6 * tint + 0.8 * rng.standard_normal((*shape, 1)))


def see_optical(
    rng: np.random.Generator, scene: tuple[Landscape, Ground, Sight, Spectra], bands: tuple[str, ...]
) -> npt.NDArray[np.uint16]:
    """Take the picture.

    Args:
        rng: Source of the season's air and the sensor's noise.
        scene: The place, what covers it, the season, and the spectra of the place.
        bands: Of `OPTICAL`, in any order; a band does not depend on which others are taken.

    Returns:
        [H, W, bands] uint16, reflectance at the top of the atmosphere x 10^4, at least 1.
    """
    land, ground, sight, spectra = scene
    size = len(land.classes)
    light = _light(land, sight) * np.clip(ground.bright, 0.2, 2)
    air = np.float32(sight.haze) * (1 + np.float32(0.06) * noise(rng, size, 0.4 * size, 1.5))
    kind = land.classes.astype(np.int64) * VARIETIES + ground.variety
    sensors = rng.spawn(len(OPTICAL))
    image = np.empty((size, size, len(bands)), np.uint16)
    for position, name in enumerate(bands):
        number = OPTICAL.index(name)
        band = np.zeros((size, size), np.float32)
        for share, value in zip(ground.shares, spectra.reflectance[:, number], strict=True):
            band += share * np.float32(value)
        band *= spectra.gains[:, :, number].ravel().astype(np.float32)[kind] * light
        band *= np.clip(1 - np.float32(1 - _THROUGH[number]) * air, 0.01, 1)
        band += np.float32(_PATH[number]) * air
        band = _resolve(band, round(_METRES[name] / PIXEL), sensors[number], sight.noise)
        image[..., position] = np.clip(np.rint(band * 1e4), 1, 65535)
    return image


def _light(land: Landscape, sight: Sight) -> Field:
    """Return how brightly the sun lights each slope, times the light on level ground."""
    terrain, (east, south, up) = land.terrain, sight.sun
    facing = (east * terrain.eastness + south * terrain.southness + up) / np.sqrt(1 + terrain.slope**2)
    return np.asarray(np.clip((np.maximum(facing, 0) + 0.2) / (up + 0.2), 0.15, 1.7), np.float32)


def _resolve(band: Field, step: int, rng: np.random.Generator, grain: float) -> Field:
    """Blur by the optics, average to the band's own pixels, add noise, and repeat them as the published data do."""
    size = len(band)
    count = -(-size // step)
    sharp = ndimage.gaussian_filter(band, 0.55 * step**0.5, mode="nearest", truncate=3)
    whole = np.pad(sharp, (0, count * step - size), mode="edge")
    own = whole.reshape(count, step, count, step).mean(axis=(1, 3))
    own = own + np.float32(grain) * rng.standard_normal(own.shape, dtype=np.float32) * (0.4 + np.sqrt(own))
    return np.asarray(own.repeat(step, axis=0).repeat(step, axis=1)[:size, :size], np.float32)


def see_radar(rng: np.random.Generator, land: Landscape, ground: Ground, spectra: Spectra) -> npt.NDArray[np.float32]:
    """Take the radar picture.

    Args:
        rng: Source of wind, rain and speckle.
        land: The place.
        ground: What covers it.
        spectra: Of the place.

    Returns:
        [H, W, 2] float32, backscatter in dB of VV and VH, with speckle.
    """
    size = len(land.classes)
    wind = _OPEN_WATER[:, np.newaxis] * (rng.uniform(0, 7), rng.uniform(0, 2))
    rain = _SOAKED[:, np.newaxis] * rng.normal(0, 1.2)
    power = (10 ** ((spectra.backscatter + wind + rain) / 10)).astype(np.float32)
    slope = np.clip(1 + 1.6 * rng.choice((-1.0, 1.0)) * land.terrain.eastness, 0.15, 4).astype(np.float32)
    image = np.empty((size, size, 2), np.float32)
    for number in range(2):
        echo = np.zeros((size, size), np.float32)
        for share, value in zip(ground.shares, power[:, number], strict=True):
            echo += share * value
        # Corners of houses send back very much here, very little there.
        corners = np.where(land.classes == 13, rng.gamma(0.7, 1 / 0.7, (size, size)), 1).astype(np.float32)
        speckle = rng.gamma(2.2, 1 / 2.2, (size, size)).astype(np.float32)
        echo *= slope * ndimage.gaussian_filter(corners, 0.6) * ndimage.gaussian_filter(speckle, 0.5)
        # Steps of 1/64 dB are far below the speckle, and make files of half the size.
        image[..., number] = np.rint(10 * np.log10(echo + np.float32(10**-3.2)) * 64) / 64
    return image
