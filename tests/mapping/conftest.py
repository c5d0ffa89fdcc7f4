"""Small scenes with labels, and a way to map them with a model of plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from fewshot.exported.predictor import Predictor
from fewshot.geo.grid import Grid
from fewshot.mapping.predict import layout
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.product.report import MapReport
from fewshot.mapping.region_map import map_scene
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping import fakes


@dataclass(frozen=True)
class Case:
    """A scene, its truth and labelled points."""

    scene: Path
    labels: Path
    grid: Grid
    truth: np.ndarray
    pixels: np.ndarray

    def request(self, to: Path, **changed: Any) -> MapRequest:
        if "adapted" not in changed:
            changed = {"labels": LabelPlan(self.labels)} | changed
        settings: dict[str, Any] = {"scenes": (str(self.scene),), "to": to} | changed
        return MapRequest(**settings)


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., Case]:
    """Writes a scene of three classes in squares, and points that label some of its pixels."""

    def make(height: int = 90, width: int = 70, *, each: int = 8, name: str = "scene", **changed: Any) -> Case:
        style = {key: changed.pop(key) for key in ("names", "nodata", "scale") if key in changed}
        empty = changed.pop("empty", None)
        grid = fakes.grid_of(height, width, **changed)
        truth = fakes.draw_truth(height, width)
        pixels = fakes.draw_pixels(truth)
        if empty is not None:
            pixels[empty] = 0
        scene = fakes.write_scene(tmp_path / f"{name}.tif", pixels, grid, **style)
        places = np.where(pixels.any(axis=-1), truth, -1)
        labels = tmp_path / f"{name}.gpkg"
        if grid.crs is not None and each:
            fakes.write_points(labels, grid, fakes.draw_points(places, each))
        return Case(scene, labels, grid, truth, pixels)

    return make


@pytest.fixture
def case(make_case: Callable[..., Case]) -> Case:
    return make_case(empty=np.s_[:20, :15])


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes groups of a few windows, so that small scenes have several."""
    monkeypatch.setattr(layout, "_GROUP_BYTES", 4 * 5 * 30 * 30)


def run(request: MapRequest, model: Predictor | None = None, **options: Any) -> MapReport:
    model = model or fakes.FakePredictor()
    return map_scene(model, options.pop("engine", None) or run_here(model), request, **options)


FILES = {"map.tif", "map_confidence.tif", "map.tif.aux.xml", "map.qml", "map.png", "map.json"}


def output(folder: Path) -> Path:
    return folder / "out" / "map.tif"


def made_files(folder: Path) -> set[str]:
    """Names in the folder of the map, hidden ones too."""
    return {path.name for path in (folder / "out").iterdir()}


def read(path: Path) -> np.ndarray:
    """Pixels [H, W] of the first band."""
    with rasterio.open(path) as raster:
        return raster.read(1)


def values_of(truth: np.ndarray) -> np.ndarray:
    """Numbers that a map gives the classes: by name, from 1."""
    return np.array([sorted(fakes.CLASSES).index(name) + 1 for name in fakes.CLASSES], np.uint8)[truth]


ROOT = Path(__file__).resolve().parents[2]
BANDS = ("B1", "B2", "B3", "B4", "B8", "B11", "B12")
"""Of Sentinel-2, in the order of Landsat's first seven."""


@pytest.fixture(scope="session")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated Earth to train on."""
    from fewshot.data.earth.files import write_earth

    folder = tmp_path_factory.mktemp("earth")
    write_earth(folder, regions=4, seed=3, patches_per_region=1)
    return folder


@pytest.fixture(scope="session")
def trained(earth: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Trains a small real model for a moment and exports it: "pixel" or "patch"; each once."""
    made: dict[str, Path] = {}

    def train_one(kind: str) -> Path:
        from fewshot.training.recipe import read_recipe
        from fewshot.training.train import train
        from serving.graph.export import export

        if kind not in made:
            out = tmp_path_factory.mktemp(kind)
            settings = [f"data.bands={list(BANDS)}", "data.split=random", "data.train=2", "data.validation=1"]
            settings += ["data.test=0", "training.validate_every=40", "training.validation_tasks=2"]
            settings += ["tasks.disjoint_sources=false", "training.minutes=1.0", "training.meta_batch_size=2"]
            if kind == "pixel":
                settings += ["network.widths=[8, 16]", "training.updates=40", "data.window=32"]
                recipe = read_recipe("synthetic-segmentation", learner="proto-maml", settings=settings)
            else:
                settings += ["network.filters=12", "network.blocks=2", "training.updates=15", "data.window=16"]
                settings += ["tasks.ways=3", "tasks.shots=1", "tasks.queries=2", "tasks.validation_queries=2"]
                recipe = read_recipe("synthetic-patch", learner="proto-maml", settings=settings)
            train(recipe, [earth], out / "run", verbose=0)
            made[kind] = export(out / "run", out / "models")
        return made[kind]

    return train_one
