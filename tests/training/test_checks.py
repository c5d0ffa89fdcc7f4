"""Settings that contradict each other or the data are refused before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot.data.region import ArrayStore, RegionSet
from fewshot.errors import ArtifactError, RecipeError
from fewshot.training.evaluation.evaluate import evaluate
from fewshot.training.folder import RunFolder
from fewshot.training.kinds import kind_of
from fewshot.training.kinds.under_test import Request
from fewshot.training.recipe import read_recipe
from fewshot.training.shipped import recipe_names, recipe_tables
from fewshot.training.train import require_consistent, require_fitting, train


@pytest.mark.parametrize("name", recipe_names())
def test_every_learner_of_every_recipe_is_consistent(name: str) -> None:
    for learner in recipe_tables(name)["learners"]:
        recipe = read_recipe(name, learner=learner)
        require_consistent(recipe)
        kind_of(recipe).require_consistent(recipe.data.split, recipe.learner.head)


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        ("scenes-patch", "data.size=8", r"data.size = 8 means nothing to data.source = 'scenes'.*under \[patches\]"),
        ("scenes-patch", "data.split=published", "scenes has none. Use --set data.split=random"),
        ("folders-patch", "data.window=8", "it is read by sen12ms, deepglobe"),
        ("sen12ms-4w-patch", "data.scale=1e-4", "it is read by class_folders"),
        ("scenes-points", "data.split=classes", "pixels of one picture cannot be"),
        ("scenes-points", "learner.head=fixed", "regions have as many"),
        ("scenes-points", "learner.head=snail", "learner.head = 'snail' reads a sequence of a few examples"),
        ("scenes-points", "learner.head=propagation", "'propagation' joins each example with every other"),
        ("omniglot-background-5w1s --learner siamese", "learner.spread=0.1", "weighs the likelihood of classes"),
        ("demo", "network.kind=conv5", "expected one of conv4, keras, mlp, resnet12, unet. Did you mean 'conv4'?"),
    ],
)
def test_what_cannot_hold_together_is_refused(recipe: str, setting: str, message: str, tmp_path: Path) -> None:
    recipe, _, learner = recipe.partition(" --learner ")
    with pytest.raises(RecipeError, match=message):
        train(read_recipe(recipe, learner=learner or None, settings=[setting]), [tmp_path], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_quarter_turns_need_squares() -> None:
    part = RegionSet("mine", ArrayStore(["a"], np.zeros([1, 4, 6, 3], np.uint8)), (), ())
    recipe = read_recipe("folders-patch")
    with pytest.raises(RecipeError, match="mine have 4x6 pixels.*augment.turns=none"):
        require_fitting(recipe, {"train": part})
    require_fitting(replace(recipe, augment=replace(recipe.augment, turns="none")), {"train": part})


def draw(root: Path, region: str, size: int = 8) -> None:
    rng = np.random.default_rng(len(region))
    for label, name in enumerate(("maize", "oats")):
        for number in range(3):
            path = root / region / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(100 * label, 100 * label + 100, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(path)


@pytest.mark.usefixtures("eager")
def test_a_run_is_not_tested_where_it_has_been(tmp_path: Path) -> None:
    for region in ("hill", "valley", "plain"):
        draw(tmp_path / "data", region)
    settings = ["data.split=random", "data.train=1", "data.validation=1", "data.test=1", "tasks.ways=2"]
    settings += ["tasks.shots=1", "tasks.queries=1", "tasks.validation_queries=1", "network.filters=4"]
    settings += ["network.blocks=1", "training.updates=2", "training.validate_every=2", "training.validation_tasks=2"]
    recipe = read_recipe("folders-patch", settings=settings)
    run = tmp_path / "run"
    train(recipe, [tmp_path / "data"], run, verbose=0)
    request = Request(tasks=2)
    assert evaluate(run, [], request).tasks == 2
    images = RunFolder(run).read_json("run.json")["images"]
    assert images == {"shape": [8, 8, 3], "bands": [], "classes": []}

    # Larger pictures are others; new regions would be dealt out anew.
    draw(tmp_path / "large", "coast", size=12)
    with pytest.raises(RecipeError, match="large has pictures of rows x columns x bands 12, 12, 3; .* 8, 8, 3"):
        evaluate(run, [tmp_path / "large"], request)
    for number in range(6):
        draw(tmp_path / "data", f"new{number}")
    with pytest.raises(ArtifactError, match="no longer divided as it was.*(train|test|validation) gained"):
        evaluate(run, [], request)
    state = RunFolder(run).read_json("state.json")
    RunFolder(run).write_json("state.json", {**state, "finished": False})
    with pytest.raises(ArtifactError, match="no longer divided"):
        train(recipe, [tmp_path / "data"], run, resume=True, verbose=0)


def test_bands_and_classes_in_another_order_are_others() -> None:
    from fewshot.training.run import require_same_images

    ours: dict[str, list[Any]] = {"shape": [8, 8, 2], "bands": ["B4", "B8"], "classes": ["oats", "maize"]}
    require_same_images(ours, ours, "mine", any_size=False)
    require_same_images(ours, {**ours, "shape": [16, 16, 2]}, "mine", any_size=True)
    with pytest.raises(RecipeError, match="16, 16, 3"):
        require_same_images(ours, {**ours, "shape": [16, 16, 3]}, "mine", any_size=True)
    require_same_images({}, ours, "mine", any_size=False)  # a run that did not write it down
    for kind in ("bands", "classes"):
        with pytest.raises(RecipeError, match=f"mine has the {kind} .* in this order"):
            require_same_images(ours, {**ours, kind: ours[kind][::-1]}, "mine", any_size=False)


def test_sixteen_bit_pictures_need_a_scale(tmp_path: Path) -> None:
    from rasterio import Affine

    from fewshot.geo.grid import Grid
    from fewshot.geo.writing import write_raster

    grid = Grid(4, 4, Affine.scale(10, -10), None)
    write_raster(tmp_path / "hill" / "maize" / "0.tif", np.full((4, 4, 2), 3000, np.uint16), grid)
    source = read_recipe("folders-patch", settings=["data.scale=1e-4"]).data.source
    store = source.open([tmp_path]).store
    np.testing.assert_allclose(store.read([0]), 0.3, rtol=1e-6)
