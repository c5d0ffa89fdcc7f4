"""Windows in, probabilities out: what one group of windows depends on, and how it is read and predicted.

The windows of a group are always predicted in the same order and the same calls, whoever predicts them.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import ShapeError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.applicability import Applicability
from fewshot.exported.predictor import Predictor
from fewshot.geo.scene import Scene
from fewshot.mapping.applicable.space import dissimilarity_of
from fewshot.mapping.predict.layout import WindowLayout, starts_within
from fewshot.mapping.predict.parts import Parts

CALL_BYTES = 4 << 20
"""Bytes of pictures in one call of the network: what it computes of them still fits the processor's last cache, which
makes calls faster beside other work than larger ones."""

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MapPlan:
    """All that the prediction of a group depends on.

    Attributes:
        scene: To read.
        layout: Its windows and groups.
        model: Adapted; where it knows how far it is applicable, that is mapped too.
        all_probabilities: Whether those of every class are kept, or the greatest only.
    """

    scene: Scene
    layout: WindowLayout
    model: AdaptedModel
    all_probabilities: bool

    @property
    def values(self) -> tuple[int, ...]:
        """Number in the map of each class."""
        return self.model.values

    @property
    def nodata(self) -> int:
        """Number in the map where the scene has no data."""
        return 255 if 0 in self.values else 0

    @property
    def channels(self) -> int:
        """Numbers that are blended of each pixel: the probabilities, and the dissimilarity where it is mapped."""
        return len(self.values) + (self.applicability is not None)

    @property
    def applicability(self) -> Applicability | None:
        """Where the model is applicable, if that is mapped."""
        return self.model.applicability

    @cached_property
    def index(self) -> npt.NDArray[np.int16]:
        """Class of each number in the map [256], -1 for none."""
        index = np.full(256, -1, np.int16)
        index[list(self.values)] = np.arange(len(self.values))
        return index

    def describe(self) -> dict[str, Any]:
        """Return what the pixels of the map depend on, to know it again."""
        calibration: dict[str, Any] = {} if self.model.temperature == 1 else {"temperature": self.model.temperature}
        calibration |= self.scene.describe()
        bands: list[Any] = [list(group) for group in self.scene.match.groups]
        bands = bands or list(self.scene.match.numbers)
        reach = self.applicability.digest() if self.applicability else None
        return (
            calibration
            | ({"applicability": reach} if reach else {})
            | {
                "scene": self.scene.files(),
                "bands": bands,
                "scales": [[band.scale, band.offset] for band in self.scene.match.bands],
                "windows": self.layout.describe(),
                "adapted": hashlib.sha256(self.model.adapted.vector.tobytes()).hexdigest(),
                "model": self.model.fingerprint,
                "classes": {entry.name: value for value, entry in self.model.classes.items()},
                "nodata": self.nodata,
                "probabilities": self.all_probabilities,
            }
        )


Save = Callable[[int, Parts], None]
"""Keeps a finished group."""

Engine = Callable[[MapPlan, Sequence[int], Save], None]
"""Predicts groups, in any order, and hands each one to `Save`."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of the windows of a group.

    Attributes:
        wanted: [m, 2] row and column in the group of each window with data; the others are not predicted.
        probabilities: [n, H, W, classes] or [n, classes] of each call, together of the m windows; where it is mapped
            where the model is applicable, with the dissimilarity behind the classes.
        greatest: Class of the greatest of them, [n, H, W] or [n].
    """

    wanted: IntArray
    probabilities: tuple[FloatArray, ...]
    greatest: tuple[npt.NDArray[np.int32], ...]


def read_group(plan: MapPlan, group: int) -> tuple[FloatArray, BoolArray]:
    """Read what a group needs.

    Returns:
        Values [H, W, bands] of all its pictures, and where its own pixels [H, W] have data.
    """
    layout = plan.layout
    pixels, valid = plan.scene.read(layout.reading(group))
    extent, first = layout.extent(group), layout.before
    return pixels, valid[first : first + extent.height, first : first + extent.width]


def predict_windows(plan: MapPlan, group: int, pixels: FloatArray, valid: BoolArray, predictor: Predictor) -> Answers:
    """Predict the windows of a group.

    Args:
        plan: What to predict.
        group: Its number.
        pixels: As `read_group` gives them.
        valid: As `read_group` gives it.
        predictor: The model.

    Raises:
        ShapeError: if the model's answers are not what its card says.
        FewshotError: whatever the model raises.
    """
    layout, (row, column) = plan.layout, plan.layout.place(group)
    rows, columns = starts_within(layout.rows, row), starts_within(layout.columns, column)
    wanted = np.argwhere(_any_in(valid, rows, columns, (layout.rows.size, layout.columns.size)))
    calls = list(_answers(plan, pixels, rows[wanted[:, 0]], columns[wanted[:, 1]], predictor))
    return Answers(wanted, tuple(found for found, _ in calls), tuple(greatest for _, greatest in calls))


def _any_in(valid: BoolArray, rows: IntArray, columns: IntArray, size: tuple[int, int]) -> BoolArray:
    """Return for each row and column of windows whether the window holds data."""
    if valid.all():
        return np.ones((len(rows), len(columns)), np.bool_)
    # Sums over all pixels above and to the left: a window's count is four of them.
    sums = np.pad(np.cumsum(np.cumsum(valid, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    top, left = rows[:, np.newaxis], columns
    bottom, right = top + size[0], left + size[1]
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left] > 0)


def _answers(
    plan: MapPlan, pixels: FloatArray, rows: IntArray, columns: IntArray, predictor: Predictor
) -> Iterator[tuple[FloatArray, npt.NDArray[np.int32]]]:
    """Yield what the model says of several windows at a time, as many as one call of the network takes."""
    side, bands = plan.layout.picture, pixels.shape[2]
    views = np.lib.stride_tricks.sliding_window_view(pixels, (side, side, bands))[:, :, 0]
    at_once = max(1, CALL_BYTES // (4 * side * side * bands))
    for first in range(0, len(rows), at_once):
        pictures = views[rows[first : first + at_once], columns[first : first + at_once]]
        answer = predictor.predict(plan.model.adapted, pictures)
        found, greatest = np.asarray(answer.probabilities, np.float32), np.asarray(answer.class_index, np.int32)
        classes = len(plan.values)
        if len(found) != len(pictures) or found.shape[-1] != classes or greatest.shape != found.shape[:-1]:
            raise ShapeError(
                f"the model answers {list(found.shape)} and {list(greatest.shape)} for {len(pictures)} windows and "
                f"{classes} classes"
            )
        if greatest.size and not 0 <= greatest.min() <= greatest.max() < classes:
            raise ShapeError(f"the model answers with class {greatest.min()} to {greatest.max()} of {classes}")
        if plan.applicability is not None:
            unlike = dissimilarity_of(plan.applicability, predictor, plan.model.adapted, pictures)
            found = np.concatenate([found, unlike[..., np.newaxis]], axis=-1)
        yield found, greatest
