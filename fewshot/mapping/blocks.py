"""Windows in, blended blocks out: one group of windows is predicted, and neighbouring groups are put together.

The windows of a group are always predicted in the same order and the same calls, whoever predicts them, and sums over
groups are taken in a fixed order: a map does not depend on the order, the number or the kind of the workers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, ShapeError
from fewshot.geo.windows import Window
from fewshot.mapping.layout import SEGMENTS, Layout, Segments, starts_within
from fewshot.mapping.model import Predictor
from fewshot.mapping.scene import Scene

LEVELS = 10_000
"""Steps from 0 to 1 in which probabilities are kept."""

CALL_BYTES = 16 << 20
"""Bytes of pictures in one call of the network."""

_ROWS = 32
"""Rows that are compared at a time: few enough for the processor's cache."""

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Parts = Mapping[str, npt.NDArray[Any]]
"""What is kept of a predicted group: `valid` (bits), the finished body, and weighted sums of the shared strips."""


@dataclass(frozen=True, eq=False)
class Job:
    """All that the prediction of a group depends on.

    Attributes:
        scene: To read.
        layout: Its windows and groups.
        vector: Of the adapted model.
        values: Number in the map of each class.
        nodata: Number in the map where the scene has no data.
        all_probabilities: Whether those of every class are kept, or the greatest only.
    """

    scene: Scene
    layout: Layout
    vector: FloatArray
    values: tuple[int, ...]
    nodata: int
    all_probabilities: bool


@dataclass(frozen=True, eq=False)
class Block:
    """Finished pixels.

    Attributes:
        window: Of the scene.
        classes: [H, W] uint8, number of the class, nodata where the scene has none.
        confidence: [H, W] uint16, greatest probability in `LEVELS` steps, 0 where there is no data.
        probabilities: [H, W, classes] uint16, where they are kept.
    """

    window: Window
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint16]
    probabilities: npt.NDArray[np.uint16] | None


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of the windows of a group.

    Attributes:
        wanted: [m, 2] row and column in the group of each window with data; the others are not predicted.
        calls: Probabilities [n, H, W, classes] or [n, classes] of each call, together of the m windows.
    """

    wanted: IntArray
    calls: tuple[FloatArray, ...]


def read_group(job: Job, group: int) -> tuple[FloatArray, BoolArray]:
    """Read what a group needs.

    Returns:
        Values [H, W, bands] of all its pictures, and where its own pixels [H, W] have data.
    """
    layout = job.layout
    pixels, valid = job.scene.read(layout.reading(group))
    extent, first = layout.extent(group), layout.before
    return pixels, valid[first : first + extent.height, first : first + extent.width]


def predict_windows(job: Job, group: int, pixels: FloatArray, valid: BoolArray, predictor: Predictor) -> Answers:
    """Predict the windows of a group.

    Args:
        job: What to predict.
        group: Its number.
        pixels: As `read_group` gives them.
        valid: As `read_group` gives it.
        predictor: The model.

    Raises:
        ShapeError: if the model's answers are not what its card says.
        FewshotError: whatever the model raises.
    """
    layout, (row, column) = job.layout, job.layout.place(group)
    rows, columns = starts_within(layout.rows, row), starts_within(layout.columns, column)
    wanted = np.argwhere(_any_in(valid, rows, columns, (layout.rows.size, layout.columns.size)))
    calls = _answers(job, pixels, rows[wanted[:, 0]], columns[wanted[:, 1]], predictor)
    return Answers(wanted, tuple(calls))


def blend(job: Job, group: int, valid: BoolArray, answers: Answers) -> Parts:
    """Blend the windows of a group.

    Args:
        job: What was predicted.
        group: Its number.
        valid: As `read_group` gives it.
        answers: Of its windows.
    """
    layout, (row, column) = job.layout, job.layout.place(group)
    rows, columns = starts_within(layout.rows, row), starts_within(layout.columns, column)
    row_weights = layout.grid.row_weights[layout.rows.windows(row)].astype(np.float32)
    column_weights = layout.grid.column_weights[layout.columns.windows(column)].astype(np.float32)
    sums = np.zeros((*valid.shape, len(job.values)), np.float32)
    if layout.per_pixel:
        height, width = layout.rows.size, layout.columns.size
        inside = np.s_[layout.before : layout.before + height, layout.before : layout.before + width]
        windows = (window for call in answers.calls for window in call)
        for (i, j), window in zip(answers.wanted.tolist(), windows, strict=True):
            weights = row_weights[i][:, np.newaxis] * column_weights[j]
            here = np.s_[rows[i] : rows[i] + height, columns[j] : columns[j] + width]
            sums[here] += weights[..., np.newaxis] * window[inside]
    else:
        given = np.zeros((len(rows), len(columns), len(job.values)), np.float32)
        if answers.calls:
            given[tuple(answers.wanted.T)] = np.concatenate(answers.calls)
        sums = _spread(given, (rows, columns), (row_weights, column_weights), sums)
    return _keep(job, sums, valid, (layout.rows.segments(row), layout.columns.segments(column)))


def predict_group(job: Job, group: int, predictor: Predictor) -> Parts:
    """Read, predict and blend a group."""
    pixels, valid = read_group(job, group)
    return blend(job, group, valid, predict_windows(job, group, pixels, valid, predictor))


def _any_in(valid: BoolArray, rows: IntArray, columns: IntArray, size: tuple[int, int]) -> BoolArray:
    """Return for each row and column of windows whether the window holds data."""
    # Sums over all pixels above and to the left: a window's count is four of them.
    sums = np.pad(np.cumsum(np.cumsum(valid, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    top, left = rows[:, np.newaxis], columns
    bottom, right = top + size[0], left + size[1]
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0)


def _answers(
    job: Job, pixels: FloatArray, rows: IntArray, columns: IntArray, predictor: Predictor
) -> Iterator[FloatArray]:
    """Yield the probabilities of several windows at a time, as many as one call of the network takes."""
    side = job.layout.picture
    views = np.lib.stride_tricks.sliding_window_view(pixels, (side, side), axis=(0, 1))
    at_once = max(1, CALL_BYTES // (4 * side * side * pixels.shape[2]))
    adapted = Vector(job.vector)
    for first in range(0, len(rows), at_once):
        chosen = views[rows[first : first + at_once], columns[first : first + at_once]]
        # [m, bands, H, W] -> [m, H, W, bands]
        pictures = np.ascontiguousarray(np.moveaxis(chosen, 1, -1))
        found = np.asarray(predictor.predict(adapted, pictures).probabilities, np.float32)
        if found.shape[0] != len(pictures) or found.shape[-1] != len(job.values):
            raise ShapeError(
                f"the model answers {list(found.shape)} for {len(pictures)} windows and {len(job.values)} classes"
            )
        if not np.isfinite(found).all():
            raise ArtifactError("the model answers probabilities that are not numbers; adapt it again, with less steps")
        yield found


@dataclass(frozen=True, eq=False)
class Vector:
    """An adapted model as `predict` takes it."""

    vector: FloatArray


def _spread(
    given: FloatArray,
    starts: tuple[IntArray, IntArray],
    weights: tuple[FloatArray, FloatArray],
    sums: FloatArray,
) -> FloatArray:
    """Blend one answer a window [rows, columns, classes] over the windows' pixels, first down, then across."""
    down = np.zeros((sums.shape[0], *given.shape[1:]), np.float32)
    for first, weight, line in zip(starts[0].tolist(), weights[0], given, strict=True):
        down[first : first + len(weight)] += weight[:, np.newaxis, np.newaxis] * line
    for number, (first, weight) in enumerate(zip(starts[1].tolist(), weights[1], strict=True)):
        sums[:, first : first + len(weight)] += weight[:, np.newaxis] * down[:, number, np.newaxis]
    return sums


def _keep(job: Job, sums: FloatArray, valid: BoolArray, segments: tuple[Segments, Segments]) -> Parts:
    """Finish the body of a group, and keep the sums of the strips that it shares with others."""
    down, across = (dict(zip(SEGMENTS, each, strict=True)) for each in segments)
    kept: dict[str, npt.NDArray[Any]] = {"valid": np.packbits(valid), "shape": np.array(valid.shape)}
    for top, rows in down.items():
        for left, columns in across.items():
            if (top, left) != ("body", "body"):
                kept[f"{top}_{left}"] = sums[rows, columns]
    body = (down["body"], across["body"])
    return kept | finish(job, sums[body], valid[body])


def finish(job: Job, sums: FloatArray, valid: BoolArray) -> dict[str, npt.NDArray[Any]]:
    """Turn summed probabilities [H, W, classes] into classes, confidence and, where asked for, probabilities."""
    values = np.array(job.values, np.uint8)
    index, greatest = _greatest(sums)
    levels = np.where(valid, np.round(np.minimum(greatest, 1) * LEVELS), 0).astype(np.uint16)
    found = {"classes": np.where(valid, values[index], np.uint8(job.nodata)), "confidence": levels}
    if job.all_probabilities:
        scaled = np.round(np.clip(sums, 0, 1) * LEVELS)
        found["probabilities"] = np.where(valid[..., np.newaxis], scaled, 0).astype(np.uint16)
    return found


def _greatest(sums: FloatArray) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Return index and value [H, W] of the greatest of each pixel [H, W, classes], the first of equals.

    The same as `argmax` and `max` over the last axis, in half the time: a few rows at a time, classes first.
    """
    index, greatest = np.zeros(sums.shape[:2], np.uint8), np.empty(sums.shape[:2], np.float32)
    for first in range(0, len(sums), _ROWS):
        rows = np.s_[first : first + _ROWS]
        planes = np.ascontiguousarray(np.moveaxis(sums[rows], -1, 0))
        np.max(planes, axis=0, out=greatest[rows])
        for number in reversed(range(len(planes))):
            np.copyto(index[rows], np.uint8(number), where=planes[number] == greatest[rows])
    return index, greatest


def assemble(job: Job, group: int, load: Callable[[int], Parts]) -> Block:
    """Put the core of a group together from its own parts and the strips that groups before it share with it.

    Args:
        job: What was predicted.
        group: Its number.
        load: Returns the parts of a group.
    """
    layout = job.layout
    core, (row, column) = layout.core(group), layout.place(group)
    down, across = layout.rows.segments(row), layout.columns.segments(column)
    own = load(group)
    height, width = own["shape"].tolist()
    valid = np.unpackbits(own["valid"], count=height * width).astype(np.bool_).reshape(height, width)
    above = load(group - len(layout.columns)) if row else {}
    left = load(group - 1) if column else {}
    corner = load(group - len(layout.columns) - 1) if row and column else {}
    strips = [
        (down.head, across.body, [(own, "head_body"), (above, "tail_body")]),
        (down.body, across.head, [(own, "body_head"), (left, "body_tail")]),
        (
            *(down.head, across.head),
            [(own, "head_head"), (above, "tail_head"), (left, "head_tail"), (corner, "tail_tail")],
        ),
    ]
    merged = {
        name: np.zeros((core.height, core.width, *own[name].shape[2:]), own[name].dtype)
        for name in ("classes", "confidence", "probabilities")
        if name in own
    }
    for name, whole in merged.items():
        whole[down.body, across.body] = own[name]
    for rows, columns, sources in strips:
        sums = sources[0][0][sources[0][1]].copy()
        for parts, name in sources[1:]:
            if parts:
                sums += parts[name]
        for name, pixels in finish(job, sums, valid[rows, columns]).items():
            merged[name][rows, columns] = pixels
    return Block(core, merged["classes"], merged["confidence"], merged.get("probabilities"))
