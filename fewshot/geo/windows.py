"""Windows: rectangles of pixels that cover a scene, their blending weights, and blocks that keep patches apart."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError

IntArray = npt.NDArray[np.int64]


class Window(NamedTuple):
    """A rectangle of pixels: first row and column, and size."""

    row: int
    column: int
    height: int
    width: int

    def __str__(self) -> str:
        """Say which rows and columns, counted from 0, for people."""
        rows, columns = f"{self.row}-{self.row + self.height - 1}", f"{self.column}-{self.column + self.width - 1}"
        return f"rows {rows}, columns {columns}"

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array of the whole scene."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)

    def within(self, outer: "Window") -> "Window":
        """Return the same rectangle counted from the first pixel of `outer`."""
        return self._replace(row=self.row - outer.row, column=self.column - outer.column)


def intersection(first: Window, second: Window) -> Window | None:
    """Return what two windows share, None if they share no pixel."""
    row, column = max(first.row, second.row), max(first.column, second.column)
    height = min(first.row + first.height, second.row + second.height) - row
    width = min(first.column + first.width, second.column + second.width) - column
    return Window(row, column, height, width) if height > 0 and width > 0 else None


@dataclass(frozen=True)
class WindowGrid:
    """Windows of one size that cover every pixel of a scene, row by row; made one by one, never all at once.

    Neighbours overlap by `overlap` pixels; the last of a row or column is moved back to end with the scene, so that
    the right and bottom strips are covered too. In a scene smaller than `size`, windows are as small as the scene.

    Attributes:
        height: Rows of the scene.
        width: Columns of the scene.
        size: Rows and columns of a window.
        overlap: Rows and columns that neighbours share; less than `size`.
    """

    height: int
    width: int
    size: int
    overlap: int = 0

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.height, self.width, self.size) < 1 or not 0 <= self.overlap < self.size:
            raise RasterError(
                f"windows of {self.size} pixels with an overlap of {self.overlap} cannot cover a scene of "
                f"{self.height}x{self.width}; expected at least one pixel, and an overlap from 0 to less than a window"
            )

    @functools.cached_property
    def rows(self) -> IntArray:
        """First row of each row of windows."""
        return _starts(self.height, self.size, self.size - self.overlap)

    @functools.cached_property
    def columns(self) -> IntArray:
        """First column of each column of windows."""
        return _starts(self.width, self.size, self.size - self.overlap)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Window]:
        """Yield the windows, row by row."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Window:
        """Return a window by its number, counted row by row."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"the grid has {len(self)} windows, there is no window {index}")
        row, column = divmod(index % len(self), len(self.columns))
        height, width = min(self.size, self.height), min(self.size, self.width)
        return Window(int(self.rows[row]), int(self.columns[column]), height, width)

    @functools.cached_property
    def row_weights(self) -> npt.NDArray[np.float64]:
        """Blending weights [rows of windows, H] of each row of windows, down a window.

        A weight falls smoothly to nearly nothing where the window ends inside the scene. Weights down times weights
        across sum to one at every pixel, whatever the overlap, so blended values are plain sums, in any block.
        """
        return _weights(self.rows, min(self.size, self.height), self.height, self.overlap)

    @functools.cached_property
    def column_weights(self) -> npt.NDArray[np.float64]:
        """Weights [columns of windows, W] of each column of windows, across a window; as `row_weights`."""
        return _weights(self.columns, min(self.size, self.width), self.width, self.overlap)


def _starts(length: int, size: int, stride: int) -> IntArray:
    """Return the first pixel of each window along one axis."""
    last = max(0, length - size)
    return np.append(np.arange(0, last, stride, dtype=np.int64), last)


def _weights(starts: IntArray, size: int, length: int, overlap: int) -> npt.NDArray[np.float64]:
    """Return weights [windows, size] along one axis that sum to one at every pixel."""
    to_edge = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    ramp = max(1, min(overlap, size / 2))
    raised = np.sin(0.5 * np.pi * np.minimum(1, to_edge / ramp)) ** 2
    covered = starts[:, None] + np.arange(size)  # [windows, size]
    total = np.bincount(covered.ravel(), np.tile(raised, len(starts)), minlength=length)
    return np.asarray(raised / total[covered])


def blocks(height: int, width: int, size: int) -> Iterator[Window]:
    """Yield windows that share no pixel and cover the scene, row by row; the last of a row or column are smaller.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        size: Rows and columns of a window; if a multiple of the file's own block size, no block of the file is read
            or written twice.
    """
    for row in range(0, height, size):
        for column in range(0, width, size):
            yield Window(row, column, min(size, height - row), min(size, width - column))


def keep_every(step: int, picture: npt.NDArray[Any], window: Window, pixels: npt.NDArray[Any]) -> None:
    """Put every so many rows and columns of a scene, as far as they lie in a window, into a small picture of it.

    Args:
        step: How many.
        picture: [rows / step, columns / step] of the scene, changed in place.
        window: Of the scene.
        pixels: [H, W] of the window.
    """
    seen = pixels[-window.row % step :: step, -window.column % step :: step]
    row, column = -(-window.row // step), -(-window.column // step)
    picture[row : row + seen.shape[0], column : column + seen.shape[1]] = seen


def around(rows: npt.ArrayLike, columns: npt.ArrayLike, size: int, scene: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """Return the first rows [n] and columns [n] of patches around pixels, moved into the scene at its edges.

    Args:
        rows: [n] of the pixels.
        columns: [n] of the pixels.
        size: Rows and columns of a patch.
        scene: Rows and columns of the scene, at least `size` each.
    """
    first, second = (
        np.clip(np.asarray(place, np.int64) - size // 2, 0, length - size)
        for place, length in zip((rows, columns), scene, strict=True)
    )
    return first, second


@dataclass(frozen=True)
class BlockGrid:
    """Square blocks with gaps between them: patches inside different blocks never touch.

    Attributes:
        block: Rows and columns of a block.
        gap: Rows and columns between two blocks.
    """

    block: int
    gap: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        if self.block < 1 or self.gap < 0:
            raise RasterError(f"expected blocks of at least 1 pixel and a gap of at least 0, received {self}")

    def number(self, rows: npt.ArrayLike, columns: npt.ArrayLike, size: int) -> IntArray:
        """Return the block [n] that each patch of `size` pixels lies in, -1 where it reaches into a gap.

        Args:
            rows: [n] first row of each patch.
            columns: [n] first column of each patch.
            size: Rows and columns of a patch.
        """
        period = self.block + self.gap
        (block_row, row), (block_column, column) = (np.divmod(np.asarray(a, np.int64), period) for a in (rows, columns))
        inside = (row + size <= self.block) & (column + size <= self.block)
        # One number for each pair, whatever the width of the scene.
        return np.where(inside, (block_row << 24) + block_column, np.int64(-1))

    def cells(self, height: int, width: int) -> Iterator[Window]:
        """Yield each block with the gap below and to the right of it; together they are the scene."""
        return blocks(height, width, self.block + self.gap)

    def patches(self, cell: Window, size: int, stride: int) -> tuple[IntArray, IntArray]:
        """Return the first rows [n] and columns [n] of the patches in the block of a cell.

        Args:
            cell: One of `cells`.
            size: Rows and columns of a patch.
            stride: Pixels from the first row of a patch to that of the next.
        """
        rows = cell.row + np.arange(0, min(self.block, cell.height) - size + 1, stride, dtype=np.int64)
        columns = cell.column + np.arange(0, min(self.block, cell.width) - size + 1, stride, dtype=np.int64)
        return np.repeat(rows, len(columns)), np.tile(columns, len(rows))


def counts_in(labels: npt.NDArray[np.int32], classes: int, rows: IntArray, columns: IntArray, size: int) -> IntArray:
    """Count the pixels of each class in square patches.

    Args:
        labels: [H, W] index of the class; negative labels are not counted.
        classes: How many there are.
        rows: [n] first row of each patch in `labels`.
        columns: [n] first column of each patch.
        size: Rows and columns of a patch.

    Returns:
        [n, classes] pixels.
    """
    counts = np.zeros((len(rows), classes), np.int64)
    for index in np.unique(labels[labels >= 0]):
        # Sums over all pixels above and to the left: a patch's count is four of them.
        sums = np.pad(np.cumsum(np.cumsum(labels == index, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
        below, right = rows + size, columns + size
        counts[:, index] = sums[below, right] - sums[rows, right] - sums[below, columns] + sums[rows, columns]
    return counts
