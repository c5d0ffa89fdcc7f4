"""Models of plain numpy that answer at once and always the same, and small scenes to map with them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.errors import ArtifactError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.card import AdaptedLayout, Card, CardBand, DataSource, InputSize, Limits, Rates
from fewshot.exported.predictor import AdaptedVector, Array, Predictor, SupportLoss
from fewshot.geo.grid import Grid
from fewshot.geo.landcover import ClassTable, LandClass
from fewshot.geo.writing import write_raster


def band(name: str, scale: float = 1e-4, offset: float = 0.0, unit: str = "reflectance") -> CardBand:
    return CardBand(name, scale, offset, unit)


PIXEL = Card(
    title="nearest mean",
    bands=(band("B4"), band("B8")),
    value_type="float32",
    size=InputSize(16, 16, free=True, smallest=4, largest=32, multiple_of=4),
    output="pixel",
    label_space="task",
    classes=(),
    head="prototype",
    outputs=None,
    steps=1,
    limits=Limits(),
    rates=Rates("constant", 0.1, 0.1, 0.1, 0.1),
    transductive=False,
    data=DataSource("made up"),
    recipe={},
    adapted=AdaptedLayout(1, 2, 77),
)
PATCH = replace(PIXEL, size=InputSize(8, 8, smallest=8, largest=8), output="patch")


@dataclass(eq=False)
class FakePredictor(Predictor):
    """Nearest class mean of what the network reads: of each pixel, or of a patch's mean.

    Attributes:
        described: Its card.
        calls: Shapes of the queries of each call.
        fail_after: Calls that are answered before the server is gone; None for all.
        seconds: That a call takes.
        edges: Whether it knows nothing at the edges of a window.
    """

    described: Card = PIXEL
    calls: list[tuple[int, ...]] = field(default_factory=list)
    fail_after: int | None = None
    seconds: float = 0.0
    edges: bool = False

    def read_card(self) -> Card:
        return self.described

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        if signature == "adapt":
            return self.fit(inputs["support_x"], inputs["support_y"])
        return self.answer(inputs["adapted"], inputs["query_x"])

    def fit(self, support_x: Array, y: Array) -> dict[str, Array]:
        x = self.read(support_x)
        if self.described.output == "patch":
            x = x.mean(axis=(1, 2))
        count = len(self.described.classes) or int(y.max()) + 1
        # A class without an example is far away from everything.
        far = np.full(x.shape[-1], 9.0)
        means = [x[y == label].mean(axis=0) if (y == label).any() else far for label in range(count)]
        vector = np.concatenate([[77.0], np.ravel(means)]).astype(np.float32)
        return {"adapted": vector, "classes": np.array(count), "support_loss": np.array([2.0, 0.5])}

    def answer(self, vector: Array, query_x: Array) -> dict[str, Array]:
        if self.fail_after is not None and len(self.calls) >= self.fail_after:
            raise ArtifactError("the server is gone")
        self.calls.append(np.shape(query_x))
        time.sleep(self.seconds)
        x = self.read(query_x)
        assert np.isfinite(x).all()
        means = vector[1:].reshape(-1, x.shape[-1])
        if self.described.output == "patch":
            x = x.mean(axis=(1, 2))
        distance = ((x[..., np.newaxis, :] - means) ** 2).sum(axis=-1)
        strength = np.exp(-50 * (distance - distance.min(axis=-1, keepdims=True)))
        if self.edges:  # as a network that sees zeros beyond its window
            strength[:, :2] = strength[:, -2:] = strength[:, :, :2] = strength[:, :, -2:] = 1.0
        probabilities = (strength / strength.sum(axis=-1, keepdims=True)).astype(np.float32)
        return {"probabilities": probabilities, "class_index": probabilities.argmax(axis=-1)}

    def read(self, values: Any) -> np.ndarray:
        scale = np.array([band.scale for band in self.described.bands], np.float32)
        return np.asarray(values, np.float32) * scale + [band.offset for band in self.described.bands]


def adapted_to(means: Any) -> AdaptedModel:
    """The fake model adapted to classes a, b ... with these means [classes, 2]."""
    vector = np.concatenate([[77.0], np.ravel(means)]).astype(np.float32)
    table = ClassTable("made up", tuple(LandClass(name, ()) for name in "abcdef"[: len(means)]))
    return AdaptedModel(AdaptedVector(vector, len(means), SupportLoss(2.0, 0.5)), table, (1, 2, 3)[: len(means)], 77)


def grid_of(height: int, width: int, **changed: Any) -> Grid:
    settings: dict[str, Any] = {
        "crs": "EPSG:32633",
        "corner": (500000.0, 5000000.0),
        "pixel": (20.0, 30.0),
        "degrees": 0.0,
    } | changed
    place, turn = Affine.translation(*settings["corner"]), Affine.rotation(settings["degrees"])
    transform = place @ turn @ Affine.scale(settings["pixel"][0], -settings["pixel"][1])
    return Grid(height, width, transform, CRS.from_string(settings["crs"]) if settings["crs"] else None)


SPECTRA = np.array([[500, 400], [1500, 4000], [3000, 2000]], np.float32)
"""Digital numbers of the classes water, forest and town."""
CLASSES = ("water", "forest", "town")


def draw_truth(height: int, width: int, cell: int = 12) -> np.ndarray:
    """Squares of three classes, 0-2, [H, W]."""
    rng = np.random.default_rng(height * 1000 + width)
    squares = rng.integers(0, 3, (-(-height // cell), -(-width // cell)))
    return squares.repeat(cell, 0).repeat(cell, 1)[:height, :width]


def draw_pixels(truth: np.ndarray, noise: float = 100) -> np.ndarray:
    """Reflectance x 10^4 [H, W, 2] of classes, with noise."""
    rng = np.random.default_rng(truth.size)
    return np.clip(SPECTRA[truth] + rng.normal(0, noise, (*truth.shape, 2)), 1, None).astype(np.uint16)


def write_scene(path: Path, pixels: np.ndarray, grid: Grid, **style: Any) -> Path:
    settings: dict[str, Any] = {"names": ("B4", "B8"), "nodata": 0} | style
    write_raster(path, pixels, grid, **settings)
    return path


def write_points(path: Path, grid: Grid, points: list[tuple[int, int, Any]], *, crs: str | None = None) -> Path:
    """Write labelled points (row, column, class) as GeoPackage, at the middle of pixels."""
    import geopandas
    import shapely

    rows, columns = (np.array([point[axis] for point in points], float) + 0.5 for axis in (0, 1))
    x, y = grid.to_map(rows, columns)
    shapes = shapely.points(x, y)
    frame = geopandas.GeoDataFrame({"class": [point[2] for point in points]}, geometry=shapes, crs=grid.crs)
    (frame.to_crs(crs) if crs else frame).to_file(path)
    return path


def draw_points(truth: np.ndarray, each: int, seed: int = 0) -> list[tuple[int, int, str]]:
    """Draw `each` places (row, column, class) of every class."""
    rng = np.random.default_rng(seed)
    found = []
    for label, name in enumerate(CLASSES):
        places = rng.permutation(np.argwhere(truth == label))[:each]
        found += [(int(row), int(column), name) for row, column in places]
    return found


def process_id() -> int:
    return os.getpid()
