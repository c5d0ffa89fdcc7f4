"""Where to label next: the places of what is looked at where two classes are about as probable, spread over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.mapping import PreviewPart

_AROUND = 4  # pixels of the side of a place: a single unsure pixel is often but an edge


def suggest_places(
    part: PreviewPart, names: Sequence[str], ids: Sequence[str], labelled: npt.NDArray[np.float64], most: int
) -> list[dict[str, Any]]:
    """Return up to `most` places, the least certain first, each with the reason; none where a label lies already.

    Args:
        part: Predicted.
        names: Of its classes.
        ids: Of its classes.
        labelled: Column and row [n, 2] of places that are labelled, in pixels of the part's scene.
        most: Places.
    """
    margin = np.where(part.classes >= 0, part.margin, np.inf)
    sums = _block_means(margin, _AROUND)
    cell = max(1, int(math.sqrt(sums.size / (2 * most))))
    corner, side = (part.window.column, part.window.row), part.step * _AROUND * cell
    taken = {(row, column) for column, row in np.floor_divide(labelled - corner, side).astype(np.int64).tolist()}
    found = []
    for row in range(0, sums.shape[0], cell):
        for column in range(0, sums.shape[1], cell):
            own = sums[row : row + cell, column : column + cell]
            if (row // cell, column // cell) not in taken and np.isfinite(own).any():
                at = np.unravel_index(np.argmin(own), own.shape)
                found.append((float(own[at]), row + int(at[0]), column + int(at[1])))
    return [_said(part, names, ids, row, column) for _, row, column in sorted(found)[:most]]


def _block_means(values: npt.NDArray[np.floating], side: int) -> npt.NDArray[np.floating]:
    """Return means of squares, those at the end left out unless there are no others."""
    rows, columns = (max(1, length // side) * side if length >= side else length for length in values.shape)
    down, across = min(side, rows), min(side, columns)
    cut = values[:rows, :columns].reshape(rows // down, down, columns // across, across)
    return np.asarray(cut.mean(axis=(1, 3)))


def _said(part: PreviewPart, names: Sequence[str], ids: Sequence[str], row: int, column: int) -> dict[str, Any]:
    """Return a place of the scene, and why it is one: the pixel in the middle of a square speaks for it."""
    height, width = part.classes.shape
    at = min(row * _AROUND + _AROUND // 2, height - 1), min(column * _AROUND + _AROUND // 2, width - 1)
    first, second = int(part.classes[at]), int(part.runner_up[at])
    sure, next_to_it = float(part.confidence[at]), float(part.confidence[at] - part.margin[at])
    reason = f"{names[first]} {sure:.0%} or {names[second]} {next_to_it:.0%}" if first >= 0 else "beside no data"
    place = {
        "column": part.window.column + (at[1] + 0.5) * part.step,
        "row": part.window.row + (at[0] + 0.5) * part.step,
    }
    return {**place, "reason": reason, "class": ids[first] if first >= 0 else None}
