"""Classes that a region's labels do not tell apart are named with its map."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.mapping import choose_method
from fewshot.mapping.compare.confusion import confusion_lines, count_confusion, describe_confusion
from fewshot.mapping.plain.combined import CombinedPredictor
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import Case, run
from tests.mapping.fakes import CLASSES, PIXEL, FakePredictor, draw_points, write_points
from tests.mapping.predict.test_resume import Killed, stop_after

NAMES = ("lake", "shadow", "wood")


def test_rows_are_labels_and_columns_what_they_are_taken_for() -> None:
    found = count_confusion(np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 0]), 3)
    assert found.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    told = describe_confusion(found, NAMES)
    assert (told["pixels"], told["right"], told["classes"]) == (5, 2, list(NAMES))
    assert told["counts"] == found.tolist()


def test_classes_are_named_that_are_told_less_than_half_of_the_time() -> None:
    counts = np.array([[1, 3, 0], [2, 2, 0], [0, 0, 1]], np.int32)
    first, second, third = confusion_lines(counts, NAMES)
    assert first == "Labelled pixels held out in turn: 4 of 9 were told right from the others."
    # A single pixel tells nothing of its class, and half of the time is no less.
    assert second == "Not tested, for too few labels apart from each other: wood."
    assert third.startswith("Hardly told from other classes: lake (1 of 4, 3 taken for shadow). ")
    assert len(confusion_lines(np.full((3, 3), 2, np.int32) + 2 * np.eye(3, dtype=np.int32), NAMES)) == 1
    assert "when the model was adapted: 4 of 9" in confusion_lines(counts, NAMES, before=True)[0]
    (nothing,) = confusion_lines(np.zeros((3, 3), np.int32), NAMES)
    assert nothing.startswith("No label could be held out")


def test_the_map_of_labels_that_mislead_says_so(make_case: Callable[..., Case], tmp_path: Path) -> None:
    """Points of two classes that lie in one, as shadow and water may look alike; the third is told."""
    case = make_case(96, 80)
    places = np.argwhere(case.truth == 0)
    chosen = np.random.default_rng(1).permutation(places)[:16].tolist()
    alike = [(row, column, CLASSES[number % 2]) for number, (row, column) in enumerate(chosen)]
    third = [point for point in draw_points(case.truth, 8) if point[2] == CLASSES[2]]
    labels = write_points(tmp_path / "alike.gpkg", case.grid, [*alike, *third])
    both = CombinedPredictor(FakePredictor(replace(PIXEL, size=replace(PIXEL.size, largest=128))))
    request = case.request(tmp_path / "map.tif", labels=LabelPlan(labels, radius=0), save_adapted=tmp_path / "mine.npz")
    said = list(run(request, both).lines())
    (line,) = [line for line in said if line.startswith("Hardly told")]
    assert any(name in line for name in CLASSES[:2]) and f"{CLASSES[2]} (" not in line
    held = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))["held_out"]
    third_row = held["classes"].index(CLASSES[2])
    assert held["pixels"] == 24 and held["counts"][third_row][third_row] == 8
    assert held["right"] == np.trace(held["counts"]) < 20

    # Who maps with it later is told the same, of labels of another map.
    again = list(run(case.request(tmp_path / "again.tif", adapted=tmp_path / "mine.npz"), both).lines())
    assert line in again and any("held out in turn when the model was adapted" in one for one in again)


def test_an_interrupted_map_says_the_same(make_case: Callable[..., Case], tmp_path: Path, small_groups: None) -> None:
    case = make_case()
    both = CombinedPredictor(FakePredictor(replace(PIXEL, size=replace(PIXEL.size, largest=64))))

    def told(name: str, **options: Any) -> list[str]:
        resume = options.pop("resume", False)
        settings: dict[str, Any] = {"labels": LabelPlan(case.labels, radius=0), "windows": WindowPlan(size=32)}
        request = case.request(tmp_path / f"{name}.tif", resume=resume, **settings)
        return [line for line in run(request, both, **options).lines() if "held out" in line]

    with pytest.raises(Killed):
        told("cut", engine=stop_after(1, both))
    assert told("cut", resume=True) == told("whole") != []


def test_a_comparison_tells_of_the_method_that_maps(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    kept = tmp_path / "mine.npz"
    asked = case.request(tmp_path / "map.tif", compare=True, method="forest", save_adapted=kept)
    choice = choose_method(FakePredictor(), asked)
    report = run(choice.request, choice.predictor, comparison=choice.comparison)
    assert choice.comparison is not None and report.confusion is not None
    (forest,) = [one for one in choice.comparison.methods if one.name == "forest"]
    assert report.confusion.sum() == choice.comparison.labels
    assert np.trace(report.confusion) / report.confusion.sum() == pytest.approx(forest.accuracy.value)
    later = run(case.request(tmp_path / "later.tif", adapted=kept, method="forest"), choice.predictor)
    assert later.confusion is not None and np.array_equal(later.confusion, report.confusion)
