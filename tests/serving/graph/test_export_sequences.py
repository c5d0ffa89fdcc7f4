"""Exported learners that read a sequence: they answer for the ways of training, and say so for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewshot.errors import FewshotError
from fewshot.exported.predictor import LocalPredictor
from tests.exported.models import exported

SEQUENCE = ("tasks.ways=3", "tasks.shots=2", "learner.steps=0", 'learner.rates="constant"')


@pytest.mark.slow
@pytest.mark.parametrize("head", ["lstm", "mann", "snail"])
def test_a_sequence_is_served_with_the_ways_of_training(
    head: str, make_pictures_run: Callable[..., Path], tmp_path: Path
) -> None:
    made = exported(make_pictures_run(*SEQUENCE, f'learner.head="{head}"'), tmp_path)
    assert (made.card.outputs, made.card.limits.classes) == (3, 3)
    assert "predict_base" not in made.card.signatures, "without a support set there is nothing to read"
    predictor = LocalPredictor(made.folder)
    for shots in ((2, 2, 2), (1, 2, 3)):
        support_x, support_y, query_x = made.task(shots)
        found = predictor.predict(predictor.adapt(support_x, support_y), query_x)
        expected = made.probabilities(support_x, support_y, query_x, steps=0)
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(FewshotError, match="the model takes classes 0 to 2"):
        predictor.adapt(support_x, support_y + 1)
