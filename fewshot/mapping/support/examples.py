"""Labels to support: which pixels are examples, which are kept to validate with, and what the model is shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError, RecipeError
from fewshot.exported.card import Card
from fewshot.geo.labels import LabelFiles, LabelSummary, VectorLabels, open_labels
from fewshot.geo.landcover import ClassTable, Labels
from fewshot.geo.points import Examples, FoundExamples, labelled_points
from fewshot.geo.rasters import RasterReader
from fewshot.geo.scene import Scene
from fewshot.geo.windows import IntArray, Window, blocks

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_BLOCK = 512  # rows and columns of labels read at a time
_PIXELS_A_CLASS = 4096  # examples of a class that are taken from polygons or a class raster at most


@dataclass(frozen=True)
class LabelPlan(LabelFiles):
    """Labels, and what is done with them.

    Attributes:
        radius: Segmentation models: pixels on each side of a point that it labels too, once examples are chosen.
        holdout: Share of the examples that are kept to validate with.
        validation: Labels to validate with.
        apart: Least pixels between support and validation; the side of a picture if None.
        seed: Decides which examples are kept.
    """

    radius: int = 1
    holdout: float = 0.0
    validation: Path | None = None
    apart: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.holdout < 1 or (self.holdout and self.validation is not None):
            raise RecipeError(
                f"--holdout is a share from 0 to less than 1, and goes without --validation; received {self.holdout}"
            )
        if self.seed < 0:
            raise RecipeError(f"--seed is 0 or more; received {self.seed}")
        if self.radius < 0 or (self.apart is not None and self.apart < 1):
            raise RecipeError(
                f"--radius is 0 or more and --apart 1 or more pixels; received {self.radius} and {self.apart}"
            )


def find_examples(scene: Scene, plan: LabelPlan, table: ClassTable, *, spacing: int | None) -> FoundExamples:
    """Find the labelled pixels of a scene.

    Args:
        scene: That they lie in.
        plan: Which labels.
        table: Knows their classes.
        spacing: Pixels between the examples of a line or polygon; if None each has one.

    Raises:
        RasterError: if no label is left that counts.
        FewshotError: what `open_labels` and `labelled_points` raise.
    """
    reader = RasterReader()
    layer = open_labels(reader, LabelFiles(plan.path, plan.field), scene.info, table)
    rng = np.random.default_rng(plan.seed)
    if not isinstance(layer, VectorLabels):
        tally, parts = layer.tally(), []
        for window in blocks(scene.grid.height, scene.grid.width, _BLOCK):
            labels = layer.read(window)
            if (labels >= 0).any():
                valid = scene.valid(window)
                tally.add(window, labels, valid)
                parts.append(_labelled(np.where(valid, labels, -1).astype(np.int32), window, 1))
                parts = [_thinned(parts, rng)]
        return FoundExamples(_joined(parts), tally.summary())
    points = labelled_points(layer.features, table, scene.grid, read_valid=scene.valid)
    parts = [points.examples]
    for window in _areas(layer, scene) if spacing is not None else ():
        labels = layer.read(window)
        valid = scene.valid(window) if (labels >= 0).any() else np.zeros(labels.shape, np.bool_)
        parts.append(_labelled(np.where(valid, labels, -1).astype(np.int32), window, spacing or 1))
        parts = [points.examples, _thinned(parts[1:], rng)]
    return FoundExamples(_without_twins(_joined(parts), scene.grid.width), points.summary)


def _areas(layer: VectorLabels, scene: Scene) -> Iterator[Window]:
    """Yield the blocks of a scene that lines or polygons may have pixels in."""
    return (window for window in blocks(scene.grid.height, scene.grid.width, _BLOCK) if layer.has_shapes_in(window))


def _labelled(labels: Labels, window: Window, lattice: int) -> Examples:
    """Return the labelled pixels of a window that lie on a lattice of the scene."""
    first = (-window.row % lattice, -window.column % lattice)
    rows, columns = np.nonzero(labels[first[0] :: lattice, first[1] :: lattice] >= 0)
    rows, columns = rows * lattice + first[0], columns * lattice + first[1]
    return Examples(rows + window.row, columns + window.column, labels[rows, columns])


def _joined(parts: list[Examples]) -> Examples:
    parts = [Examples.none(), *parts]
    return Examples(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def _thinned(parts: list[Examples], rng: np.random.Generator) -> Examples:
    """Join examples, and draw some of each class where there are very many."""
    return draw_evenly(_joined(parts), 2 * _PIXELS_A_CLASS, _PIXELS_A_CLASS, rng)


def draw_evenly(examples: Examples, most: int, then: int, rng: np.random.Generator) -> Examples:
    """Draw some of the examples of each class that has very many.

    Args:
        examples: All.
        most: As many as a class may have before any is left out.
        then: As many as are drawn of one that has more.
        rng: Draws them.
    """
    kept = np.ones(len(examples), np.bool_)
    for label, count in enumerate(np.bincount(examples.labels)):
        if count > most:
            own = np.flatnonzero(examples.labels == label)
            kept[rng.permutation(own)[then:]] = False
    return examples.keep(kept)


def _without_twins(examples: Examples, width: int) -> Examples:
    """Keep each pixel once, the first one."""
    _, first = np.unique(examples.rows * width + examples.columns, return_index=True)
    return examples.keep(np.sort(first))


@dataclass(frozen=True, eq=False)
class Split:
    """Examples to adapt to and examples to validate with.

    Attributes:
        support: To adapt to.
        validation: Kept back.
        near: How many are neither, because they lie too near to the support.
        apart: Pixels that support and validation are apart at least, along rows or along columns.
    """

    support: Examples
    validation: Examples
    near: int
    apart: int


def split_apart(examples: Examples, share: float, apart: int, *, seed: int) -> Split:
    """Keep a share of the examples back, in squares of the scene of their own, away from the others.

    The squares are four distances wide, or less where the examples lie so close that no class would be left on one
    side; then the distance is halved.

    Args:
        examples: All.
        share: About how many are kept back.
        apart: Least pixels between support and validation.
        seed: Decides which squares.

    Raises:
        RasterError: if nothing can be kept back.
    """
    classes = np.unique(examples.labels)
    for distance in (apart >> shift for shift in range(apart.bit_length())):
        for side in (4 * distance, 2 * distance, distance):
            square = (examples.rows // side << 32) + examples.columns // side
            held = _held_squares(square, examples.labels, share, np.random.default_rng(seed))
            support = examples.keep(~held)
            far = _far(examples, support, distance)
            kept = examples.keep(held & far)
            enough = len(kept) >= max(1, share * len(examples) / 3)
            if enough and len(np.unique(support.labels)) == len(classes):
                return Split(support, kept, int(np.count_nonzero(held & ~far)), distance)
    raise RasterError(
        f"none of the {len(examples)} labels can be kept back for validation without losing a class, or all lie within "
        "a pixel of each other. Label more places, or give other labels with --validation."
    )


def _held_squares(square: IntArray, labels: Labels, share: float, rng: np.random.Generator) -> BoolArray:
    """Return which examples are kept back: whole squares, as long as each class keeps most of its examples."""
    held = np.zeros(len(square), np.bool_)
    total = np.bincount(labels)
    may_leave = np.minimum(np.ceil(share * total), total - 1)
    left = np.zeros(len(total))
    for number in rng.permutation(np.unique(square)):
        own = square == number
        added = np.bincount(labels[own], minlength=len(total))
        if np.all(left + added <= np.maximum(may_leave, 0)):
            held |= own
            left += added
    return held


def _far(examples: Examples, support: Examples, distance: int) -> BoolArray:
    """Return which examples are `distance` pixels from every support example, along rows or along columns."""
    far = np.ones(len(examples), np.bool_)
    for first in range(0, len(examples), 1024):  # so many at a time, for the memory of all pairs
        here = slice(first, first + 1024)
        down = np.abs(examples.rows[here, np.newaxis] - support.rows)
        across = np.abs(examples.columns[here, np.newaxis] - support.columns)
        far[here] = (np.maximum(down, across) >= distance).all(axis=1)
    return far


@dataclass(frozen=True, eq=False)
class SupportSet:
    """What the model is adapted to.

    Attributes:
        x: [n, H, W, bands] float32, as sent.
        y: [n] or [n, H, W] int32, index of the class, -1 where there is no label.
    """

    x: FloatArray
    y: Labels


@dataclass(frozen=True, eq=False)
class UsedLabels:
    """Which labels a model was adapted to, and what became of the others.

    Attributes:
        plan: What was asked for.
        examples: In the support.
        split: Where examples were kept back.
        summary: What became of the labels.
        notes: Remarks on them.
    """

    plan: LabelPlan
    examples: Examples
    split: Split | None
    summary: LabelSummary
    notes: tuple[str, ...]


def read_support(scene: Scene, card: Card, examples: Examples, plan: LabelPlan) -> tuple[SupportSet, Examples]:
    """Read the pictures that the model is adapted to, as many as it takes.

    Args:
        scene: To read.
        card: Of the model.
        examples: Labelled pixels.
        plan: What became of them.

    Returns:
        The pictures with their labels, and the examples in them.
    """
    if card.output == "patch":
        examples = _at_most(examples, card.limits.examples, np.random.default_rng(plan.seed))
        windows, labels = _patches(examples, card.size.rows), examples.labels
    else:
        examples, windows = _windows(examples, card.size.rows, card.limits.examples, plan.seed)
        labels = np.stack([_around(examples, window, plan.radius) for window in windows])
    read = [scene.read(window) for window in windows]
    if card.output == "pixel":
        labels = np.where(np.stack([valid for _, valid in read]), labels, -1).astype(np.int32)
    return SupportSet(np.stack([values for values, _ in read]), labels), examples


def _at_most(examples: Examples, most: int, rng: np.random.Generator) -> Examples:
    """Draw examples where there are too many, from the largest classes first."""
    each = np.bincount(examples.labels)
    level = next(level for level in range(int(each.max()), -1, -1) if np.minimum(each, level).sum() <= most)
    return draw_evenly(examples, level, level, rng) if level else examples.keep(rng.permutation(len(examples))[:most])


def _patches(examples: Examples, size: int) -> list[Window]:
    """One window around each example; it may reach out of the scene."""
    rows, columns = (examples.rows - size // 2).tolist(), (examples.columns - size // 2).tolist()
    return [Window(row, column, size, size) for row, column in zip(rows, columns, strict=True)]


def _windows(examples: Examples, size: int, most: int, seed: int) -> tuple[Examples, list[Window]]:
    """Windows that share no pixel, and the examples in them: all, unless there are too many windows."""
    square = (examples.rows // size << 32) + examples.columns // size
    numbers = np.unique(square)
    if len(numbers) > most:
        numbers = np.sort(np.random.default_rng(seed).permutation(numbers)[:most])
    windows = [Window((number >> 32) * size, (number & 0xFFFFFFFF) * size, size, size) for number in numbers.tolist()]
    return examples.keep(np.isin(square, numbers)), windows


def _around(examples: Examples, window: Window, radius: int) -> Labels:
    """Label the pixels around examples [H, W]; nearer ones count, and where two classes are as near, none does."""
    labels = np.full((window.height, window.width), -1, np.int32)
    near = examples.keep(
        examples.within(
            Window(window.row - radius, window.column - radius, window.height + 2 * radius, window.width + 2 * radius)
        )
    )
    down = np.arange(window.height)[:, np.newaxis] + window.row
    across = np.arange(window.width) + window.column
    closest = np.full(labels.shape, radius + 1)
    for row, column, label in zip(near.rows.tolist(), near.columns.tolist(), near.labels.tolist(), strict=True):
        distance = np.maximum(np.abs(down - row), np.abs(across - column))
        labels[(distance == closest) & (labels != label)] = -1
        nearer = distance < closest
        labels[nearer], closest[nearer] = label, distance[nearer]
    return labels
