"""A pretrained Keras model through every job: trained, opened without its file, evaluated, exported, served, mapped."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import rasterio
import tensorflow as tf

from fewshot.data.bands import StoredBand, red_green_blue
from fewshot.errors import RecipeError
from fewshot.exported.predictor import LocalPredictor
from fewshot.mapping import LabelPlan, MapRequest, map_scene
from fewshot.mapping.predict.pipeline import run_here
from fewshot.tasks.augment import Augmentation
from fewshot.tasks.task import TaskBatch
from fewshot.training.build import build_body, build_parts
from fewshot.training.evaluation.evaluate import evaluate
from fewshot.training.features import seen_part, seen_training, show_variant
from fewshot.training.frozen import KEPT
from fewshot.training.kinds import kind_of
from fewshot.training.kinds.kind import Problem
from fewshot.training.kinds.under_test import Request
from fewshot.training.recipe import read_recipe
from fewshot.training.recipe_tables import NetworkTable
from fewshot.training.run import Run
from fewshot.training.train import train
from serving.graph.export import export
from serving.server.loading import LoadOptions, load_version
from tests.exported.models import exported, settings_of
from tests.mapping.fakes import CLASSES, draw_points, draw_truth, grid_of, write_points, write_scene
from tests.models.test_pretrained import small_model


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.keras"
    keras.utils.set_random_seed(1)
    small_model().save(path)
    return path


def network_settings(file: Path, *changed: str) -> list[str]:
    own = ('network.kind="keras"', f'network.file="{file}"', 'network.layers=["shallow", "deep"]')
    few = ("tasks.ways=3", "training.updates=6", "training.validate_every=3", "training.meta_batch_size=2")
    return settings_of(*own, "network.size=12", "network.mirror=true", "network.projection=4", *few, *changed)


@pytest.fixture(scope="module")
def run(model_file: Path, pictures_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on frozen features, whose model's own file is gone."""
    file = Path(shutil.copy(model_file, tmp_path_factory.mktemp("gone")))
    out = tmp_path_factory.mktemp("runs") / "pretrained"
    settings = network_settings(file, "network.variants=3", "network.feature_dropout=0.2")
    train(read_recipe("demo", settings=settings), [pictures_folder], out, verbose=0)
    file.unlink()
    return out


def test_the_run_holds_its_model_and_the_features_of_train_and_validation(run: Path) -> None:
    assert {path.name for path in run.iterdir()} >= {KEPT, "best.weights.h5", "features"}
    shapes = sorted(np.load(file, mmap_mode="r").shape for file in (run / "features").iterdir())
    assert shapes == [(24, 1, 9), (24, 3, 9)]


@pytest.mark.slow
def test_what_was_trained_on_features_answers_for_pictures(run: Path) -> None:
    report = evaluate(
        run, [], Request(split="validation", tasks=3, steps=(0, 2)), baselines=True, baseline_minutes=0.05
    )
    assert report.tasks == 3
    assert 0 <= report.figures["accuracy"].mean <= 1
    assert "prototypical network" in report.baselines


@pytest.mark.slow
def test_an_export_answers_as_the_run_does(run: Path, tmp_path: Path) -> None:
    found = exported(run, tmp_path)
    support_x, support_y, query_x = found.task()
    predictor = LocalPredictor(found.folder)
    answer = predictor.adapt_and_predict(support_x, support_y, query_x, steps=2)
    np.testing.assert_allclose(
        answer.probabilities, found.probabilities(support_x, support_y, query_x, steps=2), atol=1e-5
    )
    chosen = predictor.adapt_and_predict(support_x, support_y, query_x, steps=-1)  # its own cross-validation
    np.testing.assert_allclose(chosen.probabilities.sum(axis=1), 1, rtol=1e-5)
    # Nothing of the pretrained model travels with an adapted one: fingerprint, projection, mean and variance, affine.
    assert found.card.adapted.fixed == 1 + 9 * 4 + 4 * 9
    assert found.card.size.free


def test_features_are_those_of_the_pictures(run: Path) -> None:
    opened = Run.open(run)
    part, kind, network = opened.parts()["validation"], opened.kind, opened.recipe.network
    frozen, _ = build_parts(network, kind.problem(part))
    assert frozen is not None
    kept = seen_part(part, kind, network, opened.folder.features)
    chosen = part.regions[0].images[3:6]
    np.testing.assert_allclose(
        kept.store.read(chosen), np.asarray(frozen(part.store.read(chosen))), rtol=2e-3, atol=1e-3
    )
    assert seen_part(part, kind, replace(network, variants=0), opened.folder.features) is part


@pytest.mark.slow
def test_features_are_computed_again_only_where_something_changed(run: Path, tmp_path: Path) -> None:
    opened = Run.open(run)
    part, kind, network = opened.parts()["train"], opened.kind, opened.recipe.network
    flips = Augmentation(flips="image")
    for augmentation, size, files in ((flips, 12, 1), (flips, 12, 1), (Augmentation(noise=0.1), 12, 2), (flips, 9, 3)):
        seen_training(part, kind, replace(network, size=size), augmentation, tmp_path)
        assert len(list(tmp_path.iterdir())) == files


def test_a_task_shows_one_variant_of_all_its_pictures_and_lacks_the_same_features() -> None:
    x = tf.reshape(tf.range(4 * 5 * 3 * 200, dtype=tf.float32), [4, 5, 3, 200]) + 1
    labels = tf.zeros([4, 5], tf.int32)
    shown = show_variant(TaskBatch(x, labels, x[:, :2], labels), tf.constant([1, 2], tf.int64), dropout=0.3)
    for task in range(4):
        variant = int(np.argmax([np.isin(shown.support_x[task], x[task, :, v]).sum() for v in range(3)]))
        kept = shown.support_x[task].numpy() > 0
        assert (kept == kept[:1]).all()
        np.testing.assert_array_equal(shown.support_x[task], x[task, :, variant] * kept[0])
        np.testing.assert_array_equal(shown.query_x[task], x[task, :2, variant] * kept[0])
        assert 0.1 < 1 - kept[0].mean() < 0.5


@pytest.mark.slow
def test_a_trained_model_is_trained(model_file: Path, pictures_folder: Path, tmp_path: Path) -> None:
    settings = network_settings(model_file, "network.frozen=false", "learner.adapts=head")
    recipe = read_recipe("demo", settings=settings)
    train(recipe, [pictures_folder], tmp_path, verbose=0)
    body = Run.open(tmp_path).learner().body
    fresh = build_body(recipe.network, kind_of(recipe).problem(Run.open(tmp_path).parts()["train"]))
    changed = [not np.allclose(a, b) for a, b in zip(body.trainable_variables, fresh.trainable_variables, strict=True)]
    assert sum(changed) > 0.7 * len(changed)
    assert not (tmp_path / "features").exists()


def test_red_green_and_blue_are_found_by_wavelength_or_name_or_said(model_file: Path) -> None:
    bands = tuple(StoredBand(f"B{nm}", float(nm)) for nm in (490, 560, 665, 842))
    assert red_green_blue(bands) == (2, 1, 0)
    assert red_green_blue(tuple(StoredBand(name) for name in ("Blue", "nir", "Green", "Red"))) == (3, 2, 0)
    assert red_green_blue(bands[1:]) is None
    network = NetworkTable("keras", file=str(model_file))
    unnamed = Problem((8, 8, 4), 2)
    with pytest.raises(RecipeError, match=r"nothing says which of the bands.*4 without names"):
        build_parts(network, unnamed)
    with pytest.raises(RecipeError, match="three numbers from 1 to 4"):
        build_parts(replace(network, rgb=(0, 1, 2)), unnamed)
    frozen, body = build_parts(replace(network, rgb=(3, 2, 1)), unnamed)
    assert frozen is None  # the way from four bands trains
    kernel = body.get_layer("channels").get_weights()[0][0, 0]
    np.testing.assert_array_equal(kernel, np.eye(4)[:, [2, 1, 0]])


def test_a_network_without_a_model_or_of_what_is_no_picture_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs a model: set network.file"):
        build_parts(NetworkTable("keras"), Problem((8, 8, 3), 2))
    with pytest.raises(RecipeError, match="reads pictures"):
        build_parts(NetworkTable("keras"), Problem((1,), 1, loss="squared_error"))
    with pytest.raises(RecipeError, match=r"expects pictures as it was trained on.*network.gain"):
        build_body(NetworkTable("keras", standardise=True), Problem((9,), 2))


@pytest.fixture(scope="module")
def pixel_run(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "pixels"
    own = ('network.kind="keras"', f'network.file="{model_file}"', 'network.layers=["deep"]', "network.filters=3")
    few = (
        "training.updates=2",
        "training.validate_every=2",
        "training.meta_batch_size=1",
        "training.validation_tasks=2",
    )
    settings = [*own, *few, 'data.bands=["B4", "B3", "B2"]', "learner.steps=1"]
    train(read_recipe("synthetic-segmentation", learner="proto-maml", settings=settings), [], out, verbose=0)
    return out


@pytest.mark.slow
def test_pixels_train_too(pixel_run: Path) -> None:
    assert Run.open(pixel_run).folder.state().updates == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "pixel_run"])
def test_an_exported_model_is_served_and_maps(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = export(request.getfixturevalue(kind), tmp_path / "models")
    load_version(kind, 1, folder, LoadOptions()).retire()  # a server plays a request of each signature first
    model = LocalPredictor(folder)
    card, truth = model.card(), draw_truth(48, 48)
    spectra = np.array([[20, 60, 90], [200, 30, 20], [100, 200, 120]]) * (1 if card.value_type == "uint8" else 20)
    pixels = (spectra[truth] + np.random.default_rng(0).integers(-9, 9, (48, 48, 3))).astype(
        "uint8" if card.value_type == "uint8" else "uint16"
    )
    grid = grid_of(48, 48)
    scene = write_scene(tmp_path / "scene.tif", pixels, grid, names=card.band_names)
    labels = write_points(tmp_path / "points.gpkg", grid, draw_points(truth, 5))
    asked = MapRequest((str(scene),), tmp_path / "map.tif", LabelPlan(labels))
    report = map_scene(model, run_here(model), asked)
    with rasterio.open(tmp_path / "map.tif") as raster:
        found = raster.read(1)
    names = np.array(report.table.names)
    assert np.mean(names[found - 1] == np.array(CLASSES)[truth]) > 0.6
