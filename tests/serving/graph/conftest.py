"""Small runs and their exports, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasterio import Affine

from fewshot.data.region import RegionSet
from fewshot.exported.card import Card, Limits, read_card
from fewshot.exported.predictor import LocalPredictor
from fewshot.geo.rasters import Grid
from fewshot.geo.writing import write_raster
from fewshot.meta import MetaLearner
from fewshot.training import build, datasets
from fewshot.training.folder import RunFolder
from fewshot.training.kinds import kind_of
from fewshot.training.recipe import read_recipe
from fewshot.training.run import Run
from fewshot.training.train import record_run, train
from serving.graph.export import Options, export

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
        chosen = [rng.permutation(region.images_of(label))[:count] for label, count in enumerate(shots)]
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


def exported(run: Path, to: Path, options: Options | None = None) -> Exported:
    folder = export(run, to, options)
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


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prototypes and learned rates on pictures of four bands, trained for a moment."""
    root, out = tmp_path_factory.mktemp("four_bands"), tmp_path_factory.mktemp("runs") / "trained"
    for name, pixels in draw_pictures(5, 4):
        write_raster(root / f"{name}.tif", pixels, Grid(16, 16, Affine.scale(10, -10), None))
    settings = settings_of("training.updates=30", "training.validate_every=30", "training.meta_batch_size=1")
    train(read_recipe("demo", settings=settings), [root], out, verbose=0)
    return out


@pytest.fixture(scope="session")
def trained(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(trained_run, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def local(trained: Exported) -> LocalPredictor:
    return LocalPredictor(trained.folder)


@pytest.fixture(scope="session")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of red, green and blue."""
    root = tmp_path_factory.mktemp("pictures")
    for name, pixels in draw_pictures(3, 3):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="session")
def make_pictures_run(pictures_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes an untrained run on pictures of red, green and blue, with settings of the recipe changed."""

    def make(*changed: str) -> Path:
        return write_run(tmp_path_factory.mktemp("runs") / "pictures", settings_of(*changed), [pictures_folder])

    return make


@pytest.fixture(scope="session")
def pictures(make_pictures_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A fixed head over global classes, of a network for any size, on pictures of red, green and blue."""
    changed = ('tasks.labels="global"', 'learner.head="fixed"', "learner.restrict=true", 'network.readout="average"')
    return exported(make_pictures_run(*changed), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def local_pictures(pictures: Exported) -> LocalPredictor:
    return LocalPredictor(pictures.folder)


@pytest.fixture(scope="session")
def transductive(make_pictures_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Batch normalisation, exported with leave; five steps by default, limits below that."""
    run = make_pictures_run('network.normalization="batch"', "learner.evaluation_steps=5")
    options = Options(transductive=True, limits=Limits(steps=3, examples=9))
    return exported(run, tmp_path_factory.mktemp("models"), options)


@pytest.fixture(scope="session")
def seeing(make_pictures_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A learner that sees each example in eight views."""
    return exported(make_pictures_run(*VIEWS), tmp_path_factory.mktemp("models"))
