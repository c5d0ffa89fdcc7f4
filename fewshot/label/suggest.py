"""Where to label next: the places of what is looked at where two classes are about as probable, spread over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.mapping import PreviewPart, best_in_cells, smoothed, spread


def suggest_places(
    part: PreviewPart, names: Sequence[str], ids: Sequence[str], labelled: npt.NDArray[np.float64], most: int
) -> list[dict[str, Any]]:
    """Return up to `most` places, chosen as those of `fewshot map --suggest`, each with the reason; none at a label.

    Args:
        part: Predicted.
        names: Of its classes.
        ids: Of its classes.
        labelled: Column and row [n, 2] of places that are labelled, in pixels of the part's scene.
        most: Places.
    """
    valid = part.classes >= 0
    worth = smoothed(np.where(valid, 1 - part.margin, 0))
    apart = math.sqrt(worth.size / most) / 2
    rows, columns = best_in_cells(worth, part.classes, max(1, int(apart / 2)))
    taken = (labelled[:, ::-1] - (part.window.row, part.window.column)) / part.step
    chosen = spread(
        np.stack([rows, columns], axis=1),
        worth[rows, columns],
        part.classes[rows, columns].astype(np.int64),
        wanted=most,
        apart=apart,
        taken=taken,
    )
    return [_said(part, names, ids, int(rows[number]), int(columns[number])) for number in chosen]


def _said(part: PreviewPart, names: Sequence[str], ids: Sequence[str], row: int, column: int) -> dict[str, Any]:
    """Return a place of the scene, and why it is one."""
    at = row, column
    first, second = int(part.classes[at]), int(part.runner_up[at])
    sure, next_to_it = float(part.confidence[at]), float(part.confidence[at] - part.margin[at])
    reason = f"{names[first]} {sure:.0%} or {names[second]} {next_to_it:.0%}"
    place = {
        "column": part.window.column + (at[1] + 0.5) * part.step,
        "row": part.window.row + (at[0] + 0.5) * part.step,
    }
    return {**place, "reason": reason, "class": ids[first]}
