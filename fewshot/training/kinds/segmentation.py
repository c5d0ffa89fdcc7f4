"""Figures of tasks whose pixels are labelled, from the confusion matrix of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def task_confusion(true: Array, predicted: Array, classes: int) -> Array:
    """Count pixels by true and predicted class.

    Args:
        true: [...] int, negative where ignored.
        predicted: [...] int, class 0..classes-1.
        classes: Number of classes.

    Returns:
        [true class, predicted class] int64.
    """
    counted = true >= 0
    pairs = true[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def overall_accuracy(counts: Array) -> Array:
    """Return the share of right pixels, [...], from counts [..., true class, predicted class]; NaN without any."""
    return _share(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def class_iou(counts: Array) -> Array:
    """Return each class's intersection over union, [..., classes]; NaN where it is neither true nor predicted."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _share(hits, counts.sum(axis=-1) + counts.sum(axis=-2) - hits)


def mean_iou(counts: Array) -> Array:
    """Return the mean intersection over union, [...], over the classes that occur, true or predicted, in a task."""
    scores = class_iou(counts)
    return _share(np.nansum(scores, axis=-1), np.isfinite(scores).sum(axis=-1))


def kappa(counts: Array) -> Array:
    """Return Cohen's kappa, [...]; NaN where all pixels are, and are predicted as, one class."""
    total = counts.sum(axis=(-2, -1))
    chance = _share((counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1), total.astype(float) ** 2)
    return _share(overall_accuracy(counts) - chance, 1 - chance)


def iou_by_class(classes: Sequence[str], counts: Array) -> dict[str, Array]:
    """Return, for each class that is somewhere true, its IoU in the tasks where it is true.

    Args:
        classes: Names.
        counts: [tasks, true class, predicted class].
    """
    scores, true = class_iou(counts), counts.sum(axis=-1) > 0
    return {name: scores[true[:, i], i] for i, name in enumerate(classes) if true[:, i].any()}


def _share(part: Array, whole: Array) -> Array:
    """Divide, with NaN where there is nothing to divide by."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)
