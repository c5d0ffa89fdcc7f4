"""The job: trials that fail, searches that are killed, weights that stay, and the command's sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from click.testing import CliRunner
from PIL import Image

import cli
from fewshot.errors import ArtifactError, DivergedError, RecipeError
from fewshot.training.folder import TrainingState
from fewshot.training.recipe import Recipe, read_recipe
from fewshot.training.tuning import Search, TuneRequest, job, read_varied, tune


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """In place of training: the best rate is 0.1, the best number of steps 3, and rates over 1 diverge."""
    recipes: list[Recipe] = []

    def train(recipe: Recipe, paths: Any, out: Path, **_: Any) -> TrainingState:
        recipes.append(recipe)
        out.mkdir(parents=True, exist_ok=True)
        (out / "best.weights.h5").write_text("weights")
        rate, steps = recipe.learner.rate, recipe.learner.steps
        if rate > 1:
            raise DivergedError("The loss of the queries is not finite.")
        return TrainingState(recipe.training.updates, best=1 - abs(rate - 0.1) - 0.01 * abs(steps - 3), finished=True)

    monkeypatch.setattr(job, "train", train)
    monkeypatch.setattr(keras.backend, "clear_session", lambda: None)  # nothing is there to be cleared
    return recipes


def request(generations: int = 3, **changed: Any) -> TuneRequest:
    varied = [read_varied("learner.rate=1e-3..10:log"), read_varied("learner.steps=1..5")]
    return TuneRequest(
        lambda more: read_recipe("demo", settings=more), varied, updates=7, generations=generations, **changed
    )


def test_the_best_is_found_and_keeps_its_weights(trained: list[Recipe], tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    found = tune(request(), tmp_path, tried=lambda number, total, trial: heard.append((number, total)))
    assert heard == [(number, 24) for number in range(1, 25)]
    assert {recipe.training.updates for recipe in trained} == {7}
    assert found.monitored == "val_accuracy"
    assert found.best.figure == max(trial.figure for trial in found.trials if trial.figure is not None)
    assert found.best.figure is not None and found.best.figure > 0.9
    assert found.settings == tuple(f"{key}={value}" for key, value in found.best.values.items())
    lost = [trial for trial in found.trials if trial.figure is None]
    assert lost and all("not finite" in trial.failed for trial in lost)
    kept = [path.parent.name for path in tmp_path.glob("trials/*/best.weights.h5")]
    assert kept == [f"{found.trials.index(found.best):03d}"]
    with Image.open(tmp_path / "tune.png") as picture:
        assert min(picture.size) > 300


def test_a_killed_search_ends_where_it_would_have_ended(
    trained: list[Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(request(), tmp_path / "whole")
    train: Callable[..., TrainingState] = vars(job)["train"]

    def killed(recipe: Recipe, *given: Any, **more: Any) -> TrainingState:
        if len(trained) == 24 + 13:
            raise KeyboardInterrupt
        return train(recipe, *given, **more)

    monkeypatch.setattr(job, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(request(), tmp_path / "killed")
    monkeypatch.setattr(job, "train", train)
    with pytest.raises(ArtifactError, match="already holds a search. Add --resume"):
        tune(request(), tmp_path / "killed")
    trained.clear()
    again = tune(request(), tmp_path / "killed", resume=True)
    assert len(trained) == 24 - 13
    assert again.trials == whole.trials
    longer = tune(request(generations=4), tmp_path / "killed", resume=True)
    assert longer.trials[:24] == whole.trials
    with pytest.raises(ArtifactError, match="holds another search: its search differ"):
        tune(request(search=Search(seed=1)), tmp_path / "killed", resume=True)
    (tmp_path / "killed" / "tune.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tune\.json is damaged"):
        tune(request(), tmp_path / "killed", resume=True)


def test_a_generation_of_failures_says_why(trained: list[Recipe], tmp_path: Path) -> None:
    hopeless = TuneRequest(lambda more: read_recipe("demo", settings=more), [read_varied("learner.rate=6..9")])
    with pytest.raises(RecipeError, match=r"None of the 8 trials .* not finite\. Narrow the ranges"):
        tune(hopeless, tmp_path)


def test_a_misspelt_setting_is_said_before_any_trial(trained: list[Recipe], tmp_path: Path) -> None:
    wrong = TuneRequest(lambda more: read_recipe("demo", settings=more), [read_varied("learner.rat=1..2")])
    with pytest.raises(RecipeError, match=r"unknown key learner\.rat\. Did you mean 'rate'"):
        tune(wrong, tmp_path)
    assert not trained


def test_the_command_says_what_to_do_next(trained: list[Recipe], tmp_path: Path) -> None:
    arguments = ["tune", "demo", "--vary", "learner.rate=1e-3..1:log", "--generations", "2", "--particles", "3"]
    arguments += ["--set", "network.filters=4", "--out", str(tmp_path), "--method", "random"]
    result = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "[6/6] learner.rate " in result.output
    best = json.loads((tmp_path / "tune.json").read_text())["trials"]
    rate = max(best, key=lambda trial: trial["figure"])["values"]["learner.rate"]
    assert f"fewshot train demo --learner proto-maml --set network.filters=4 --set learner.rate={rate}" in result.output
    assert "chosen on these validation tasks" in result.output
    again = CliRunner().invoke(cli.main, arguments)
    assert again.exit_code == 1
    assert "already holds a search" in again.output
    nothing = CliRunner().invoke(cli.main, ["tune", "demo"])
    assert "Nothing is varied" in nothing.output


@pytest.mark.slow
def test_a_search_trains(tmp_path: Path) -> None:
    small = ["training.validation_tasks=8", "network.filters=4", "network.blocks=1"]
    varied = [read_varied("learner.rate=1e-3..1:log"), read_varied("learner.head=prototype,shared")]
    asked = TuneRequest(
        lambda more: read_recipe("demo", settings=(*small, *more)),
        varied,
        updates=4,
        generations=2,
        search=Search(particles=2, elites=1),
    )
    found = tune(asked, tmp_path)
    assert len(found.trials) == 4
    assert all(trial.figure is not None for trial in found.trials)
    assert tune(asked, tmp_path, resume=True) == found
