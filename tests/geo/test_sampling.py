"""Examples that are kept apart from each other."""

import numpy as np
import pytest

from fewshot.geo.points import Examples
from fewshot.geo.sampling import split_apart


def scattered(count: int, side: int, classes: int = 3) -> Examples:
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, side, (2, count))
    return Examples(rows, columns, rng.integers(0, classes, count).astype(np.int32))


@pytest.mark.parametrize(("count", "side", "apart"), [(60, 2000, 32), (60, 260, 16), (30, 60, 16), (400, 500, 4)])
def test_support_and_validation_are_apart(count: int, side: int, apart: int) -> None:
    found = split_apart(scattered(count, side), 0.3, apart, seed=1)
    down = np.abs(found.support.rows[:, None] - found.validation.rows)
    across = np.abs(found.support.columns[:, None] - found.validation.columns)
    assert np.maximum(down, across).min() >= found.apart
    assert found.apart <= apart
    assert set(found.support.labels.tolist()) == {0, 1, 2}
    assert 0.05 * count <= len(found.validation) <= 0.4 * count
    assert len(found.support) + len(found.validation) + found.near == count
    again = split_apart(scattered(count, side), 0.3, apart, seed=1)
    assert np.array_equal(again.validation.rows, found.validation.rows)


def test_a_class_with_one_example_stays_in_the_support() -> None:
    every = scattered(60, 2000)
    labels = np.where(np.arange(60) == 7, 3, every.labels).astype(np.int32)
    for seed in range(5):
        found = split_apart(Examples(every.rows, every.columns, labels), 0.4, 16, seed=seed)
        assert 3 in found.support.labels and 3 not in found.validation.labels
