"""The exported graph sees examples in the views that its learner sees them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fewshot.exported.predictor import LocalPredictor
from fewshot.meta import Views
from serving.graph.export import ExportOptions
from tests.exported.models import VIEWS, exported
from tests.serving.graph.test_export_graph import request, run


@pytest.mark.slow
def test_views_of_examples_are_the_learners(seeing: Any) -> None:
    signatures = LocalPredictor(seeing.folder)._model.signatures
    task = seeing.task((1, 2, 3))
    answer = run(signatures["adapt_and_predict"], **request(task))
    np.testing.assert_allclose(answer["probabilities"], seeing.probabilities(*task, steps=2), atol=1e-5)
    weight = np.array([1, 2, 0.5, 1, 1, 0], np.float32)
    weighted = run(signatures["adapt_and_predict_weighted"], **request(task), support_weight=weight)
    expected = seeing.probabilities(*task, weight, steps=2)
    np.testing.assert_allclose(weighted["probabilities"], expected, atol=1e-5)
    once = run(signatures["adapt"], support_x=task[0], support_y=task[1], steps=np.int32(2))
    later = run(signatures["predict"], adapted=once["adapted"], query_x=task[2])
    np.testing.assert_allclose(later["probabilities"], answer["probabilities"], atol=1e-6)
    features = run(signatures["features"], adapted=once["adapted"], query_x=task[2])["features"]
    assert features.shape == (len(task[2]), seeing.card.adapted.per_class - 1)  # the mean over views
    scaled = (task[0] * seeing.scale + seeing.offset, task[1], task[2] * seeing.scale + seeing.offset)
    alone = seeing.learner.predict_after([part[None] for part in scaled], [2], views=Views())[0, 0]
    assert np.abs(tf.nn.softmax(alone) - answer["probabilities"]).max() > 1e-3


@pytest.mark.slow
def test_a_run_without_views_is_exported_with_them(
    make_pictures_run: Callable[..., Path], seeing: Any, tmp_path: Path
) -> None:
    plain = exported(make_pictures_run(), tmp_path, ExportOptions(settings=VIEWS))
    assert plain.card.recipe["views"]["count"] == 8
    task = seeing.task((1, 2, 3))
    answers = [
        run(LocalPredictor(one.folder)._model.signatures["adapt_and_predict"], **request(task))
        for one in (plain, seeing)
    ]
    np.testing.assert_allclose(answers[0]["probabilities"], answers[1]["probabilities"], atol=1e-6)
