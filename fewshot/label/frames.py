"""The pixels of the page and those of the model, which reads coarser ones where it wants none of the finest bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fewshot.geo.grid import Grid
from fewshot.geo.windows import Window, intersection

Places = npt.NDArray[np.float64]

_EXACT = 6  # digits of a pixel that count


@dataclass(frozen=True)
class Frames:
    """Two grids over the same ground.

    Attributes:
        page: Whose pixels labels and windows count.
        model: Whose pixels are predicted.
    """

    page: Grid
    model: Grid

    def to_model(self, places: npt.ArrayLike) -> Places:
        """Return places of the page in the model's pixels, column and row [n, 2]."""
        return _moved(self.page, self.model, places)

    def to_page(self, places: npt.ArrayLike) -> Places:
        """Return places of the model in the page's pixels, column and row [n, 2]."""
        return _moved(self.model, self.page, places)

    def window_of_model(self, window: Window) -> Window | None:
        """Return the model's pixels that lie in a window of the page, as a whole or in part; None where none do."""
        (left, top), (right, bottom) = self.to_model(_corners(window))
        left, top, right, bottom = (int(end) for end in (*np.floor((left, top)), *np.ceil((right, bottom))))
        whole = Window(0, 0, self.model.height, self.model.width)
        return intersection(Window(top, left, bottom - top, right - left), whole)

    def box_on_page(self, window: Window) -> list[float]:
        """Return left, top, right and bottom on the page of a window of the model."""
        return [float(end) for end in self.to_page(_corners(window)).ravel()]


def _corners(window: Window) -> list[list[int]]:
    return [[window.column, window.row], [window.column + window.width, window.row + window.height]]


def _moved(one: Grid, other: Grid, places: npt.ArrayLike) -> Places:
    columns, rows = np.asarray(places, np.float64).reshape(-1, 2).T
    rows, columns = one.to_grid(other, rows, columns)
    return np.round(np.stack([columns, rows], axis=1), _EXACT)
