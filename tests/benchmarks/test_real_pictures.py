"""The comparison on real pictures: its parts, on made-up ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import real_pictures
from fewshot.exported.card import CardBand
from fewshot.exported.predictor import Prediction
from tests.mapping.fakes import PATCH


def task_of_greys(rng: np.random.Generator) -> real_pictures.Pictures:
    """Dark and bright pictures, two of each labelled."""
    labels = np.array([0, 1, 0, 1])
    pictures = 0.2 + 0.5 * labels[:, None, None, None] + rng.uniform(0, 0.1, (4, 8, 8, 3))
    return real_pictures.Pictures("122", pictures, labels, pictures[::-1], labels[::-1])


@pytest.mark.parametrize("name", real_pictures.PLAIN)
def test_plain_classifiers_tell_dark_from_bright(name: str) -> None:
    assert real_pictures.plain_score(name, task_of_greys(np.random.default_rng(0))) == 1.0


def test_a_model_is_sent_its_own_bands_and_the_others_are_missing() -> None:
    seen: list[np.ndarray] = []

    class Model:
        def card(self) -> Any:
            bands = tuple(CardBand(f"B{nm}", wavelength=nm) for nm in (490, 560, 665, 865))
            return replace(PATCH, bands=bands, missing_bands=True)

        def adapt_and_predict(self, support_x: Any, support_y: Any, query_x: Any, **_: Any) -> Prediction:
            seen.extend((support_x, query_x))
            return Prediction(np.zeros((4, 2), np.float32), np.array([1, 0, 1, 1], np.int32))

    task = task_of_greys(np.random.default_rng(1))
    (score,) = real_pictures.model_scores(Model(), [task], steps=None)
    assert score == 0.75
    np.testing.assert_allclose(seen[0][..., :3], task.support_x[..., ::-1], rtol=1e-6)
    assert not seen[1][..., 3].any()


def test_the_table_shows_each_method_beside_the_model() -> None:
    scores = {"model": np.array([1.0, 0.5, 0.75]), "means": np.array([0.5, 0.5, 0.5])}
    heads, rows = real_pictures.table(scores, np.array(["1", "2", "2"]))
    assert heads[-2:] == ["1", "2"]
    assert rows[0][2:] == ["", "100.0", "62.5"]
    assert rows[1][2].startswith("+25.0 ± ")
