"""What labels that were held out in turn are taken for: which classes of a region its labels do not tell apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]

_TOLD = 0.5
_TESTED = 2  # held-out pixels of a class below which nothing is said of it


def count_confusion(rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer], classes: int) -> Counts:
    """Return how often pixels of one class (row) are of another in what is compared (column) [classes, classes].

    Args:
        rows: [n] class of each pixel, such as its label.
        columns: [n] the other, such as what was answered by what was not shown it.
        classes: How many there are.
    """
    pairs = rows.astype(np.int64) * classes + columns
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.int32)


def confusion_lines(confusion: Counts, names: Sequence[str], *, before: bool = False) -> tuple[str, ...]:
    """Say how many held-out pixels were told right, and of which classes fewer than half were, or nothing is known.

    Args:
        confusion: [classes, classes] as `count_confusion` returns it.
        names: Of the classes.
        before: Whether the labels are those of another map, for which the model was adapted before.
    """
    total, right = int(confusion.sum()), int(np.trace(confusion))
    if not total:
        return ("No label could be held out, so it is not known which classes the labels tell apart.",)
    of = " when the model was adapted" if before else ""
    told = [f"Labelled pixels held out in turn{of}: {right} of {total} were told right from the others."]
    few = [name for name, tested in zip(names, confusion.sum(axis=1).tolist(), strict=True) if tested < _TESTED]
    if few:
        told.append(f"Not tested, for too few labels apart from each other: {', '.join(few)}.")
    weak = [_weak_class(row, number, names) for number, row in enumerate(confusion) if _is_weak(row, number)]
    if weak:
        advice = "Do not rely on the map there; more labels of these classes help most."
        told.append(f"Hardly told from other classes: {'; '.join(weak)}. {advice}")
    return tuple(told)


def describe_confusion(confusion: Counts, names: Sequence[str], *, before: bool = False) -> dict[str, Any]:
    """Return the same for `map.json`.

    Args:
        confusion: [classes, classes] as `count_confusion` returns it.
        names: Of the classes.
        before: Whether the labels are those of another map, for which the model was adapted before.
    """
    return {
        "of": "labels that the model was adapted to before" if before else "the labels of this map",
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
