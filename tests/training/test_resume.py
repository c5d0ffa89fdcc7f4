"""A run killed at any moment goes on where it was, and ends where it would have ended."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from fewshot.errors import ArtifactError, DivergedError, TaskError
from fewshot.training.folder import RunFolder, TrainingState
from fewshot.training.progress import SaveRun
from fewshot.training.recipe import read_recipe
from fewshot.training.train import train
from tests.kills import FIFTY, finish_with_kills

SETTINGS = [
    "training.updates=60",
    "training.validate_every=25",
    "training.validation_tasks=8",
    "training.deterministic=true",
    "network.filters=4",
    "network.blocks=2",
]
SCRIPT = """
import sys
from pathlib import Path
from fewshot.training import progress
progress.SAVE_EVERY = 0.0
from fewshot.training.recipe import read_recipe
from fewshot.training.train import train
train(read_recipe("demo", settings={settings!r}), [], Path(sys.argv[1]), resume=True, verbose=0)
"""


def start(out: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SCRIPT.format(settings=SETTINGS), str(out)], stderr=subprocess.PIPE)


def weights(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


def updates_of(out: Path) -> int:
    try:
        return json.loads((out / "state.json").read_text())["updates"]
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


@pytest.mark.slow
def test_two_kills_end_where_no_kill_ends(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(300) == 0
    for after in (9, 31):
        process = start(killed)
        while updates_of(killed) < after and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, "finished before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert after <= updates_of(killed) < 60
    assert start(killed).wait(300) == 0
    state = RunFolder(killed).state()
    assert state.finished
    assert state.updates == 60
    expected, found = weights(whole / RunFolder(whole).state().checkpoint), weights(killed / state.checkpoint)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
    rows = list(csv.DictReader((killed / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert len(list(killed.glob("latest-*"))) == 1


@pytest.mark.slow
def test_runs_that_are_killed_fifty_times_end_where_no_kill_ends(tmp_path: Path) -> None:
    """While they begin, train, validate and save; each goes on where it was, until it is trained."""
    dice = random.Random(1)
    assert start(tmp_path / "whole").wait(1200) == 0
    expected = weights(tmp_path / "whole" / RunFolder(tmp_path / "whole").state().checkpoint)
    kills, runs = 0, 0
    while kills < FIFTY:
        runs += 1
        out = tmp_path / str(runs)
        kills += finish_with_kills(partial(start, out), partial(updates_of, out), dice, beginning=8.0)
        state = RunFolder(out).state()
        assert (state.finished, state.updates) == (True, 60)
        found = weights(out / state.checkpoint)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
        assert [row["epoch"] for row in csv.DictReader((out / "history.csv").open())] == ["0", "1", "2"]


def tiny(**changes: str) -> list[str]:
    settings = {"training.updates": "4", "training.validate_every": "2", "training.validation_tasks": "4"}
    settings |= {"network.filters": "4", "network.blocks": "1"} | changes
    return [f"{key}={value}" for key, value in settings.items()]


@pytest.mark.usefixtures("eager")
def test_a_run_is_not_overwritten_nor_resumed_under_another_recipe(tmp_path: Path) -> None:
    recipe = read_recipe("demo", settings=tiny())
    state = train(recipe, [], tmp_path / "run", verbose=0)
    assert state.finished
    assert state.updates == 4
    with pytest.raises(ArtifactError, match="already holds a run. Add --resume"):
        train(recipe, [], tmp_path / "run", verbose=0)
    other = read_recipe("demo", settings=tiny(**{"training.meta_rate": "0.5"}))
    with pytest.raises(ArtifactError, match="training.meta_rate: 0.003 against 0.5"):
        train(other, [], tmp_path / "run", resume=True, verbose=0)
    assert train(recipe, [], tmp_path / "run", resume=True, verbose=0) == state


@pytest.mark.usefixtures("eager")
def test_a_start_that_failed_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    too_many = read_recipe("demo", settings=tiny(**{"tasks.shots": "10000"}))
    with pytest.raises(TaskError):
        train(too_many, [], tmp_path / "run", verbose=0)
    RunFolder(tmp_path / "run").validation_tasks.write_text("those of another recipe")
    recipe = read_recipe("demo", settings=tiny())
    assert train(recipe, [], tmp_path / "run", verbose=0).finished
    assert RunFolder(tmp_path / "run").recipe() == recipe
    (tmp_path / "run" / "state.json").unlink()  # a run that somebody gave away without its checkpoint
    with pytest.raises(ArtifactError, match="already holds a run"):
        train(recipe, [], tmp_path / "run", verbose=0)


def test_a_time_limit_ends_the_run_with_usable_weights(tmp_path: Path) -> None:
    recipe = read_recipe("demo", settings=tiny(**{"training.updates": "100000"}))
    state = train(recipe, [], tmp_path / "run", minutes=0.02, verbose=0)
    assert 0 < state.updates < 100000
    assert RunFolder(tmp_path / "run").best_weights.exists()
    assert train(recipe, [], tmp_path / "run", minutes=0.02, resume=True, verbose=0) == state
    later = train(recipe, [], tmp_path / "run", minutes=state.seconds / 60 + 0.02, resume=True, verbose=0)
    assert later.finished
    assert later.updates > state.updates


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"not a run folder: it has no recipe\.json"):
        RunFolder(tmp_path).recipe()
    assert RunFolder(tmp_path).state() == TrainingState()


def test_a_loss_that_is_not_finite_stops_with_a_remedy(tmp_path: Path) -> None:
    save = SaveRun(RunFolder(tmp_path), TrainingState(updates=7), monitor="val_accuracy")
    with pytest.raises(DivergedError, match=r"not finite after 8 updates. Lower training.meta_rate"):
        save.on_train_batch_end(0, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
