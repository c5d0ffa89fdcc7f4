"""What the benchmark of suggested labels draws and counts."""

import numpy as np
import pytest

from benchmarks import label_next


def test_places_at_random() -> None:
    said = np.ones((20, 20), np.int64)
    said[:2, :3] = 2
    free = np.ones((20, 20), np.bool_)
    free[10:] = False
    rng = np.random.default_rng(0)
    places = label_next.at_random(said, free, rng, balanced=False)
    assert places.shape == (10, 2) and len(np.unique(places, axis=0)) == 10 and places[:, 0].max() < 10
    balanced = label_next.at_random(said, free, rng, balanced=True)
    assert np.bincount(said[tuple(balanced.T)]).tolist() == [0, 5, 5]


def test_gains_are_paired() -> None:
    draws = [
        {"random": [{"accuracy": 0.5}, {"accuracy": 0.6}], "suggested": [{"accuracy": 0.5}, {"accuracy": 0.65}]},
        {"random": [{"accuracy": 0.4}, {"accuracy": 0.7}], "suggested": [{"accuracy": 0.4}, {"accuracy": 0.85}]},
    ]
    assert label_next.gains(draws, "suggested", "accuracy") == pytest.approx(np.array([[0, 0.05], [0, 0.15]]))
