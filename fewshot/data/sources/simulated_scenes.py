"""The SIMULATED Earth as several satellites see it: scenes cut to windows, of labelled pixels or of one class each.

Each place is seen by one sensor, at that sensor's ground resolution and in its bands; bands that it lacks are 0, as
they are sent to a model that lets bands be missing. Half of the scenes are labelled with the classes of IGBP, half
with what covers most of a pixel, since people's own classes are sometimes land cover and sometimes materials. What a
sensor sees of a place is simulated once and kept in the program's cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fewshot.data.bands import StoredBand
from fewshot.data.earth.ground import MATERIALS
from fewshot.data.earth.kept import Arrays, simulated_once
from fewshot.data.earth.region import simulate_region
from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.data.source import Source
from fewshot.errors import RecipeError
from fewshot.tables import nearest

SIZE = 768
"""Rows and columns of a simulated place, in pixels of 10 m."""

BLOCK = 2
"""Windows along each side of a block of ground, whose windows are never on both sides of a task."""

_PURE = 0.5  # a mixed pixel is labelled where one class covers so much of it


class SimulatedSensor(NamedTuple):
    """What one kind of satellite sees.

    Attributes:
        name: Of those that it is like.
        pixel: Side of a pixel, in pixels of 10 m.
        bands: Of `WAVELENGTHS`.
        levels: Whole numbers that a reflectance of 1 is divided into.
    """

    name: str
    pixel: int
    bands: tuple[str, ...]
    levels: int = 10000


WAVELENGTHS = {
    **{"B1": (443, 20), "B2": (490, 65), "B3": (560, 35), "B4": (665, 30), "B5": (705, 15), "B6": (740, 15)},
    **{"B7": (783, 20), "B8A": (865, 30), "B11": (1610, 90), "B12": (2190, 180)},
}
"""Centre and width in nm of the bands of land, by Sentinel-2's names."""

_LANDSAT = ("B2", "B3", "B4", "B8A", "B11", "B12")
SENSORS = (
    SimulatedSensor("Landsat 8", 3, ("B1", *_LANDSAT)),
    SimulatedSensor("Sentinel-2", 1, tuple(WAVELENGTHS)),
    SimulatedSensor("Landsat 7", 3, _LANDSAT, 255),
    SimulatedSensor("Sentinel-2, 20 m", 2, tuple(WAVELENGTHS)[1:]),
    SimulatedSensor("Landsat 5", 3, _LANDSAT),
    SimulatedSensor("PlanetScope", 1, ("B2", "B3", "B4", "B8A")),
    SimulatedSensor("Landsat 8, without B1", 3, _LANDSAT),
    SimulatedSensor("SPOT", 2, ("B3", "B4", "B8A", "B11")),
)
"""Those that take turns where nothing else is asked for."""

_COLOURS = ("B2", "B3", "B4")
PICTURES = (
    SimulatedSensor("RGB, 10 m", 1, _COLOURS, 255),
    SimulatedSensor("RGB, 20 m", 2, _COLOURS, 255),
    SimulatedSensor("RGB, 30 m", 3, _COLOURS, 255),
)
"""Pictures as people have them: three colours in 8 bits."""

_KNOWN = {sensor.name: sensor for sensor in (*SENSORS, *PICTURES)}


@dataclass(frozen=True)
class SimulatedScenes(Source):
    """Simulated scenes of several sensors.

    Attributes:
        places: How many scenes; every fourth one is the place of another in another season.
        window: Rows and columns of a window, in the sensor's pixels.
        earth_seed: Which simulated Earth.
        sensors: Names, of `SENSORS` and `PICTURES`, that take turns; all of `SENSORS` if empty.
        purity: For tasks of images: the share of a window that its class covers at least, windows of less being left
            out; 0 keeps all windows, for tasks of pixels.
    """

    name: ClassVar[str] = "simulated_scenes"
    reads_files: ClassVar[bool] = False
    simulated: ClassVar[bool] = True
    licence: ClassVar[str] = "Apache-2.0, as the program that makes it"

    places: int = 48
    window: int = 32
    earth_seed: int = 0
    sensors: tuple[str, ...] = ()
    purity: float = 0.0

    def __post_init__(self) -> None:
        """Check names and numbers.

        Raises:
            RecipeError: if there is no place, too few windows fit one, or a sensor is not known.
        """
        most = SIZE // max(sensor.pixel for sensor in _KNOWN.values()) // (2 * BLOCK)
        if self.places < 1 or not 1 <= self.window <= most or self.earth_seed < 0 or not 0 <= self.purity <= 1:
            raise RecipeError(
                f"data.places is 1 or more, data.window 1 to {most}, data.earth_seed 0 or more and data.purity 0 to 1; "
                f"received {self.places}, {self.window}, {self.earth_seed} and {self.purity}."
            )
        for name in self.sensors:
            if name not in _KNOWN:
                raise RecipeError(
                    f"data.sensors: there is no simulated sensor {name!r}.{nearest(name, list(_KNOWN))} Known are: "
                    f"{'; '.join(_KNOWN)}."
                )

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Simulate the scenes; paths mean nothing."""
        return simulate_scenes(self)

    def describe_bands(self, regions: RegionSet) -> tuple[StoredBand, ...]:
        """Return the bands by wavelength."""
        return tuple(regions.store.bands)

    def taking_turns(self) -> tuple[SimulatedSensor, ...]:
        """Return the sensors, in turn."""
        return tuple(_KNOWN[name] for name in self.sensors) or SENSORS


class SimulatedWindows(ArrayStore):
    """Windows in memory with the labels of their pixels."""

    has_labels = True

    def __init__(
        self, names: Sequence[str], pixels: npt.NDArray[np.uint16], labels: npt.NDArray[np.int16], bands: Sequence[str]
    ) -> None:
        """Keep windows.

        Args:
            names: One a window.
            pixels: [N, H, W, bands] reflectance x 10^4.
            labels: [N, H, W] index in the set's classes, -1 where ignored.
            bands: Names, of `WAVELENGTHS`.
        """
        super().__init__(names, pixels, scale=1e-4)
        self._labels = labels
        self.bands = tuple(
            StoredBand(name, centre, unit="simulated reflectance", stored="float32", width=width)
            for name, (centre, width) in ((name, WAVELENGTHS[name]) for name in bands)
        )

    def read_labels(self, indices: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the labels of windows `indices` [n] as [n, H, W]."""
        return self._labels[np.asarray(indices, np.int64)].astype(np.int32)


@lru_cache(maxsize=1)
def simulate_scenes(asked: SimulatedScenes) -> RegionSet:
    """Simulate scenes and cut them to windows; place i is seen by sensor i, the sensors taken in turn.

    Returns:
        Windows [window, window, 10 bands], reflectance 0-1. The last set made is kept, so asking again costs nothing.
    """
    classes = (*(f"IGBP {number}" for number in range(1, 18)), *MATERIALS)
    sensors = asked.taking_turns()
    names: list[str] = []
    pixels, labels, regions = [], [], []
    for number in range(asked.places):
        # By place, not by sensor: every sensor meets both kinds of labels.
        materials = bool((number // len(sensors)) % 2)
        image, truth, place = _see(number, sensors[number % len(sensors)], seed=asked.earth_seed, materials=materials)
        own_pixels, own_labels, blocks = _cut(image, truth, asked.window)
        main = np.full(len(own_labels), -1)
        shown = np.unique(own_labels[own_labels >= 0])
        if asked.purity:
            main = main_classes(own_labels, len(classes), asked.purity)
            kept = main >= 0
            own_pixels, own_labels, blocks = own_pixels[kept], own_labels[kept], blocks[kept]
            shown, main = np.unique(main[kept], return_inverse=True)
        first, count = len(names), len(own_pixels)
        name = f"simulated_{number:03d}"
        names += [f"{name}/{index:04d}" for index in range(count)]
        pixels.append(own_pixels)
        labels.append(own_labels)
        region_classes = tuple(classes[index] for index in shown)
        regions.append(Region(name, region_classes, np.arange(first, first + count), main, blocks, place))
    store = SimulatedWindows(names, np.concatenate(pixels), np.concatenate(labels), tuple(WAVELENGTHS))
    return RegionSet("SIMULATED Earth, several sensors", store, tuple(regions), classes)


def main_classes(labels: npt.NDArray[np.int16], classes: int, purity: float) -> npt.NDArray[np.int64]:
    """Return the class that covers most of each window [n], -1 where it covers too little.

    Args:
        labels: [n, H, W] index of a class, -1 where there is none.
        classes: How many there are.
        purity: Least share of a window's pixels.
    """
    shares = np.stack([(labels == index).mean(axis=(1, 2), dtype=np.float32) for index in range(classes)])
    return np.where(shares.max(axis=0) >= purity, shares.argmax(axis=0), -1)


def _see(
    number: int, sensor: SimulatedSensor, *, seed: int, materials: bool
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int16], str]:
    """Return what a sensor sees of a place, as `_simulate` makes it, from the cache where it is there."""
    asked = (number, sensor, seed, materials)
    kept = simulated_once(asked, lambda: _simulate(number, sensor, seed=seed, materials=materials), code=Path(__file__))
    return kept["image"], kept["truth"], str(kept["place"])


def _simulate(number: int, sensor: SimulatedSensor, *, seed: int, materials: bool) -> Arrays:
    """Return what a sensor sees of a place [H, W, 10], the classes of its pixels [H, W], and the place."""
    region = simulate_region(number, seed=seed, size=SIZE, bands=tuple(WAVELENGTHS), radar=False)
    side = SIZE // sensor.pixel
    fine = region.optical.reshape(side, sensor.pixel, side, sensor.pixel, -1)
    seen = fine.mean(axis=(1, 3), dtype=np.float32)
    seen = np.rint(np.rint(seen * (sensor.levels / 1e4)) * (1e4 / sensor.levels))
    seen *= np.isin(tuple(WAVELENGTHS), sensor.bands)
    exact = region.materials.astype(np.int64) + 17 if materials else region.classes.astype(np.int64) - 1
    parts = exact.reshape(side, sensor.pixel, side, sensor.pixel)
    shares = np.stack([(parts == index).mean(axis=(1, 3), dtype=np.float32) for index in range(17 + len(MATERIALS))])
    truth = np.where(shares.max(axis=0) > _PURE, shares.argmax(axis=0), -1).astype(np.int16)
    image = np.minimum(seen, 65535).astype(np.uint16)
    return {"image": image, "truth": truth, "place": np.array(region.place)}


def _cut(
    image: npt.NDArray[np.uint16], truth: npt.NDArray[np.int16], window: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Cut a scene to whole windows: pixels [n, window, window, bands], labels, and the block of each window [n]."""
    across = len(image) // window
    kept = across * window
    cells = (across, window, across, window)
    pixels = image[:kept, :kept].reshape(*cells, -1).swapaxes(1, 2).reshape(-1, window, window, image.shape[-1])
    labels = truth[:kept, :kept].reshape(cells).swapaxes(1, 2).reshape(-1, window, window)
    row, column = np.divmod(np.arange(across * across), across)
    return pixels, labels, (row // BLOCK) * across + column // BLOCK
