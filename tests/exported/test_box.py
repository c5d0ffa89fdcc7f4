"""The models in the box: each loads, says what it is, answers, and is as good as its card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

import cli
from fewshot.errors import DataNotFoundError
from fewshot.exported import (
    find_model,
    model_names,
    models_table,
    newest_version,
    open_predictor,
    read_card,
)
from fewshot.training.datasets import read_parts
from fewshot.training.kinds import kind_of
from fewshot.training.kinds.under_test import Request
from fewshot.training.recipe import make_recipe, read_recipe
from serving.server.flags import ServeOptions
from serving.server.loading import LoadOptions, load_version

MOST_BYTES = 5_000_000
NAMES = model_names()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_they_are_listed_and_found() -> None:
    heads, rows = models_table()
    assert [row[0] for row in rows] == NAMES == ["earth-patches", "earth-points"]
    assert all(len(row) == len(heads) for row in rows)
    with pytest.raises(DataNotFoundError, match="Did you mean 'earth-points'"):
        open_predictor("earth-point")


def test_a_card_says_what_the_model_was_made_of_and_how(name: str) -> None:
    card = read_card(newest_version(find_model(name)))
    assert card.data.licence and card.data.name and "SIMULATED" in card.title
    assert card.data.simulated
    assert card.unit_free and card.missing_bands and card.label_space == "task"
    assert card.accuracy is not None and card.accuracy.split in ("validation", "test")
    assert {"features", "features_start"} <= set(card.signatures)
    assert card.cost is not None, "a server could not tell what a request takes"
    # One command makes it: `fewshot train NAME`, with the seed of the recipe.
    assert make_recipe(card.recipe) == read_recipe(name)
    assert card.recipe["training"]["seed"] == 0


def test_a_model_is_small(name: str) -> None:
    files = [path for path in find_model(name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert [path.name for path in find_model(name).iterdir()] == ["1"]


def test_a_model_answers_in_any_unit_with_bands_missing(name: str, box_model: Any) -> None:
    model, rng = box_model(name), np.random.default_rng(0)
    rows, columns, bands = model.card().size.rows, model.card().size.columns, len(model.card().bands)
    spectra = rng.uniform(200, 900, (2, bands))
    labels = np.array([0, 1, 0, 1])
    x = (spectra[labels][:, None, None] + rng.normal(0, 20, (4, rows, columns, bands))).astype(np.float32)
    x[..., [0, 4, 5]] = 0
    y = labels if model.card().output == "patch" else np.tile(labels[:, None, None], (1, rows, columns))
    for scale in (1, 1e-4):
        answer = model.adapt_and_predict(x * scale, y, x[:2] * scale)
        assert (answer.class_index[0] == 0).all() and (answer.class_index[1] == 1).all()
        assert np.isfinite(answer.probabilities).all()


@pytest.mark.slow
def test_the_server_warms_up_with_what_a_model_brings(name: str) -> None:
    load_version(name, 1, newest_version(find_model(name)), LoadOptions()).retire()


def test_a_model_is_served_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[ServeOptions] = []
    monkeypatch.setattr("serving.server.server.serve", seen.append)
    for arguments in (["earth-points"], ["earth-points", "--model_name=mine"]):
        assert CliRunner().invoke(cli.main, ["serve", *arguments], catch_exceptions=False).exit_code == 0
    box = find_model("earth-points")
    assert [dict(options.models) for options in seen] == [{"earth-points": box}, {"mine": box}]
    # A folder of that name goes before.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "earth-points" / "3").mkdir(parents=True)
    assert CliRunner().invoke(cli.main, ["serve", "earth-points"], catch_exceptions=False).exit_code == 0
    assert dict(seen[-1].models) == {"earth-points": tmp_path / "earth-points"}


@pytest.mark.slow
def test_colour_pictures_are_classified_by_a_models_name(pictures_folder: Path, tmp_path: Path) -> None:
    for path in pictures_folder.rglob("*.png"):
        larger = tmp_path / path.relative_to(pictures_folder)
        larger.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((32, 32), Image.Resampling.NEAREST).save(larger)
    places = ["--support", str(tmp_path / "hill"), "--query", str(tmp_path / "valley")]
    result = CliRunner().invoke(cli.main, ["predict", "--model", "earth-patches", *places, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["accuracy"] > 0.5  # of three classes that differ in colour


@pytest.mark.slow
def test_a_model_is_as_good_as_its_card_says(name: str, box_model: Any) -> None:
    model = box_model(name)
    card = model.card()
    said, recipe = card.accuracy, make_recipe(card.recipe)
    kind = kind_of(recipe)
    tested = read_parts(recipe.data, [])[said.split]
    chosen = kind.choose(tested, Request(tasks=said.tasks, seed=said.seed), None)

    def predict(inputs: Any) -> tf.Tensor:
        answers = [model.adapt_and_predict(*task, steps=said.steps).probabilities for task in zip(*inputs, strict=True)]
        most = max(answer.shape[-1] for answer in answers)
        wide = [np.pad(answer, [(0, 0)] * (answer.ndim - 1) + [(0, most - answer.shape[-1])]) for answer in answers]
        return tf.constant(np.stack(wide)[None])

    found = kind.measure(predict, chosen, [said.steps], 0)
    assert found.per_task.mean() == pytest.approx(said.mean, abs=said.ci95 / 2)
