"""Baselines are trained on the run's own training data, as it was then, and never on what is tested."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.errors import ArtifactError, DataNotFoundError
from fewshot.training.evaluation import baselines
from fewshot.training.evaluation.evaluate import evaluate
from fewshot.training.kinds.under_test import Request
from fewshot.training.recipe import read_recipe
from fewshot.training.run import Run
from fewshot.training.train import train

pytestmark = pytest.mark.usefixtures("eager")

SETTINGS = [
    *("data.split=random", "data.train=1", "data.validation=1", "data.test=1"),
    *("tasks.ways=2", "tasks.shots=1", "tasks.queries=1", "tasks.validation_queries=1"),
    *("network.filters=4", "network.blocks=1"),
    *("training.updates=2", "training.validate_every=2", "training.validation_tasks=2"),
]
TWO = Request(tasks=2, steps=(0,))


def draw(root: Path, *regions: str) -> None:
    for region in regions:
        rng = np.random.default_rng(len(region))
        for label, name in enumerate(("maize", "oats")):
            for number in range(3):
                path = root / region / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(100 * label, 100 * label + 100, (8, 8, 3), np.uint8)).save(path)


@pytest.fixture(scope="module")
def trained(eager: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and the `run` on it."""
    folder = tmp_path_factory.mktemp("trained")
    draw(folder / "data", "hill", "valley", "plain")
    train(read_recipe("folders-patch", settings=SETTINGS), [folder / "data"], folder / "run", verbose=0)
    return folder


@pytest.fixture
def run(trained: Path) -> Iterator[Path]:
    """The run; regions that a test adds to its data are gone afterwards."""
    yield trained / "run"
    for region in (trained / "data").glob("new*"):
        shutil.rmtree(region)


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The regions that every baseline was trained on."""
    found: list[tuple[str, ...]] = []
    for name in ("pretrained_body", "prototypical_network"):
        real: Callable[..., Any] = getattr(baselines, name)

        def seen(*given: Any, _real: Callable[..., Any] = real, **more: Any) -> Any:
            found.append(given[2].region_names)
            return _real(*given, **more)

        monkeypatch.setattr(baselines, name, seen)
    return found


@pytest.mark.slow
def test_they_train_on_the_runs_own_part_whatever_is_tested(
    run: Path, tmp_path: Path, trained_on: list[tuple[str, ...]]
) -> None:
    draw(tmp_path / "other", "coast", "island")
    report = evaluate(run, [tmp_path / "other"], TWO, baselines=True, baseline_minutes=0.01)
    assert len(report.baselines) == 4
    assert {"random initialisation", "pre-training + fine-tuning", "prototypical network"} < report.baselines.keys()
    assert trained_on == [Run.open(run).parts()["train"].region_names] * 2
    assert report.regions is not None
    assert not set(trained_on[0]) & set(report.regions.by_region)


def test_data_that_was_divided_anew_trains_none(run: Path, trained_on: list[tuple[str, ...]]) -> None:
    """With --data the run's own data is read for the baselines alone, and was once dealt out again unawares."""
    new = [f"new{number}" for number in range(6)]
    data = run.parent / "data"
    draw(data, *new)
    with pytest.raises(ArtifactError, match="no longer divided as it was"):
        evaluate(run, [data], TWO, baselines=True, baseline_minutes=0.01)
    assert trained_on == []
    report = evaluate(run, [data], TWO)  # the run itself has seen none of the new ones
    assert report.regions is not None
    parts = Run.open(run).folder.read_json("run.json")["parts"]
    assert set(report.regions.by_region) <= {*new, *parts["test"]["places"]}


def test_what_they_would_train_on_is_not_tested(run: Path, trained_on: list[tuple[str, ...]]) -> None:
    with pytest.raises(DataNotFoundError, match=r"1 of its places \(.*\) are tested: .* Leave --baselines out"):
        evaluate(run, [], Request(tasks=2, split="train"), baselines=True)
    assert trained_on == []


def test_where_classes_were_split_classes_are_told_apart() -> None:
    def region(*classes: str) -> RegionSet:
        none = np.zeros(0, np.int64)
        one = Region("x", classes, none, none, none)
        return RegionSet("x", ArrayStore([], np.zeros([0, 4, 4, 1])), (one,), classes)

    baselines.require_unseen(region("a", "b"), region("c"), split="classes")
    with pytest.raises(DataNotFoundError, match=r"1 of its classes \(b\)"):
        baselines.require_unseen(region("a", "b"), region("b", "c"), split="classes")
    with pytest.raises(DataNotFoundError, match=r"1 of its places \(x\)"):
        baselines.require_unseen(region("a", "b"), region("c"), split="random")
