"""Compares a map with labels that it was not made from, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fewshot.assessment.accuracy import MapAccuracy, assess_counts
from fewshot.geo.labels import LabelFiles, LabelLayer, RasterLabels, open_labels
from fewshot.geo.landcover import Labels
from fewshot.geo.points import Examples
from fewshot.geo.rasters import RasterReader
from fewshot.geo.sampling import find_examples
from fewshot.geo.windows import IntArray, Window
from fewshot.mapping.compare.confusion import count_confusion
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.parts import Block
from fewshot.mapping.support.examples import LabelPlan, UsedLabels

HELD_BACK = (
    "Labels that were kept back are no random sample of the map: the interval covers which of them were drawn, not "
    "that people chose where to label; for one that does, draw places with fewshot sample, then fewshot assess."
)
OTHERS = "The interval holds if these labels were drawn at random, from the whole map or from each mapped class."


@dataclass
class MapValidation:
    """Reference labels, and what the map says where they are.

    Attributes:
        classes: How many there are.
        support: The examples that the model was adapted to.
        apart: Labels within so many pixels of the support do not count.
        examples: The reference, as single pixels; or
        layer: as a class raster.
        held_back: Whether these are labels that were kept back from the model.
        near: How many did not count so far.
        confusion: [map, reference] counts so far.
    """

    classes: int
    support: Examples
    apart: int
    examples: Examples | None = None
    layer: LabelLayer | None = None
    held_back: bool = False
    near: int = 0
    confusion: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    @property
    def caveat(self) -> str:
        """What the intervals of its accuracy do not cover."""
        return HELD_BACK if self.held_back else OTHERS

    def add(self, block: Block, index: npt.NDArray[np.int16]) -> None:
        """Count a block; `index` is the class of each number in the map [256], -1 for none."""
        labels = self._read(block.window)
        mapped = index[block.classes]
        counted = (labels >= 0) & (mapped >= 0)
        if counted.any():
            self.confusion += count_confusion(mapped[counted], labels[counted], self.classes)

    def _read(self, window: Window) -> Labels:
        """Return the reference [H, W], -1 where there is none or it is near the support."""
        labels = np.full((window.height, window.width), -1, np.int32)
        if self.examples is not None:
            here = self.examples.keep(self.examples.within(window))
            labels[here.rows - window.row, here.columns - window.column] = here.labels
        elif self.layer is not None:
            labels = np.maximum(self.layer.read(window), -1)
        reach = self.apart - 1
        around = Window(window.row - reach, window.column - reach, window.height + 2 * reach, window.width + 2 * reach)
        close = self.support.keep(self.support.within(around))
        for row, column in zip(close.rows - window.row, close.columns - window.column, strict=True):
            square = labels[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
            self.near += int(np.count_nonzero(square >= 0))
            square[:] = -1
        return labels

    def assess(self, areas: npt.ArrayLike, names: Sequence[str]) -> tuple[MapAccuracy | None, tuple[str, ...]]:
        """Say how good a map with such areas [classes] is, and what is to be remarked; None if no label is left."""
        near = f"{self.near} validation labels lie too near to the support and do not count."
        notes = (near,) if self.near else ()
        if not self.confusion.sum():
            return None, (*notes, "No validation label is left, so the accuracy is not known.")
        accuracy = assess_counts(self.confusion, areas, names)
        return accuracy, (*notes, *accuracy.notes)


def choose_validation(plan: MapPlan, used: UsedLabels | None, check: LabelPlan | None) -> MapValidation | None:
    """Open the labels to compare a map with, if there are any: those named, or those kept back.

    Of a raster each pixel is a sample, of other labels each feature.

    Args:
        plan: Of the map.
        used: The labels that the model was adapted to; None where it was adapted before.
        check: Labels for a map of such a model.

    Raises:
        FewshotError: what `open_labels` raises, and if a number of a raster stands for no class: now, not when the map
            is made.
    """
    scene, table = plan.scene, plan.model.table
    support, apart = Examples.none(), 1
    if check is None and used is not None:
        support, check = used.examples, used.plan
        if used.split is not None:
            kept = used.split.validation
            return MapValidation(len(table.names), support, used.split.apart, examples=kept, held_back=True)
        apart = check.apart or (check.radius + 1 if plan.layout.per_pixel else 1)
    if check is None or check.validation is None:
        return None
    files = LabelFiles(check.validation, check.field)
    layer = open_labels(RasterReader(), files, scene.info, table)
    if isinstance(layer, RasterLabels):
        layer.require_classes(scene.grid.height, scene.grid.width)
        return MapValidation(len(table.names), support, apart, layer=layer)
    found = find_examples(scene, files, table, spacing=None)
    return MapValidation(len(table.names), support, apart, examples=found.examples)
