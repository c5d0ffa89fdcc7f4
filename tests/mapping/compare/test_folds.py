"""Labels are held out with their squares, and every class is tested that can be."""

import numpy as np
import pytest

from fewshot.errors import RasterError
from fewshot.geo.points import Examples
from fewshot.mapping.compare.folds import deal


def examples_at(rows: object, columns: object, labels: object) -> Examples:
    return Examples(np.array(rows, np.int64), np.array(columns, np.int64), np.array(labels, np.int32))


def scattered(count: int, classes: int, *, side: int = 500, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    return examples_at(rng.integers(0, side, count), rng.integers(0, side, count), np.arange(count) % classes)


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_one_square_are_held_out_together(seed: int) -> None:
    examples = scattered(60, 4, seed=seed)
    folds = deal(examples, 16, seed=0)
    squares = (examples.rows // folds.side) * 1000 + examples.columns // folds.side
    for square in np.unique(squares):
        own = squares == square
        assert len(np.unique(folds.fold[own])) == len(np.unique(folds.block[own])) == 1
    assert folds.count == 5
    assert folds.tested.all()


def test_blocks_are_as_large_as_the_labels_allow() -> None:
    assert deal(scattered(400, 3, side=4000), 16, seed=0).side == 128
    few = deal(scattered(30, 3, side=100), 16, seed=0)
    assert few.side == 16


def test_a_class_in_two_squares_is_in_two_folds() -> None:
    common = scattered(60, 2)
    rare = examples_at([5, 480], [5, 480], [2, 2])
    both = examples_at(*(np.concatenate([getattr(common, k), getattr(rare, k)]) for k in ("rows", "columns", "labels")))
    folds = deal(both, 16, seed=0)
    assert folds.tested.all()
    assert len(np.unique(folds.fold[-2:])) == 2


def test_a_class_in_one_square_is_not_tested() -> None:
    rows, columns = [0, 1, 2, 100, 200, 300, 100, 200, 300], [0, 0, 0, 0, 0, 0, 90, 90, 90]
    folds = deal(examples_at(rows, columns, [2, 2, 2, 0, 0, 0, 1, 1, 1]), 16, seed=0)
    assert folds.tested.tolist() == [False] * 3 + [True] * 6


def test_labels_that_cannot_be_held_out_are_refused() -> None:
    together = examples_at([1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 1])
    with pytest.raises(RasterError, match="one square of 16 pixels, so none can be held out"):
        deal(together, 16, seed=0)
