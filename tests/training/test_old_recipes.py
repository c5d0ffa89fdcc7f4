"""Recipes that were written down when `[data]` had one set of keys for all sources still open, and mean the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fewshot.data.source import keys_of
from fewshot.data.sources import SOURCES
from fewshot.errors import ArtifactError, RecipeError
from fewshot.training.folder import RunFolder
from fewshot.training.recipe import differences, make_recipe, read_recipe
from fewshot.training.shipped import recipe_names

UNSET: dict[str, Any] = {
    **{"size": 0, "window": 0, "bands": [], "purity": 0.0, "scale": 0.0, "simulate": 0, "rotations": False},
    **{"split": "regions", "train": ["*"], "validation": [], "test": [], "split_seed": 0, "on_damaged": "raise"},
}
RECIPES = {read_recipe(name).data.source.name: name for name in reversed(recipe_names())}


def old_tables(source: str, **changed: Any) -> dict[str, Any]:
    """The tables of a recipe.json of that source, as they were written."""
    tables = read_recipe(RECIPES.get(source, "demo")).as_tables()
    return {**tables, "data": {**UNSET, "source": source, **changed}}


@pytest.mark.parametrize("source", SOURCES)
def test_an_old_recipe_of_each_source_opens(source: str, tmp_path: Path) -> None:
    found = make_recipe(old_tables(source))
    assert found.data.source.name == source
    assert set(found.as_tables()["data"]) == {"source", *keys_of(source)} | set(UNSET) - {
        *("size", "window", "bands", "purity", "scale", "simulate", "rotations")
    }
    # The program asks for the same again, and goes on with the run.
    (tmp_path / "recipe.json").write_text(json.dumps(old_tables(source)), encoding="utf-8")
    (tmp_path / "state.json").write_text('{"updates": 3}', encoding="utf-8")
    assert RunFolder(tmp_path).open(make_recipe(found.as_tables()), resume=True).updates == 3


@pytest.mark.parametrize(
    ("source", "written", "meant"),
    [
        ("omniglot", {"size": 0, "rotations": True}, {"size": 28, "rotations": True}),
        ("omniglot_tfds", {"size": 32}, {"size": 32, "rotations": False}),
        ("sen12ms", {"window": 0, "bands": ["B4", "VV"]}, {"window": 128, "size": 0, "bands": ["B4", "VV"]}),
        ("sen12ms", {"window": 32, "simulate": 4}, {"window": 32, "simulate": 4, "purity": 0.0}),
        ("class_folders", {"scale": 1e-4}, {"scale": 1e-4, "size": 0}),
        ("deepglobe", {"size": 102, "window": 0}, {"size": 102, "window": 0}),
    ],
)
def test_what_was_written_is_what_is_meant(source: str, written: dict[str, Any], meant: dict[str, Any]) -> None:
    found = make_recipe(old_tables(source, **written)).as_tables()["data"]
    assert {key: found[key] for key in meant} == meant


def test_a_resumed_run_differs_only_where_it_does(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(old_tables("sen12ms", window=64)), encoding="utf-8")
    (tmp_path / "state.json").write_text("{}", encoding="utf-8")
    wanted = make_recipe(old_tables("sen12ms"))
    assert differences(RunFolder(tmp_path).recipe(), wanted) == ["data.window: 64 against 128"]
    with pytest.raises(ArtifactError, match="data.window: 64 against 128"):
        RunFolder(tmp_path).open(wanted, resume=True)


@pytest.mark.parametrize(
    ("source", "key", "value", "readers"),
    [
        (
            "scenes",
            "window",
            32,
            r"sen12ms, deepglobe, simulated_scenes\. Set size under \[patches\] in the list of scenes instead\.$",
        ),
        ("scenes", "bands", ["B4"], r"sen12ms\. Set \[\[bands\]\] in the list of scenes instead\.$"),
        ("synthetic", "size", 8, r"omniglot, omniglot_tfds, task_archives, class_folders, sen12ms, deepglobe\.$"),
        ("omniglot", "scale", 0.5, r"class_folders\.$"),
        ("deepglobe", "purity", 0.5, r"sen12ms, simulated_scenes\.$"),
        ("class_folders", "simulate", 3, r"sen12ms\.$"),
        ("sen12ms", "rotations", True, r"omniglot, omniglot_tfds\.$"),
    ],
)
def test_a_key_of_another_source_is_refused(source: str, key: str, value: Any, readers: str) -> None:
    with pytest.raises(RecipeError, match=f"^data.{key} = .* means nothing to data.source = {source!r}.* by {readers}"):
        make_recipe(old_tables(source, **{key: value}))
