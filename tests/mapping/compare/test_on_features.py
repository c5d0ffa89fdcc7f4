"""Logistic regression on the features of a model: of pictures and of pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fewshot.errors import ArtifactError
from fewshot.exported import LocalPredictor
from fewshot.mapping.plain.methods import fit_plain
from fewshot.mapping.plain.on_features import FeaturesPredictor


def test_it_is_logistic_regression_on_the_features_of_the_start(trained: Any, local: LocalPredictor) -> None:
    support_x, labels, query_x = trained.task((2, 3, 2))
    one = FeaturesPredictor(local)
    adapted = one.adapt(support_x, labels)
    found = one.predict(adapted, query_x)
    start = local.adapt(support_x, labels, steps=0)
    seen = [local.features(pictures, start) for pictures in (support_x, query_x)]
    expected = fit_plain("logistic", seen[0], labels).predict_proba(seen[1])
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    np.testing.assert_array_equal(found.class_index, expected.argmax(axis=1))
    assert one.__reduce__() == (FeaturesPredictor, (local,))
    assert adapted.support_loss.after < adapted.support_loss.before
    with pytest.raises(ArtifactError, match="adapted was not made by logistic regression on the features"):
        one.predict(start, query_x)


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


def test_a_model_of_its_own_classes_is_refused(local_pictures: LocalPredictor) -> None:
    with pytest.raises(ArtifactError, match="Use --method adapted"):
        FeaturesPredictor(local_pictures)
