"""Which windows are predicted, and how they are grouped: a group is predicted at once, in this process or another.

Neighbouring groups share the strip where their windows overlap. Along each axis a group is

    head    the strip it shares with the group before
    body    what no other group reaches
    tail    the strip it shares with the group after

and head and body together are its core. Cores cover the scene and share nothing.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fewshot.errors import RasterError, RecipeError
from fewshot.exported.card import Card
from fewshot.geo.windows import IntArray, Window, WindowGrid

SEGMENTS = ("head", "body", "tail")

_WINDOW = 256  # rows and columns read at once by networks of any size
_GROUP_BYTES = 64 << 20  # that values and probabilities of a group may take
_GROUP_ANSWERS = 1 << 14  # patches that a group may hold


class Segments(NamedTuple):
    """Head, body and tail of a group along one axis, counted from its first pixel."""

    head: slice
    body: slice
    tail: slice


@dataclass(frozen=True, eq=False)
class Axis:
    """Groups of windows along one axis.

    Attributes:
        starts: First pixel of each window.
        size: Pixels of a window.
        length: Pixels of the scene.
        per_group: Windows of a group; the last one may have fewer.
    """

    starts: IntArray
    size: int
    length: int
    per_group: int

    def __len__(self) -> int:
        """Return the number of groups."""
        return -(-len(self.starts) // self.per_group)

    def windows(self, group: int) -> slice:
        """Return which windows a group has."""
        return slice(group * self.per_group, min((group + 1) * self.per_group, len(self.starts)))

    def extent(self, group: int) -> tuple[int, int]:
        """Return the first pixel of a group, and the one after its last."""
        inside = self.starts[self.windows(group)]
        return int(inside[0]), int(inside[-1]) + self.size

    def segments(self, group: int) -> Segments:
        """Return head, body and tail of a group."""
        first, stop = self.extent(group)
        head = self.extent(group - 1)[1] - first if group else 0
        tail = self.extent(group + 1)[0] - first if group + 1 < len(self) else stop - first
        return Segments(slice(0, head), slice(head, tail), slice(tail, stop - first))


@dataclass(frozen=True, eq=False)
class WindowLayout:
    """The windows of a map.

    Attributes:
        grid: Windows whose probabilities are blended. For patch models, the middle of a patch: what its one answer
            stands for.
        picture: Rows and columns that the network reads around a window.
        before: Rows and columns of them above and to the left of it.
        per_group: Windows along each side of a group.
        stride: Pixels from one answer to the next; 1 where every pixel has its own.
        per_pixel: Whether the network answers for every pixel of a window, or once.
    """

    grid: WindowGrid
    picture: int
    before: int
    per_group: int
    stride: int
    per_pixel: bool

    @cached_property
    def rows(self) -> Axis:
        """Groups of rows of windows."""
        size = min(self.grid.size, self.grid.height)
        return Axis(self.grid.rows, size, self.grid.height, self.per_group)

    @cached_property
    def columns(self) -> Axis:
        """Groups of columns of windows."""
        size = min(self.grid.size, self.grid.width)
        return Axis(self.grid.columns, size, self.grid.width, self.per_group)

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.rows) * len(self.columns)

    def place(self, group: int) -> tuple[int, int]:
        """Return row and column of a group among the groups."""
        return divmod(group, len(self.columns))

    def extent(self, group: int) -> Window:
        """Return all pixels that a group's windows reach."""
        row, column = self.place(group)
        (top, bottom), (left, right) = self.rows.extent(row), self.columns.extent(column)
        return Window(top, left, bottom - top, right - left)

    def core(self, group: int) -> Window:
        """Return the pixels that are a group's own to write: all but its tails."""
        extent, (row, column) = self.extent(group), self.place(group)
        height, width = self.rows.segments(row).body.stop, self.columns.segments(column).body.stop
        return Window(extent.row, extent.column, height, width)

    def reading(self, group: int) -> Window:
        """Return what is read for a group: its windows with what the network reads around them."""
        extent = self.extent(group)
        height = extent.height - self.rows.size + self.picture
        width = extent.width - self.columns.size + self.picture
        return Window(extent.row - self.before, extent.column - self.before, height, width)

    def describe(self) -> dict[str, int]:
        """Return the numbers that the pixels of a map depend on."""
        grid = self.grid
        return {
            **{"rows": grid.height, "columns": grid.width, "window": grid.size, "overlap": grid.overlap},
            **{"picture": self.picture, "before": self.before, "per_group": self.per_group, "stride": self.stride},
        }


@dataclass(frozen=True)
class WindowPlan:
    """Which windows are asked for; what is None follows from the model.

    Attributes:
        stride: Patch models: pixels from one patch to the next.
        size: Segmentation models: rows and columns of a window.
        overlap: Segmentation models: pixels that neighbours share.
    """

    stride: int | None = None
    size: int | None = None
    overlap: int | None = None


def plan_windows(card: Card, scene: tuple[int, int], plan: WindowPlan, *, classes: int) -> WindowLayout:
    """Choose the windows of a map.

    Args:
        card: Of the model.
        scene: Rows and columns.
        plan: What was asked for.
        classes: How many the model was adapted to.

    Raises:
        RecipeError: if what was asked for does not fit the model.
        RasterError: if the scene has no pixel.
    """
    if card.size.rows != card.size.columns:
        raise RasterError(
            f"the model reads pictures of {card.size.rows}x{card.size.columns} pixels; expected a square to map with"
        )
    return (_pixel_layout if card.output == "pixel" else _patch_layout)(card, scene, plan, classes)


def _pixel_layout(card: Card, scene: tuple[int, int], plan: WindowPlan, classes: int) -> WindowLayout:
    """Windows that overlap, with an answer for each of their pixels.

    A quarter of the overlap is read around each window and its answers are not used: at the edge of a picture the
    network sees zeros where there is ground. At the edge of the scene that margin is mirrored. Windows overlap by an
    eighth, or by as much more as that margin takes; those of a model of single pixels by nothing.
    """
    if plan.stride is not None:
        raise RecipeError("the model answers for every pixel, a stride is for patch models; leave --stride out")
    step = card.size.multiple_of
    size = plan.size or (min(card.size.largest, _WINDOW) // step * step if card.size.free else card.size.rows)
    _require_size(card, size)
    if plan.size is None and card.size.free:  # a small scene needs no larger picture than itself and a margin
        whole = max(scene) + 2 * max(size // 32, card.size.around)
        size = min(size, max(-(-whole // step) * step, -(-card.size.smallest // step) * step))
    usual = max(size // 8 if card.size.rows > 1 else 0, 4 * card.size.around)
    overlap = min(usual, size // 2) if plan.overlap is None else plan.overlap
    if not 0 <= overlap <= size // 2:
        raise RecipeError(f"windows of {size} pixels overlap by 0 to {size // 2} pixels; received {overlap}")
    margin = overlap // 4
    stride, overlap = size - overlap, overlap - 2 * margin
    grid = WindowGrid(*scene, size - 2 * margin, overlap)
    return WindowLayout(grid, size, margin, _per_group(card, classes, stride, overlap), stride=1, per_pixel=True)


def _patch_layout(card: Card, scene: tuple[int, int], plan: WindowPlan, classes: int) -> WindowLayout:
    """Patches `stride` apart; each answers for its middle, blended with its neighbours."""
    if plan.overlap is not None:
        raise RecipeError("the model answers once for a patch; say how far patches are apart with --stride")
    size = plan.size or card.size.rows
    _require_size(card, size)
    stride = plan.stride or max(1, size // 4)
    if not 1 <= stride <= size:
        raise RecipeError(f"patches of {size} pixels are 1 to {size} pixels apart; received a stride of {stride}")
    footprint = 1 if stride == 1 else min(2 * stride, size)
    grid = WindowGrid(*scene, footprint, footprint - stride)
    per_group = min(_per_group(card, classes, stride, footprint - stride), math.isqrt(_GROUP_ANSWERS))
    return WindowLayout(grid, size, size // 2 - footprint // 2, per_group, stride, per_pixel=False)


def _require_size(card: Card, size: int) -> None:
    """Refuse a size that the network does not read."""
    known = card.size
    fits = (
        known.smallest <= size <= known.largest and size % known.multiple_of == 0 if known.free else size == known.rows
    )
    if not fits:
        step = f", a multiple of {known.multiple_of}" if known.multiple_of > 1 else ""
        expected = f"{known.smallest} to {known.largest} pixels{step}" if known.free else f"{known.rows} pixels"
        raise RecipeError(f"the model reads windows of {expected}; received {size}")


def _per_group(card: Card, classes: int, stride: int, overlap: int) -> int:
    """Return how many windows along each side make a group: by memory, and enough that heads and tails stay apart."""
    side = math.isqrt(_GROUP_BYTES // (4 * (classes + len(card.bands))))
    return max(side // stride, 1 + -(-overlap // stride), 1)


def starts_within(axis: Axis, group: int) -> IntArray:
    """Return where the windows of a group begin, counted from its first pixel."""
    inside = axis.starts[axis.windows(group)]
    return np.asarray(inside - inside[0])
