"""Places to label next: where, how far apart, why, and in a file that people write into."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pytest

from fewshot.errors import RecipeError
from fewshot.exported.applicability import Applicability
from fewshot.geo.points import Examples
from fewshot.geo.windows import Window
from fewshot.mapping.applicable.suggest import Candidates
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.layout import WindowPlan, plan_windows
from fewshot.mapping.predict.parts import Block, in_levels
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import Case, output, read, run
from tests.mapping.fakes import PIXEL, adapted_to


@pytest.fixture
def plan(make_case: Callable[..., Case]) -> MapPlan:
    case = make_case(100, 100)
    space = Applicability.fit(np.arange(8.0).reshape(4, 2))
    model = replace(adapted_to([[0, 0], [1, 1]]), applicability=space)
    layout = plan_windows(PIXEL, (100, 100), WindowPlan(), classes=2)
    return MapPlan(open_scene([case.scene], PIXEL), layout, model, all_probabilities=False)


def block(window: Window, classes: np.ndarray, sure: np.ndarray, unlike: np.ndarray) -> Block:
    return Block(window, classes.astype(np.uint8), in_levels(sure), dissimilarity=in_levels(unlike))


def test_unsure_and_unlike_places_come_first_and_say_why(plan: MapPlan) -> None:
    classes, sure, unlike = np.ones((100, 100)), np.full((100, 100), 0.95), np.full((100, 100), 0.1)
    classes[50:] = 2
    sure[8:15, 8:15] = 0.5
    unlike[80:87, 80:87] = 1.5
    candidates = Candidates(plan, 2, threshold=0.5)
    for row in (0, 50):  # as two blocks
        part = np.s_[row : row + 50]
        candidates.add(block(Window(row, 0, 50, 100), classes[part], sure[part], unlike[part]))
    first, second = candidates.choose(Examples.none())
    assert abs(first.row - 11) <= 2 and abs(first.column - 11) <= 2 and first.mapped == 0
    assert abs(second.row - 83) <= 2 and abs(second.column - 83) <= 2 and second.mapped == 1
    assert candidates.reason(first) == "unsure: confidence 0.50"
    assert candidates.reason(second) == "unlike every label: dissimilarity 1.50, over 0.50"


def test_places_are_spread_and_classes_balanced(plan: MapPlan) -> None:
    rng = np.random.default_rng(0)
    classes = np.ones((100, 100))
    classes[:, 80:] = 2
    sure = rng.uniform(0.5, 1, (100, 100))
    sure[:, :40] = 0.5
    candidates = Candidates(plan, 10, threshold=0.5)
    candidates.add(block(Window(0, 0, 100, 100), classes, sure, np.zeros((100, 100))))
    labels = Examples(np.array([50]), np.array([20]), np.array([0], np.int32))
    places = candidates.choose(labels)
    assert [place.mapped for place in places] == [0, 1] * 5
    at = np.array([(place.row, place.column) for place in places] + [(50, 20)], float)
    distance = np.sqrt(((at[:, np.newaxis] - at) ** 2).sum(axis=-1))[np.triu_indices(11, 1)]
    assert distance.min() >= np.sqrt(100 * 100 / 10) / 2
    # More than the map can hold so far apart: closer, until each place is taken once.
    small = Candidates(plan, 500, threshold=0.5)
    small.add(block(Window(0, 0, 10, 10), np.ones((10, 10)), np.full((10, 10), 0.7), np.zeros((10, 10))))
    found = small.choose(Examples.none())
    assert 1 < len(found) == len({(place.row, place.column) for place in found}) <= 100


def test_no_place_without_data_is_named(plan: MapPlan) -> None:
    candidates = Candidates(plan, 5, threshold=0.5)
    classes = np.zeros((100, 100))
    candidates.add(block(Window(0, 0, 100, 100), classes, classes, classes))
    assert candidates.choose(Examples.none()) == ()
    classes[40, 40] = 1
    candidates.add(block(Window(0, 0, 100, 100), classes, 0.9 * classes, classes))
    assert [place[:2] for place in candidates.choose(Examples.none())] == [(40, 40)]


def test_a_map_names_places_for_people_to_fill_in(case: Case, tmp_path: Path) -> None:
    report = run(case.request(output(tmp_path), suggest=6))
    path = output(tmp_path).with_name("map_label_next.gpkg")
    assert path in report.files and report.suggested == 6
    frame = geopandas.read_file(path)
    assert list(frame.columns) == ["id", "class", "mapped", "reason", "confidence", "dissimilarity", "geometry"]
    assert frame["class"].isna().all() and frame["reason"].str.match("unsure|unlike").all()
    rows, columns = case.grid.to_pixels(frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    here = read(output(tmp_path))[rows.astype(int), columns.astype(int)]
    assert list(frame["mapped"]) == [report.table.names[value - 1] for value in here]
    style = ElementTree.parse(path.with_suffix(".qml"))
    assert [entry.get("value") for entry in style.iter("Option") if entry.get("value")] == list(report.table.names)
    # Filled in, it is a file of labels like any other; and it is never written over.
    frame["class"] = frame["mapped"]
    filled = tmp_path / "filled.gpkg"
    frame.to_file(filled)
    run(case.request(tmp_path / "next.tif", labels=LabelPlan(filled)))
    with pytest.raises(RecipeError, match="may hold labels by now"):
        case.request(output(tmp_path), suggest=6)
    run(case.request(output(tmp_path)))
    assert path.exists()
