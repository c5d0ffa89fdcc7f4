"""Sensors that people map with: their bands, in the orders that files without names have them in.

Centres and full widths at half maximum, in nm, are of the sensors' own documents: the Landsat data users handbooks and
spectral characteristics viewer (USGS), Sentinel-2's spectral responses (ESA, COPE-GSEG-EOPG-TN-15-0007; those of A),
MODIS's specifications (NASA), PlanetScope's product specification (Planet), the data sheet of the ADS80 camera (Leica)
for NAIP. Aerial cameras differ; theirs are round numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fewshot.errors import RecipeError
from fewshot.geo.spectrum import Spectrum


@dataclass(frozen=True)
class Sensor:
    """One sensor.

    Attributes:
        name: As `--sensor` takes it.
        bands: Centre and width of each band, nm, by its name.
        orders: Which bands files without names have; known by their number.
    """

    name: str
    bands: Mapping[str, tuple[float, float]]
    orders: tuple[tuple[str, ...], ...]

    def named(self, name: str) -> Spectrum | None:
        """Return a band of the sensor."""
        if name not in self.bands:
            return None
        return Spectrum(name, *self.bands[name], self.name)

    def in_order(self, count: int) -> tuple[Spectrum, ...] | None:
        """Return the bands of a file of so many without names, None where they may be any."""
        order = next((order for order in self.orders if len(order) == count), ())
        return tuple(Spectrum(name, *self.bands[name], self.name) for name in order) or None


def _names(text: str) -> tuple[str, ...]:
    return tuple(f"B{number}" for number in text.split())


_TM = {"B1": (485, 70), "B2": (560, 80), "B3": (660, 60), "B4": (830, 140), "B5": (1650, 200), "B7": (2215, 270)}
_TM_BANDS = {**_TM, "B6": (11450.0, 2100.0)}
_TM_ORDERS = (_names("1 2 3 4 5 7"), _names("1 2 3 4 5 6 7"))
_ETM = {"B1": (478, 73), "B2": (560, 82), "B3": (661, 61), "B4": (835, 126), "B5": (1648, 202), "B7": (2205, 281)}
_ETM_BANDS = {**_ETM, "B6": (11450, 2100), "B6_VCID_1": (11450, 2100), "B6_VCID_2": (11450, 2100), "B8": (706, 381)}
_ETM_ORDERS = (*_TM_ORDERS, _names("1 2 3 4 5 6 7 8"), _names("1 2 3 4 5 6_VCID_1 6_VCID_2 7 8"))
_OLI = {"B1": (443, 16), "B2": (482, 60), "B3": (561, 57), "B4": (655, 37), "B5": (865, 28), "B6": (1609, 85)}
_OLI_BANDS = {**_OLI, "B7": (2201, 187), "B8": (590, 172), "B9": (1373, 20), "B10": (10895, 590), "B11": (12005, 1010)}
_OLI_ORDERS = (
    *(_names("2 3 4 5 6 7"), _names("1 2 3 4 5 6 7")),  # surface reflectance
    *(_names("1 2 3 4 5 6 7 10 11"), _names("1 2 3 4 5 6 7 8 9 10 11")),
)
_MSI = {"B1": (443, 21), "B2": (492, 66), "B3": (560, 36), "B4": (665, 31), "B5": (704, 15), "B6": (740, 15)}
_MSI_FAR = {"B8A": (865, 21), "B9": (945, 20), "B10": (1374, 31), "B11": (1614, 91), "B12": (2202, 175)}
_MSI_BANDS = {**_MSI, "B7": (783, 20), "B8": (833, 106), **_MSI_FAR}
_MSI_ORDERS = (
    _names("2 3 4 5 6 7 8 8A 11 12"),  # those of 10 and 20 m
    _names("1 2 3 4 5 6 7 8 8A 9 11 12"),  # surface reflectance
    _names("1 2 3 4 5 6 7 8 8A 9 10 11 12"),
)
_MODIS = {"B1": (645, 50), "B2": (859, 35), "B3": (469, 20), "B4": (555, 20), "B5": (1240, 20), "B6": (1640, 24)}
_PLANET = {"blue": (485, 60), "green": (545, 90), "red": (630, 80), "nir": (820, 80)}
_SUPERDOVE = {"B1": (443, 20), "B2": (490, 50), "B3": (531, 36), "B4": (565, 36), "B5": (610, 20), "B6": (665, 31)}
_PLANET_BANDS = {**_PLANET, **_SUPERDOVE, "B7": (705, 15), "B8": (865, 40)}
_NAIP = {"red": (635, 54), "green": (560, 54), "blue": (460, 64), "nir": (860, 54)}
_CAMERA = {"red": (640, 80), "green": (550, 80), "blue": (460, 80), "nir": (840, 120)}

_ALL = (
    *(Sensor(name, _TM_BANDS, _TM_ORDERS) for name in ("landsat4", "landsat5")),
    Sensor("landsat7", _ETM_BANDS, _ETM_ORDERS),
    *(Sensor(name, _OLI_BANDS, _OLI_ORDERS) for name in ("landsat8", "landsat9")),
    Sensor("sentinel2", _MSI_BANDS, _MSI_ORDERS),
    Sensor("modis", {**_MODIS, "B7": (2130, 50)}, (_names("1 2 3 4 5 6 7"),)),
    Sensor("planetscope", _PLANET_BANDS, (tuple(_PLANET), _names("1 2 3 4 5 6 7 8"))),
    Sensor("naip", _NAIP, (tuple(_NAIP),)),
    Sensor("aerial", _CAMERA, (tuple(_CAMERA)[:3], tuple(_CAMERA))),
)
SENSORS = {sensor.name: sensor for sensor in _ALL}
"""By name."""


def find_sensor(name: str) -> Sensor:
    """Return a sensor by the name that a user gives it, such as "landsat7", "Landsat-7" or "Sentinel-2".

    Raises:
        RecipeError: if it is none that the program knows.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain not in SENSORS:
        raise RecipeError(
            f"--sensor {name}: not known; expected one of {', '.join(SENSORS)}. Name the bands of another with "
            "--bands, by colour or wavelength: blue,green,red,nir or 490nm,560nm,665nm,842nm."
        )
    return SENSORS[plain]
