"""From labels to examples: which pixels of a scene they label, and which of these are kept apart from the others."""

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.labels import LabelFiles, LabelTally, VectorLabels, open_labels
from fewshot.geo.landcover import ClassTable, Labels
from fewshot.geo.points import Examples, FoundExamples, Split, dated_places, labelled_points
from fewshot.geo.rasters import RasterReader
from fewshot.geo.scene import Scene
from fewshot.geo.windows import IntArray, Window, blocks

BoolArray = npt.NDArray[np.bool_]

_BLOCK = 512  # rows and columns of labels read at a time
_PIXELS_A_CLASS = 4096  # examples of a class that are taken from polygons or a class raster at most


def find_examples(
    scene: Scene, labels: LabelFiles, table: ClassTable, *, spacing: int | None, seed: int = 0
) -> FoundExamples:
    """Find the labelled pixels of a scene.

    Args:
        scene: That they lie in.
        labels: Which; whatever their radius, a point is one example.
        table: Knows their classes.
        spacing: Pixels between the examples of a line or polygon; if None each has one.
        seed: Decides which are drawn where there are very many.

    Raises:
        RasterError: if no label is left that counts.
        FewshotError: what `open_labels` and `labelled_points` raise.
    """
    layer = open_labels(RasterReader(), LabelFiles(labels.path, labels.field), scene.info, table)
    rng = np.random.default_rng(seed)
    if not isinstance(layer, VectorLabels):
        tally, parts = LabelTally(layer), []
        for window in blocks(scene.grid.height, scene.grid.width, _BLOCK):
            read = layer.read(window)
            if (read >= 0).any():
                valid = scene.valid(window)
                tally.add(window, read, valid)
                parts.append(_labelled(np.where(valid, read, -1).astype(np.int32), window, 1))
                parts = [_thinned(parts, rng)]
        return FoundExamples(_joined(parts), tally.summary())
    places = dated_places(layer, scene.grid)
    scene = scene.of_dates(places)
    points = labelled_points(layer, scene.grid, read_valid=scene.valid)
    parts = [points.examples]
    for window in blocks(scene.grid.height, scene.grid.width, _BLOCK) if spacing is not None else ():
        if not layer.has_shapes_in(window):
            continue
        read = layer.read(window)
        valid = scene.valid(window) if (read >= 0).any() else np.zeros(read.shape, np.bool_)
        parts.append(_labelled(np.where(valid, read, -1).astype(np.int32), window, spacing or 1))
        parts = [points.examples, _thinned(parts[1:], rng)]
    return FoundExamples(_without_twins(_joined(parts), scene.grid.width), points.summary, places)


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
    return _joined(parts).draw_evenly(2 * _PIXELS_A_CLASS, _PIXELS_A_CLASS, rng)


def _without_twins(examples: Examples, width: int) -> Examples:
    """Keep each pixel once, the first one."""
    _, first = np.unique(examples.rows * width + examples.columns, return_index=True)
    return examples.keep(np.sort(first))


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
