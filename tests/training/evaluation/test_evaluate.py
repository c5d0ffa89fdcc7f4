"""Evaluation: the right tasks, no leak of training regions, figures that agree with each other."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.data.region import RegionSet
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.task import TaskSpec
from fewshot.training.evaluation.evaluate import evaluate
from fewshot.training.evaluation.report import print_report, write_report
from fewshot.training.kinds.figures import mean_and_interval
from fewshot.training.kinds.under_test import Request, fewer_shots
from fewshot.training.recipe import read_recipe
from fewshot.training.train import train

pytestmark = pytest.mark.usefixtures("eager")

SMALL = [
    *("training.updates=2", "training.validate_every=2", "training.validation_tasks=4"),
    *("network.filters=4", "network.blocks=1", "learner.steps=2", "learner.evaluation_steps=2"),
]
RUNS_OWN = (1,)
"""Beside the run's own number of steps, so that no long curve is traced where none is looked at."""


@pytest.fixture(scope="module")
def demo_run(eager: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "demo"
    train(read_recipe("demo", settings=SMALL), [], out, verbose=0)
    return out


@pytest.fixture(scope="module")
def sen12ms_run(eager: None, sen12ms_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "sen12ms"
    settings = [
        *SMALL,
        "data.train=['103', '108', '130', '141']",
        "data.validation=['101']",
        "learner.evaluation_steps=1",
    ]
    archives = [
        sen12ms_root / f"{name}.zip" for name in ("winter_103", "winter_108", "winter_130", "fall_141", "summer_101")
    ]
    train(read_recipe("sen12ms-tasks-4w2s", settings=settings), archives, out, verbose=0)
    return out


def test_report_holds_what_it_promises(demo_run: Path, tmp_path: Path) -> None:
    found = evaluate(demo_run, [], Request(tasks=21, steps=(0, 1, 3)))
    report = found.plain()
    assert report["tasks"] == 21 == len(report["per_task"])
    assert (report["ways"], report["shots"], report["transductive"], report["views"]) == (4, 2, False, 1)
    assert report["draws"] == 1
    assert report["curve"]["steps"] == [0, 1, 2, 3]
    assert report["accuracy"]["mean"] == pytest.approx(np.mean(report["per_task"]))
    assert report["accuracy"]["mean"] == report["curve"]["accuracy"][2]
    assert report["error"]["mean"] == pytest.approx(1 - report["accuracy"]["mean"])
    counts = np.array(report["confusion"]["counts"])
    assert counts.sum() == 21 * 16
    assert np.trace(counts) / counts.sum() == pytest.approx(report["accuracy"]["mean"])
    assert sum(row["tasks"] for row in report["by_region"].values()) == 21
    assert set(report["by_region"]) <= {f"simulated_{i}" for i in (20, 21, 22, 23)}
    print_report(found)
    written = write_report(found, tmp_path / "report")
    assert "confusion.png" in written.read_text()
    assert (tmp_path / "report" / "curve.png").stat().st_size > 5000
    json.dumps(report)


def test_a_finished_run_takes_views_and_steps_but_nothing_else(demo_run: Path) -> None:
    request = Request(steps=RUNS_OWN, tasks=4, settings=("views.count=8", "views.turns=true", "views.flips=true"))
    report = evaluate(demo_run, [], request).plain()
    assert (report["views"], report["steps"]) == (8, 2)
    plain = evaluate(demo_run, [], Request(tasks=4, settings=("learner.evaluation_steps=1",))).plain()
    assert (plain["views"], plain["steps"]) == (1, 1)
    with pytest.raises(
        RecipeError, match=r"only views\.\*, learner\.evaluation_steps, learner\.kept and learner\.draws can"
    ):
        evaluate(demo_run, [], Request(steps=RUNS_OWN, tasks=4, settings=("network.filters=9",)))
    with pytest.raises(RecipeError, match="counts"):
        evaluate(demo_run, [], Request(steps=RUNS_OWN, tasks=4, settings=("views.counts=8",)))


def test_the_last_evaluation_on_the_recipes_own_tasks_is_kept(demo_run: Path, tmp_path: Path) -> None:
    kept = demo_run / "evaluation.json"

    def evaluate_and_read(request: Request) -> dict[str, Any]:
        report = evaluate(demo_run, [], replace(request, steps=(0,))).plain()
        found = json.loads(kept.read_text())
        evaluated = found.pop("evaluated")
        return evaluated if found == json.loads(json.dumps(report)) else {}

    kept.unlink(missing_ok=True)
    evaluate(demo_run, [], Request(steps=RUNS_OWN, tasks=3, split="train"))
    assert not kept.exists()
    own = {"split": "validation", "data": [], "seed": 0, "settings": []}
    assert evaluate_and_read(Request(steps=RUNS_OWN, tasks=3, split="validation")) == own
    assert evaluate_and_read(Request(steps=RUNS_OWN, tasks=3, seed=2)) == own | {"split": "test", "seed": 2}
    several = Request(
        tasks=4, shots=(2, 1), settings=("learner.evaluation_steps=1",), save_tasks=tmp_path / "list.json"
    )
    last = own | {"split": "test", "settings": ["learner.evaluation_steps=1"]}
    assert evaluate_and_read(several) == last
    for other in (
        *(Request(tasks=3, split="validation"), Request(tasks=3, ways=3), Request(tasks=3, shots=(1, 2))),
        *(Request(steps=RUNS_OWN, task_list=tmp_path / "list.json"), Request(steps=RUNS_OWN, tasks=3, split="train")),
    ):
        assert evaluate_and_read(other) == {}
        assert json.loads(kept.read_text())["evaluated"] == last


@pytest.mark.slow
def test_same_seed_same_figures_other_seed_others(demo_run: Path) -> None:
    requests = [Request(steps=RUNS_OWN, tasks=12, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (evaluate(demo_run, [], request).per_task for request in requests)
    assert first == again
    assert first != other


def test_a_frozen_list_gives_the_same_tasks(demo_run: Path, tmp_path: Path) -> None:
    drawn = evaluate(demo_run, [], Request(steps=RUNS_OWN, tasks=6, seed=3, save_tasks=tmp_path / "tasks.json"))
    again = evaluate(demo_run, [], Request(steps=RUNS_OWN, task_list=tmp_path / "tasks.json"))
    assert again.per_task == drawn.per_task


def test_a_run_meets_other_numbers_of_classes_and_shots(demo_run: Path) -> None:
    ways = 3
    report = evaluate(demo_run, [], Request(steps=RUNS_OWN, tasks=8, ways=ways, shots=(1, 5))).plain()
    assert (report["ways"], report["shots"], set(report["by_shots"])) == (ways, 1, {"1", "5"})


@pytest.mark.slow
def test_fixed_archives_are_evaluated_exactly_and_only_where_unseen(sen12ms_run: Path, sen12ms_root: Path) -> None:
    report = evaluate(
        sen12ms_run, [sen12ms_root / "spring_145.zip", sen12ms_root / "summer_101.zip"], Request(steps=RUNS_OWN)
    ).plain()
    assert report["fixed_tasks"]
    assert set(report["by_region"]) == {"spring_145"}
    assert report["tasks"] == report["by_region"]["spring_145"]["tasks"] >= 40
    fewer = evaluate(sen12ms_run, [sen12ms_root / "spring_145.zip"], Request(shots=(1,), steps=RUNS_OWN)).plain()
    assert (fewer["shots"], fewer["tasks"]) == (1, report["tasks"])


@pytest.mark.slow
def test_seen_regions_are_refused(sen12ms_run: Path, sen12ms_root: Path) -> None:
    with pytest.raises(DataNotFoundError, match="trained or validated on every region"):
        evaluate(sen12ms_run, [sen12ms_root / "winter_103.zip"], Request())
    with pytest.raises(RecipeError, match="no test regions"):
        evaluate(sen12ms_run, [], Request())
    report = evaluate(sen12ms_run, [], Request(split="validation", steps=RUNS_OWN)).plain()
    assert report["by_region"].keys() == {"summer_101"}


def test_a_fixed_head_refuses_other_ways(tmp_path: Path) -> None:
    settings = [*SMALL, "learner.head=fixed"]
    train(read_recipe("demo", settings=settings), [], tmp_path / "run", verbose=0)
    with pytest.raises(RecipeError, match="head knows 4 classes"):
        evaluate(tmp_path / "run", [], Request(steps=RUNS_OWN, tasks=4, ways=3))


@pytest.mark.slow
def test_sine_waves(tmp_path: Path) -> None:
    settings = ["training.updates=200", "training.validate_every=200", "training.validation_tasks=8"]
    train(read_recipe("sine-5shot", learner="meta-sgd", settings=settings), [], tmp_path / "run", verbose=0)
    request = Request(tasks=40, shots=(5, 10), steps=(0, 1, 2))
    found = evaluate(tmp_path / "run", [], request, baselines=True, baseline_minutes=0.05)
    report = found.plain()
    assert report["loss"]["mean"] == pytest.approx(np.mean(report["per_task"]))
    assert set(report["by_shots"]) == {"5", "10"}
    assert report["by_shots"]["5"]["mean"] == pytest.approx(report["loss"]["mean"])
    assert report["curve"]["loss"][1] < report["curve"]["loss"][0]
    print_report(found)
    assert write_report(found, tmp_path / "report").exists()


def test_interval_is_that_of_the_mean() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0])
    assert mean_and_interval(values).ci95 == pytest.approx(1.96 * np.std(values, ddof=1) / 2)


def test_fewer_shots_keep_the_first_examples(make_set: Callable[..., RegionSet]) -> None:
    task = sample_tasks(make_set({"x": {"a": 6, "b": 6, "c": 6, "d": 6}}), TaskSpec(4, 2, 2), 1, seed=0)[0]
    fewer = fewer_shots(task, 1)
    assert sorted(fewer.support_y) == [0, 1, 2, 3]
    assert set(fewer.support) < set(task.support)


@pytest.fixture(scope="module")
def all_runs(omniglot_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive in the official format, of two runs of real drawings of one alphabet.

    Each test item is the drawing of its class itself, in another order, so that any network must recognise it.
    """
    path = tmp_path_factory.mktemp("runs") / "all_runs.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(omniglot_root / "images_background_small2.zip") as source, zipfile.ZipFile(path, "w") as made:
        names = sorted(name for name in source.namelist() if "/Sanskrit/" in name and name.endswith(".png"))
        for run in ("run01", "run02"):
            lines = []
            items = rng.permutation(20) + 1
            for number, character in enumerate(rng.choice(42, 20, replace=False) + 1, start=1):
                drawing = next(name for name in names if f"/character{character:02d}/" in name)
                item = f"{run}/test/item{items[number - 1]:02d}.png"
                made.writestr(f"{run}/training/class{number:02d}.png", source.read(drawing))
                made.writestr(item, source.read(drawing))
                lines.append(f"{item} {run}/training/class{number:02d}.png\n")
            made.writestr(f"{run}/class_labels.txt", "".join(lines))
    return path


@pytest.mark.slow
def test_the_official_runs_are_evaluated_exactly(all_runs: Path, omniglot_root: Path, tmp_path: Path) -> None:
    settings = [*SMALL[1:], "training.updates=3", "training.validation_tasks=4", "learner.steps=1", "views.count=2"]
    paths = [omniglot_root / f"images_background_small{i}.zip" for i in (1, 2)]
    train(read_recipe("omniglot-challenge-minimal", settings=settings), paths, tmp_path / "run", verbose=0)
    found = evaluate(tmp_path / "run", [all_runs], Request(steps=RUNS_OWN))
    report = found.plain()
    assert (report["fixed_tasks"], report["tasks"], report["ways"], report["shots"]) == (True, 2, 20, 1)
    assert report["views"] == 2
    assert "each query in 2 views" in write_report(found, tmp_path / "report").read_text()
    assert report["accuracy"]["mean"] > 0.95
