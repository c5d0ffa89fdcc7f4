"""Small runs and their exports; `tests/exported/fixtures.py` makes each once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from rasterio import Affine

from fewshot.data.region import RegionSet
from fewshot.exported.card import Card, read_card
from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster
from fewshot.meta import MetaLearner
from fewshot.training import build, datasets
from fewshot.training.folder import RunFolder
from fewshot.training.kinds import kind_of
from fewshot.training.recipe import read_recipe
from fewshot.training.run import Run
from fewshot.training.train import record_run, train
from serving.graph.export import ExportOptions, export
from tests.eager import without_graphs

VIEWS = ("views.count=8", "views.turns=true", "views.flips=true", "views.shift=0.1")
SMALL = ["network.filters=6", "network.blocks=2", "training.validation_tasks=4"]


@dataclass(frozen=True)
class Exported:
    """A run, its learner with the same weights, and its export."""

    run: Path
    folder: Path
    learner: MetaLearner
    regions: RegionSet
    card: Card

    def logits(self, *inputs: Any, steps: int) -> np.ndarray:
        """The learner's own logits for one task (support_x, support_y, query_x and weights) of raw values."""
        support_x, support_y, query_x, *weight = inputs
        task = (support_x * self.scale + self.offset, support_y, query_x * self.scale + self.offset, *weight)
        return self.learner.predict_after(tuple(np.asarray(part)[None] for part in task), [steps])[0, 0].numpy()

    def probabilities(self, *inputs: Any, steps: int) -> np.ndarray:
        logits = self.logits(*inputs, steps=steps)
        exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponent / exponent.sum(axis=-1, keepdims=True)

    def task(self, shots: Sequence[int] = (2, 2, 2), queries: int = 5, seed: int = 0) -> tuple[np.ndarray, ...]:
        """Support pictures, labels and queries of one region, as clients send them."""
        rng = np.random.default_rng(seed)
        region = next(region for region in self.regions.regions if len(region.class_names) >= len(shots))
        chosen = [rng.permutation(region.images[region.labels == label])[:count] for label, count in enumerate(shots)]
        labels = np.repeat(np.arange(len(shots), dtype=np.int32), shots)
        return self.raw(np.concatenate(chosen)), labels, self.raw(rng.permutation(region.images)[:queries])

    def raw(self, images: np.ndarray) -> np.ndarray:
        """Pictures of the store as clients send them."""
        values = ((self.regions.store.read(images) - self.offset) / self.scale).astype(np.float32)
        return np.round(values) if self.card.value_type == "uint8" else values

    @property
    def scale(self) -> np.ndarray:
        return np.array([band.scale for band in self.card.bands], np.float32)

    @property
    def offset(self) -> np.ndarray:
        return np.array([band.offset for band in self.card.bands], np.float32)


def made_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of all test processes to ask for it makes; the others wait for it, or find it."""
    root = temporary.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, done = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


def exported_once(
    temporary: pytest.TempPathFactory, name: str, run: Callable[[], Path], options: ExportOptions | None = None
) -> Exported:
    """A run and its export, made by the first of all test processes to ask for them."""

    def make(folder: Path) -> None:
        folder.mkdir()
        made = run()
        (folder / "run").symlink_to(made)
        quickly_exported(made, folder / "models", options)

    folder = made_once(temporary, name, make)
    version = next((folder / "models").rglob("saved_model.pb")).parent
    return described((folder / "run").resolve(), version)


def exported(run: Path, to: Path, options: ExportOptions | None = None) -> Exported:
    return described(run, quickly_exported(run, to, options))


def quickly_exported(run: Path, to: Path, options: ExportOptions | None = None) -> Path:
    """Export without asking each signature once: the tests do that, and `test_export.py` that it is done."""
    with patch("serving.graph.export.replay"):
        return export(run, to, options)


def described(run: Path, folder: Path) -> Exported:
    """A run and an export of it."""
    opened = Run.open(run)
    regions = opened.parts()["train"]
    return Exported(run, folder, opened.learner(regions), regions, read_card(folder))


def settings_of(*changed: str) -> list[str]:
    """Settings that turn the demo recipe to folders of pictures."""
    data = ['data.source="class_folders"', 'data.train=["hill"]', 'data.validation=["valley"]', "data.test=[]"]
    return [*SMALL, *data, *changed]


def write_run(out: Path, settings: Sequence[str], paths: Sequence[Path]) -> Path:
    """Write a run folder of the demo recipe as training does before its first update."""
    recipe = read_recipe("demo", settings=settings)
    build.seed_everything(recipe.training)
    folder = RunFolder(out)
    folder.open(recipe, resume=False)
    parts = datasets.read_parts(recipe.data, paths)
    record_run(folder, recipe, paths, parts, resumed=False)
    problem = kind_of(recipe).problem(parts["train"])
    build.build_learner(recipe.network, recipe.learner, problem).save_weights(folder.best_weights)
    return out


def draw_pictures(classes: int, bands: int) -> Iterator[tuple[str, np.ndarray]]:
    """`region/class/number` and pixels [16, 16, bands] uint8; each class has a spectrum of its own, noise on it."""
    rng = np.random.default_rng(0)
    spectra = rng.integers(80, 180, (classes, bands))
    for region in ("hill", "valley"):
        for label in range(classes):
            for number in range(8):
                own = rng.integers(-60, 60, bands)  # so that single pictures do not tell the class
                pixels = spectra[label] + own + rng.integers(-30, 30, (16, 16, bands))
                yield f"{region}/{NAMES[label]}/{number}", np.clip(pixels, 0, 255).astype(np.uint8)


NAMES = ("barley", "maize", "oats", "village", "water")


def train_rasters(folder: Path, out: Path) -> Path:
    """Train prototypes and learned rates for a moment on pictures of four bands."""
    for name, pixels in draw_pictures(5, 4):
        write_raster(folder / f"{name}.tif", pixels, Grid(16, 16, Affine.scale(10, -10), None))
    settings = settings_of("training.updates=8", "training.validate_every=8", "training.meta_batch_size=1")
    with without_graphs():
        train(read_recipe("demo", settings=settings), [folder], out, verbose=0)
    return out


def write_pictures(folder: Path) -> Path:
    """Write pictures of red, green and blue."""
    for name, pixels in draw_pictures(3, 3):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder
