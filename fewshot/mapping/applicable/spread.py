"""Which of very many places are worth a label: the best of each class in each cell, in turns, away from each other."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.geo.windows import IntArray

FloatArray = npt.NDArray[np.floating[Any]]

_AROUND = 5
"""Rows and columns whose mean counts: one unsure pixel is often the border of two fields, which nobody can label."""


def smoothed(doubt: FloatArray) -> npt.NDArray[np.float32]:
    """Return what a label at each pixel [H, W] is worth: the mean doubt of those around it."""
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(doubt.astype(np.float32), _AROUND, mode="nearest"))


def best_in_cells(worth: FloatArray, classes: npt.NDArray[np.integer[Any]], side: int) -> tuple[IntArray, IntArray]:
    """Return row and column [n] of the place of most worth of each class in each cell.

    Args:
        worth: [H, W], 0 or more.
        classes: [H, W] index, -1 where there is none.
        side: Rows and columns of a cell.
    """
    numbers = _in_cells(np.arange(worth.size).reshape(worth.shape), side)
    scores, own = _in_cells(worth, side), _in_cells(classes, side)
    found = [np.zeros(0, np.int64)]
    for label in np.setdiff1d(classes, [-1]).tolist():
        of_class = np.where(own == label, scores, -1)
        best = of_class.argmax(axis=1)[:, np.newaxis]
        kept = np.take_along_axis(of_class, best, axis=1)[:, 0] >= 0
        found.append(np.take_along_axis(numbers, best, axis=1)[kept, 0])
    rows, columns = np.divmod(np.concatenate(found), worth.shape[1])
    return rows, columns


def _in_cells(pixels: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Return pixels [H, W] cell by cell [cells, pixels], -1 where a cell reaches beyond them."""
    down, across = (-(-length // side) for length in pixels.shape)
    added = [(0, down * side - pixels.shape[0]), (0, across * side - pixels.shape[1])]
    whole = np.pad(pixels, added, constant_values=-1)
    return whole.reshape(down, side, across, side).swapaxes(1, 2).reshape(down * across, side * side)


def spread(
    places: FloatArray, worth: FloatArray, classes: IntArray, *, wanted: int, apart: float, taken: FloatArray
) -> list[int]:
    """Choose places, class by class in turn, the best of each first, away from each other and from those taken.

    Args:
        places: [n, 2] row and column.
        worth: [n].
        classes: [n] index.
        wanted: How many at most.
        apart: Distance that is kept, and halved where there are not enough places so far apart.
        taken: [m, 2] row and column of places that are not chosen again.

    Returns:
        Which are chosen, in that order.
    """
    order = np.lexsort((places[:, 1], places[:, 0], -worth))
    nearest, free = _distance(places, taken), np.ones(len(places), np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(wanted, len(places)):
        before = len(chosen)
        for label in np.unique(classes):
            far = order[(classes[order] == label) & free[order] & (nearest[order] >= apart)]
            if len(far) and len(chosen) < wanted:
                chosen.append(int(far[0]))
                free[far[0]] = False
                nearest = np.minimum(nearest, np.hypot(*(places - places[far[0]]).T))
        if len(chosen) == before:
            apart = apart / 2 if apart >= 1 else -1.0
    return chosen


def _distance(places: FloatArray, others: FloatArray) -> npt.NDArray[np.float64]:
    """Return how far each place [n, 2] is from the nearest of others."""
    from scipy.spatial import cKDTree

    if not len(others):
        return np.full(len(places), np.inf)
    return np.asarray(cKDTree(others).query(places)[0])
