"""What labels that were held out in turn are taken for: which classes of a region its labels do not tell apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]

_TOLD = 0.5
_TESTED = 2  # held-out pixels of a class below which nothing is said of it


def count_confusion(labels: npt.NDArray[np.integer], said: npt.NDArray[np.integer], classes: int) -> Counts:
    """Return how often pixels of each class (row) are taken for each class (column) [classes, classes].

    Args:
        labels: [n] class of each pixel.
        said: [n] what was answered by what was not shown it.
        classes: How many there are.
    """
    pairs = labels.astype(np.int64) * classes + said
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int32)


def confusion_lines(confusion: Counts, names: Sequence[str]) -> tuple[str, ...]:
    """Say how many held-out pixels were told right, and of which classes fewer than half were.

    Args:
        confusion: [classes, classes] as `count_confusion` returns it.
        names: Of the classes.
    """
    total, right = int(confusion.sum()), int(np.trace(confusion))
    if not total:
        return ()
    told = f"Labelled pixels held out in turn: {right} of {total} were told right from the others."
    weak = [_weak_class(row, number, names) for number, row in enumerate(confusion) if _is_weak(row, number)]
    if not weak:
        return (told,)
    advice = "Do not rely on the map there; more labels of these classes help most."
    return told, f"Hardly told from other classes: {'; '.join(weak)}. {advice}"


def describe_confusion(confusion: Counts, names: Sequence[str]) -> dict[str, Any]:
    """Return the same for `map.json`.

    Args:
        confusion: [classes, classes] as `count_confusion` returns it.
        names: Of the classes.
    """
    return {
        **{"pixels": int(confusion.sum()), "right": int(np.trace(confusion)), "classes": list(names)},
        **{"rows": "label", "columns": "taken for", "counts": confusion.tolist()},
    }


def _is_weak(row: Counts, number: int) -> bool:
    """Whether fewer than half of a class's held-out pixels were told right."""
    tested = int(row.sum())
    return tested >= _TESTED and row[number] < _TOLD * tested


def _weak_class(row: Counts, number: int, names: Sequence[str]) -> str:
    """Say how many pixels of a class were told right, and what most others were taken for."""
    others = row.copy()
    others[number] = 0
    most = int(others.argmax())
    return f"{names[number]} ({row[number]} of {row.sum()}, {others[most]} taken for {names[most]})"
