"""Small scenes with labels, and a way to map them with a model of plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from fewshot.geo.rasters import Grid
from fewshot.mapping import layout
from fewshot.mapping.examples import LabelPlan
from fewshot.mapping.pipeline import run_here
from fewshot.mapping.region_map import map_region
from fewshot.mapping.report import MapReport
from fewshot.mapping.request import MapRequest
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
        return MapRequest(**({"scenes": (str(self.scene),), "to": to} | changed))


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


def run(request: MapRequest, model: fakes.FakePredictor | None = None, **options: Any) -> MapReport:
    model = model or fakes.FakePredictor()
    return map_region(model, options.pop("engine", None) or run_here(model), request, **options)


def read(path: Path) -> np.ndarray:
    """Pixels [H, W] of the first band."""
    with rasterio.open(path) as raster:
        return raster.read(1)


def values_of(truth: np.ndarray) -> np.ndarray:
    """Numbers that a map gives the classes: by name, from 1."""
    return np.array([sorted(fakes.CLASSES).index(name) + 1 for name in fakes.CLASSES], np.uint8)[truth]
