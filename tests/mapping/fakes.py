"""Models of plain numpy that answer at once and always the same, and small scenes to map with them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.errors import ArtifactError
from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster


@dataclass(frozen=True)
class FakeBand:
    name: str
    scale: float = 1e-4
    offset: float = 0.0
    unit: str = "reflectance"
    wavelength: float | None = None
    nodata: float | None = None


@dataclass(frozen=True)
class FakeClass:
    name: str
    colour: str | None = None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class FakeSize:
    rows: int
    columns: int
    free: bool
    smallest: int
    largest: int
    multiple_of: int


@dataclass(frozen=True)
class FakeLimits:
    examples: int = 512
    classes: int = 100


@dataclass(frozen=True)
class FakeLayout:
    fingerprint: int = 77


@dataclass(frozen=True)
class FakeCard:
    title: str = "nearest mean"
    bands: tuple[FakeBand, ...] = (FakeBand("B4"), FakeBand("B8"))
    value_type: str = "float32"
    size: FakeSize = FakeSize(16, 16, True, 4, 32, 4)
    output: str = "pixel"
    label_space: str = "task"
    classes: tuple[FakeClass, ...] = ()
    limits: FakeLimits = FakeLimits()
    transductive: bool = False
    adapted: FakeLayout = FakeLayout()

    def to_json(self) -> str:
        return json.dumps(asdict(self))


PATCH = FakeCard(size=FakeSize(8, 8, False, 8, 8, 1), output="patch")
PIXEL = FakeCard()


@dataclass(frozen=True)
class FakeAdapted:
    vector: np.ndarray
    classes: int
    support_loss: tuple[float, float] = (2.0, 0.5)


@dataclass(frozen=True)
class FakeAnswer:
    probabilities: np.ndarray
    class_index: np.ndarray


@dataclass
class FakePredictor:
    """Nearest class mean of what the network reads: of each pixel, or of a patch's mean.

    Attributes:
        described: Its card.
        calls: Shapes of the queries of each call.
        fail_after: Calls that are answered before the server is gone; None for all.
        seconds: That a call takes.
        edges: Whether it knows nothing at the edges of a window.
    """

    described: FakeCard = PIXEL
    calls: list[tuple[int, ...]] = field(default_factory=list)
    fail_after: int | None = None
    seconds: float = 0.0
    edges: bool = False

    def card(self) -> FakeCard:
        return self.described

    def adapt(self, support_x: Any, support_y: Any, *, steps: int | None = None) -> FakeAdapted:
        x, y = self.read(support_x), np.asarray(support_y)
        if self.described.output == "patch":
            x = x.mean(axis=(1, 2))
        count = len(self.described.classes) or int(y.max()) + 1
        # A class without an example is far away from everything.
        far = np.full(x.shape[-1], 9.0)
        means = [x[y == label].mean(axis=0) if (y == label).any() else far for label in range(count)]
        return FakeAdapted(np.concatenate([[77.0], np.ravel(means)]).astype(np.float32), count)

    def predict(self, adapted: Any, query_x: Any) -> FakeAnswer:
        if self.fail_after is not None and len(self.calls) >= self.fail_after:
            raise ArtifactError("the server is gone")
        self.calls.append(np.shape(query_x))
        time.sleep(self.seconds)
        x = self.read(query_x)
        assert np.isfinite(x).all()
        means = np.asarray(adapted.vector)[1:].reshape(-1, x.shape[-1])
        if self.described.output == "patch":
            x = x.mean(axis=(1, 2))
        distance = ((x[..., np.newaxis, :] - means) ** 2).sum(axis=-1)
        strength = np.exp(-50 * (distance - distance.min(axis=-1, keepdims=True)))
        if self.edges:  # as a network that sees zeros beyond its window
            strength[:, :2] = strength[:, -2:] = strength[:, :, :2] = strength[:, :, -2:] = 1.0
        probabilities = (strength / strength.sum(axis=-1, keepdims=True)).astype(np.float32)
        return FakeAnswer(probabilities, probabilities.argmax(axis=-1))

    def read(self, values: Any) -> np.ndarray:
        scale = np.array([band.scale for band in self.described.bands], np.float32)
        return np.asarray(values, np.float32) * scale + [band.offset for band in self.described.bands]


def open_fake(target: str) -> FakePredictor:
    """Open a model by its kind and the seconds that a call takes, such as "pixel:0.1"."""
    kind, _, seconds = target.partition(":")
    return FakePredictor(PATCH if kind == "patch" else PIXEL, seconds=float(seconds or 0))


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
