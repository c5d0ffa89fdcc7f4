"""Logistic regression on the features of a model: of pictures and of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fewshot.errors import ArtifactError
from fewshot.exported import LocalPredictor
from fewshot.exported.card import AdaptedLayout, SignatureNote
from fewshot.exported.predictor import AdaptedVector, Array, Predictor, SupportLoss
from fewshot.mapping.plain.methods import fit_plain
from fewshot.mapping.plain.on_features import FeaturesPredictor
from tests.mapping.fakes import PATCH, PIXEL


class Centred(Predictor):
    """Features of a patch are its two means, less those of the support, and their product."""

    def read_card(self) -> Any:
        note = SignatureNote("", {}, {})
        return replace(PATCH, signatures={"features": note}, adapted=AdaptedLayout(3, 4, 99))

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        if signature == "adapt":
            assert inputs["steps"] == 0
            vector = np.array([99, *inputs["support_x"].mean(axis=(0, 1, 2))], np.float32)
            return {"adapted": vector, "classes": np.array(2), "support_loss": np.zeros(2), "steps": np.array(0)}
        assert signature == "features"
        means = inputs["query_x"].mean(axis=(1, 2)) - inputs["adapted"][1:]
        return {"features": np.concatenate([means, means.prod(axis=1, keepdims=True)], axis=1)}


def test_it_is_logistic_regression_on_the_features_of_the_start() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 0, 1, 1])
    x = (rng.normal(0, 1, (5, 8, 8, 2)) + 3 * labels[:, None, None, None]).astype(np.float32)
    model = Centred()
    one = FeaturesPredictor(model)
    adapted = one.adapt(x, labels, steps=7)
    found = one.predict(adapted, x[3:])
    start = AdaptedVector(np.array([99, *x.mean(axis=(0, 1, 2))], np.float32), 2, SupportLoss(0, 0))
    expected = fit_plain("logistic", model.features(x, start), labels).predict_proba(model.features(x[3:], start))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(found.class_index, labels[3:])
    assert one.__reduce__() == (FeaturesPredictor, (model,))
    assert one.card().steps == 0
    np.testing.assert_array_equal(one.features(x, adapted), model.features(x, start))
    assert adapted.support_loss.after < adapted.support_loss.before
    with pytest.raises(ArtifactError, match="adapted was not made by logistic regression on the features"):
        one.predict(start, x)


def test_pixels_have_features_too(box_model: Callable[[str], LocalPredictor]) -> None:
    model, rng = box_model("earth-points"), np.random.default_rng(0)
    x = rng.normal(900, 60, (3, 32, 32, len(model.card().bands))).astype(np.float32)
    x[:, :, 16:] += 200
    y = np.full((3, 32, 32), -1)
    y[:, 9, 5:8], y[:, 20, 25] = 0, 1
    one = FeaturesPredictor(model)
    found = one.predict(one.adapt(x, y), x[:1])
    assert found.probabilities.shape == (1, 32, 32, 2)
    assert (found.class_index[0, :, :12] == 0).mean() > 0.95
    assert (found.class_index[0, :, 20:] == 1).mean() > 0.95


def test_a_model_without_features_or_of_its_own_classes_is_refused() -> None:
    model = Centred()
    for described in (PIXEL, replace(model.card(), label_space="global")):
        model._card = described
        with pytest.raises(ArtifactError, match="Use --method adapted"):
            FeaturesPredictor(model)
