"""Recipes: typed, frozen, and strict about what they do not know."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fewshot.errors import RecipeError
from fewshot.training.recipe import differences, make_recipe, read_recipe
from fewshot.training.shipped import recipe_names, recipe_text

WANTED = {
    "sine-5shot",
    "sine-10shot",
    "sine-20shot",
    "omniglot-5w1s",
    "omniglot-5w5s",
    "omniglot-20w1s",
    "omniglot-challenge-minimal",
    "sen12ms-tasks-4w2s",
    "sen12ms-tasks-4w2s-pretrained",
    "demo",
    "folders-patch",
    "folders-pretrained",
    "scenes-patch",
    "scenes-points",
}


def test_the_promised_recipes_ship() -> None:
    assert set(recipe_names()) >= WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_every_learner_of_every_recipe_is_valid_and_documented(name: str) -> None:
    head = recipe_text(name).partition("description = ")[0]
    assert f"# fewshot train {name}" in head
    assert re.search(r"\b(minutes?|hours?)\b", head, re.IGNORECASE), "its head says how long it takes"
    assert all(len(line) > 4 for line in head.splitlines()), "its head is a stub"
    learners = tomllib.loads(recipe_text(name))["learners"]
    assert {"maml", "meta-sgd"} <= set(learners)
    assert name.startswith("sine") or "proto-maml" in learners
    for learner in learners:
        recipe = read_recipe(name, learner=learner)
        assert recipe.description
        assert make_recipe(recipe.as_tables()) == recipe
        assert recipe.learner.steps or recipe.learner.rates == "constant", f"{learner}: no step, so no rate is learned"


def test_maml_and_meta_sgd_are_what_they_say() -> None:
    for name in WANTED:
        assert read_recipe(name, learner="maml").learner.rates == "constant"
        assert read_recipe(name, learner="meta-sgd").learner.rates == "per_parameter"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.update=5", "unknown key training.update. Did you mean 'updates'?"),
        ("trainning.updates=5", "no table 'trainning'. Did you mean 'training'?"),
        ("training.updates=many", "training.updates = 'many': expected a whole number"),
        ("training.updates=1.5", "expected a whole number"),
        ("training.deterministic=1", "expected true or false"),
        ("tasks.shots=[1, 'two']", "expected a list, each item a whole number or a whole number"),
        ("updates=5", "--set expects table.key=value"),
        ("augment.rotation=999", "rotation"),
    ],
)
def test_bad_settings_say_what_was_expected(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("[", r"\[").replace("(", r"\(")):
        read_recipe("demo", settings=[setting])


def test_settings_override_learners_and_learners_the_recipe() -> None:
    recipe = read_recipe("sine-5shot", learner="meta-sgd", settings=["learner.rate=0.5", "network.units=[8, 8]"])
    assert (recipe.learner.rates, recipe.learner.rate, recipe.network.units) == ("per_parameter", 0.5, (8, 8))
    assert differences(recipe, read_recipe("sine-5shot", learner="meta-sgd")) == [
        "learner.rate: 0.5 against 0.01",
        "network.units: [8, 8] against [40, 40]",
    ]


def test_unknown_names_have_a_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'sine-5shot'"):
        read_recipe("sine5shot")
    with pytest.raises(RecipeError, match="has no learner 'mamal'. Did you mean 'maml'"):
        read_recipe("demo", learner="mamal")


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('description = "mine"\n[data]\nsource = "sine"\n', encoding="utf-8")
    assert read_recipe(str(own)).data.source.name == "sine"
    own.write_text("[data\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="not valid TOML"):
        read_recipe(str(own))
    with pytest.raises(RecipeError, match="no recipe file"):
        read_recipe(str(tmp_path / "other.toml"))


def test_recipes_and_runs_written_before_still_open() -> None:
    """`first_order` became one of the choices of `backward`."""
    tables = read_recipe("sine-5shot", learner="fomaml").as_tables()
    assert tables["learner"].pop("backward") == "first_order"
    older = make_recipe({**tables, "learner": {**tables["learner"], "first_order": True}})
    assert older == read_recipe("sine-5shot", learner="fomaml")
    assert read_recipe("sine-5shot", settings=["learner.first_order=false"]).learner.backward == "exact"
