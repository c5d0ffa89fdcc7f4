"""What an odd request is made of: a sound small one, of which each case changes a thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine

SIDE = 24
CORNER = (500000.0, 5000000.0)
TRUTH = (np.arange(SIDE)[:, np.newaxis] // 8 + np.arange(SIDE) // 8) % 2
"""Squares of two classes, [H, W]."""
PLACES = [(row, column) for row in range(2, SIDE, 5) for column in range(2, SIDE, 5)]


@dataclass
class Asked:
    """A request: what stands after `fewshot map`."""

    scenes: Sequence[Any]
    labels: Any
    to: Any = "map.tif"
    method: str = "logistic"
    more: tuple[Any, ...] = field(default=())

    def words(self) -> list[str]:
        """Return the words of the command line."""
        words = [word for scene in self.scenes for word in ("--scene", scene)]
        words += ["--labels", self.labels] if self.labels is not None else []
        words += ["--to", self.to, "--method", self.method, *self.more]
        return ["map", *map(str, words)]


Case = Callable[[Path], Asked]
"""Makes a request, and its files in a folder."""


def pixels(bands: int = 2) -> np.ndarray:
    """Numbers [bands, H, W] that tell the classes apart."""
    rng = np.random.default_rng(0)
    levels = np.array([[500, 3000], [2500, 700]])[:, TRUTH]
    return (levels[np.arange(bands) % 2] + rng.integers(0, 90, (bands, SIDE, SIDE))).astype(np.uint16)


def write_scene(path: Path, values: np.ndarray | None = None, **profile: Any) -> Path:
    """Write a raster with rasterio itself, as sound as the profile says."""
    values = pixels() if values is None else values
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    names = profile.pop("names", ("B4", "B8", *[f"band {n}" for n in range(3, count + 1)])[:count])
    settings = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype.name}
    settings |= {"crs": "EPSG:32633", "transform": Affine(10, 0, CORNER[0], 0, -10, CORNER[1])} | profile
    settings = {key: value for key, value in settings.items() if value is not None}
    with rasterio.open(path, "w", **settings) as raster:
        raster.write(values)
        for number, name in enumerate(names or (), start=1):
            raster.set_band_description(number, name)
    return path


def points(folder: Path, classes: Sequence[Any] | None = None, **changed: Any) -> Path:
    """Write points in the middle of pixels, a class each, as GeoJSON without a library's help to make it sound."""
    import json

    crs = changed.pop("crs", "urn:ogc:def:crs:EPSG::32633")
    shapes = changed.pop("shapes", None) or [
        {"type": "Point", "coordinates": [CORNER[0] + 10 * column + 5, CORNER[1] - 10 * row - 5]}
        for row, column in PLACES
    ]
    if classes is None:
        classes = [("crop", "wood")[TRUTH[row, column]] for row, column in PLACES]
    name = changed.pop("field", "class")
    features = [
        {"type": "Feature", "geometry": shape, "properties": {name: value} | changed.get("also", {})}
        for shape, value in zip(shapes, classes, strict=False)
    ]
    said = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path = folder / changed.get("file", "labels.geojson")
    path.write_text(json.dumps({"type": "FeatureCollection", **said, "features": features}), encoding="utf-8")
    return path


def sound(folder: Path, **changed: Any) -> Asked:
    """Return a request that maps, and change what is said."""
    scene = changed.pop("scenes", None) or [write_scene(folder / "scene.tif")]
    labels = changed.pop("labels", None) or points(folder)
    return Asked(scene, labels, **changed)


def of_scene(**profile: Any) -> Case:
    """Return a case of a scene with another profile."""
    return lambda folder: sound(folder, scenes=[write_scene(folder / "scene.tif", **profile)])


def of_values(make: Callable[[np.ndarray], np.ndarray], **profile: Any) -> Case:
    """Return a case of a scene with other pixels."""
    return lambda folder: sound(folder, scenes=[write_scene(folder / "scene.tif", make(pixels()), **profile)])


def of_options(*more: Any, **changed: Any) -> Case:
    """Return a case of other options."""
    return lambda folder: sound(folder, more=more, **changed)
