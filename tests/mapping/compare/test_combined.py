"""The model in the box, and the product of a model and logistic regression on a pixel's surroundings."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from fewshot.errors import ArtifactError
from fewshot.exported import LocalPredictor
from fewshot.mapping.plain.combined import CombinedPredictor
from fewshot.mapping.plain.methods import with_surroundings
from fewshot.mapping.plain.predictor import PlainPredictor


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
    expected = np.maximum(parts[0], 1e-4) * np.maximum(parts[1], 1e-4)
    expected /= expected.sum(axis=-1, keepdims=True)
    adapted = both.adapt(x, y)
    found = pickle.loads(pickle.dumps(both)).predict(adapted, queries)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-4)
    assert (found.class_index[:, :, :12] == 0).mean() > 0.95
    assert (found.class_index[:, :, 20:] == 1).mean() > 0.95
    with pytest.raises(ArtifactError, match="adapted was not made by"):
        both.predict(box.adapt(x, y), queries)


def test_units_do_not_matter_to_the_model_in_the_box(box: LocalPredictor) -> None:
    x, y, queries = task(len(box.card().bands))
    first = box.predict(box.adapt(x, y), queries).probabilities
    second = box.predict(box.adapt(x * 1e-4, y), queries * 1e-4).probabilities
    np.testing.assert_allclose(first, second, atol=0.01)


def test_models_of_patches_are_not_combined(box: LocalPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "_card", replace(box.card(), output="patch"))
    with pytest.raises(ArtifactError, match="Use --method adapted"):
        CombinedPredictor(box)
