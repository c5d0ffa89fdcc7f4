"""Recipes that extend others, and those of the papers on data of their layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.errors import RecipeError
from fewshot.training.recipe import read_recipe
from fewshot.training.train import train


def test_a_recipe_takes_from_another_what_it_does_not_say() -> None:
    one, five, twenty = (read_recipe(f"papers/omniglot-{name}", learner="maml") for name in ("5w1s", "5w5s", "20w5s"))
    assert (one.tasks.shots, five.tasks.shots, twenty.tasks.shots) == (1, 5, 5)
    assert (one.tasks.ways, five.tasks.ways, twenty.tasks.ways) == (5, 5, 20)
    assert one.learner == five.learner and one.network == twenty.network
    assert (twenty.learner.rate, twenty.learner.steps, twenty.learner.adapts) == (0.1, 5, "no_normalization")
    assert read_recipe("papers/omniglot-20w5s", learner="anil").learner.evaluation_steps == 10


def test_a_file_of_ones_own_extends_a_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('extends = "demo"\n[training]\nupdates = 7\n', encoding="utf-8")
    found, base = read_recipe(str(own)), read_recipe("demo")
    assert (found.name, found.training.updates) == ("own", 7)
    assert found.data == base.data and found.learner == base.learner


@pytest.mark.parametrize("base", ["CIRCLE", "3", "demoo"])
def test_what_cannot_be_extended_is_refused(tmp_path: Path, base: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f"extends = {base!r}\n".replace("CIRCLE", str(own)).replace("'3'", "3"), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"expected another recipe|Unknown recipe 'demoo'. Did you mean 'demo'"):
        read_recipe(str(own))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("learner", ["matching", pytest.param("maml", marks=pytest.mark.slow)])
def test_mini_imagenet_is_read_from_its_folders(tmp_path: Path, learner: str) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for number in range(5):
            folder = tmp_path / "mini-imagenet" / part / f"n{number:08d}"
            folder.mkdir(parents=True)
            for picture in range(2):
                pixels = rng.integers(0, 255, (30 + picture, 40 - number, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{picture}.jpg")
    small = ["training.updates=1", "training.validate_every=1", "training.validation_tasks=1", "data.size=16"]
    small += ["tasks.queries=1", "tasks.validation_queries=1", "network.filters=2", "training.meta_batch_size=1"]
    recipe = read_recipe("papers/mini-imagenet-5w1s", learner=learner, settings=small)
    assert train(recipe, [tmp_path / "mini-imagenet"], tmp_path / "run", verbose=0).updates == 1


def test_pictures_of_any_size_want_a_size(tmp_path: Path) -> None:
    recipe = read_recipe("papers/mini-imagenet-5w1s", settings=["data.size=0"])
    with pytest.raises(RecipeError, match="expected data.size too"):
        recipe.data.source.read([tmp_path])
