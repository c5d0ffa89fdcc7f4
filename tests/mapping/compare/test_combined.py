"""The model in the box, and the product of a model and logistic regression on a pixel's surroundings."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from fewshot.errors import ArtifactError
from fewshot.exported import LocalPredictor
from fewshot.exported.adapted import with_temperature
from fewshot.exported.predictor import Array
from fewshot.mapping.plain.combined import CombinedPredictor
from fewshot.mapping.plain.methods import with_surroundings
from fewshot.mapping.plain.predictor import PlainPredictor
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import Case, read, run
from tests.mapping.fakes import PIXEL, FakePredictor


@pytest.fixture
def box(box_model: Callable[[str], LocalPredictor]) -> LocalPredictor:
    return box_model("earth-points")


def task(bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six windows of digital numbers with two labels each, and two windows to answer for; two bands are missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(900, 60, (8, 32, 32, bands)).astype(np.float32)
    x[:, :, 16:] += rng.uniform(-300, 300, bands).astype(np.float32)
    x[..., :2] = 0
    y = np.full((6, 32, 32), -1)
    y[:, 9, 5], y[:, 20, 25] = 0, 1
    return x[:6], y, x[6:]


def test_surroundings_are_means_over_squares() -> None:
    pictures = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)
    found = with_surroundings(pictures, (3, 7))
    assert found.shape == (2, 9, 9, 9)
    np.testing.assert_allclose(found[1, 4, 4, 3:6], pictures[1, 3:6, 3:6].mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found[0, :, :, 8], uniform_filter(pictures[0, :, :, 2], 7), rtol=1e-4, atol=1e-6)


def test_the_two_are_multiplied(box: LocalPredictor) -> None:
    x, y, queries = task(len(box.card().bands))
    both = CombinedPredictor(box)
    plain = PlainPredictor("surroundings", box.card().band_names)
    parts = [one.predict(one.adapt(x, y), queries).probabilities for one in (box, plain)]
    adapted = both.adapt(x, y)
    temperatures = adapted.vector[1:3].tolist()
    assert temperatures[0] != 1 != temperatures[1]
    calibrated = [with_temperature(part, own) for part, own in zip(parts, temperatures, strict=True)]
    expected = calibrated[0] * calibrated[1] / (calibrated[0] * calibrated[1]).sum(axis=-1, keepdims=True)
    found = pickle.loads(pickle.dumps(both)).predict(adapted, queries)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-3)
    assert (found.class_index[:, :, :12] == 0).mean() > 0.95
    assert (found.class_index[:, :, 20:] == 1).mean() > 0.95
    with pytest.raises(ArtifactError, match="adapted was not made by"):
        both.predict(box.adapt(x, y), queries)


def test_who_is_too_sure_does_not_decide_alone() -> None:
    """A model that guesses and is sure of it: the labels that it was not shown tell."""

    class Boastful(FakePredictor):
        def answer(self, vector: Array, query_x: Array) -> dict[str, Array]:
            guessed = np.eye(2, dtype=np.float32)[np.floor(query_x[..., -1]).astype(int) % 2]
            return {"probabilities": 0.998 * guessed + 0.001, "class_index": guessed.argmax(axis=-1)}

    x, y, queries = task(4)
    both = CombinedPredictor(Boastful(replace(PIXEL, bands=PIXEL.bands * 2)))
    adapted = both.adapt(x, y)
    model, plain = adapted.vector[1:3].tolist()
    assert model > 4 > 1 > plain
    found = both.predict(adapted, queries)
    assert (found.class_index[:, :, :12] == 0).mean() > 0.95
    assert (found.class_index[:, :, 20:] == 1).mean() > 0.95


def test_where_nothing_can_be_held_out_the_two_count_alike() -> None:
    x, y, _ = task(4)
    both = CombinedPredictor(FakePredictor(replace(PIXEL, bands=PIXEL.bands * 2)))
    assert both.adapt(x[:1], y[:1]).vector[1:3].tolist() == [1, 1]


def test_small_windows_give_the_map_of_large_ones(make_case: Callable[..., Case], tmp_path: Path) -> None:
    """Squares of seven pixels reach three beyond a window, which is more than a quarter of an eighth of it."""
    case = make_case(96, 80)
    model = FakePredictor(replace(PIXEL, size=replace(PIXEL.size, largest=128)))
    maps = []
    for size in (32, 128):
        to = tmp_path / str(size) / "map.tif"
        labels = LabelPlan(case.labels, radius=0)
        run(case.request(to, labels=labels, windows=WindowPlan(size=size)), CombinedPredictor(model))
        maps.append([read(to), read(to.with_name("map_confidence.tif"))])
    np.testing.assert_array_equal(maps[0][0], maps[1][0])
    np.testing.assert_allclose(maps[0][1], maps[1][1], atol=1e-3)


def test_units_do_not_matter_to_the_model_in_the_box(box: LocalPredictor) -> None:
    x, y, queries = task(len(box.card().bands))
    first = box.predict(box.adapt(x, y), queries).probabilities
    second = box.predict(box.adapt(x * 1e-4, y), queries * 1e-4).probabilities
    np.testing.assert_allclose(first, second, atol=0.01)


def test_models_of_patches_are_not_combined(box: LocalPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "_card", replace(box.card(), output="patch"))
    with pytest.raises(ArtifactError, match="Use --method adapted"):
        CombinedPredictor(box)
