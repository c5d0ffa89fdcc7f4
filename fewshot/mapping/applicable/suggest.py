"""Where to label next: places that the map is unsure of, or unlike every label, spread over map and classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fewshot.assessment.sample import CLASS, class_list_style
from fewshot.files import write_whole
from fewshot.geo.points import Examples
from fewshot.geo.vectors import write_points
from fewshot.mapping.applicable.spread import best_in_cells, smoothed, spread
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.parts import LEVELS, Block

_CELLS = 4096
"""Cells of the map, of each of which the best place of each class is kept: what bounds the memory."""


class Suggestion(NamedTuple):
    """A place that is worth a label.

    Attributes:
        row: Of the scene.
        column: Of the scene.
        mapped: Class that the map gives it, by index.
        confidence: Of that, 0-1.
        dissimilarity: From the labels.
    """

    row: int
    column: int
    mapped: int
    confidence: float
    dissimilarity: float


class Candidates:
    """The best places of each class so far, as the blocks of a map are finished."""

    def __init__(self, plan: MapPlan, wanted: int, threshold: float) -> None:
        """Begin with none.

        Args:
            plan: Of the map.
            wanted: Places.
            threshold: Dissimilarity up to which the method is applicable.
        """
        self.plan, self.wanted, self.threshold = plan, wanted, threshold
        grid = plan.scene.grid
        self._side = max(1, int(np.sqrt(grid.height * grid.width / max(_CELLS, 4 * wanted))))
        self._found: list[npt.NDArray[np.float64]] = []

    def add(self, block: Block) -> None:
        """Keep the best place of each class in each cell of a block."""
        if block.dissimilarity is None:
            return
        index = self.plan.index[block.classes]
        sure, unlike = block.confidence / LEVELS, block.dissimilarity / LEVELS
        doubt = (1 - sure) / (1 - 1 / len(self.plan.values)) + np.minimum(unlike / max(2 * self.threshold, 1e-6), 1)
        worth = smoothed(np.where(index >= 0, doubt, 0))
        rows, columns = best_in_cells(worth, index, self._side)
        at = (rows + block.window.row, columns + block.window.column)
        told = (own[rows, columns] for own in (worth, index, sure, unlike))
        self._found.append(np.stack([*at, *told], axis=1))

    def choose(self, labels: Examples) -> tuple[Suggestion, ...]:
        """Return the places, class by class in turn, away from each other and from the labels.

        They are half as far apart as places on a lattice would be, and less where there are not enough of these.

        Args:
            labels: That the method was adapted to.
        """
        grid = self.plan.scene.grid
        every = np.concatenate([np.zeros((0, 6)), *self._found])
        chosen = spread(
            every[:, :2],
            every[:, 2],
            every[:, 3].astype(np.int64),
            wanted=self.wanted,
            apart=np.sqrt(grid.height * grid.width / self.wanted) / 2,
            taken=np.stack([labels.rows, labels.columns], axis=1),
        )
        return tuple(Suggestion(int(r), int(c), int(k), s, d) for r, c, _, k, s, d in every[chosen].tolist())

    def write(self, path: Path, places: Sequence[Suggestion]) -> None:
        """Write places as points with a blank class, and beside them a QGIS style that offers the map's classes.

        Args:
            path: GeoPackage to write.
            places: To write.
        """
        grid, names = self.plan.scene.grid, self.plan.model.table.names
        rows, columns = (np.array([place[axis] for place in places], np.float64) + 0.5 for axis in (0, 1))
        fields: dict[str, list[Any]] = {
            "id": list(range(1, len(places) + 1)),
            CLASS: [None] * len(places),
            "mapped": [names[place.mapped] for place in places],
            "reason": [self.reason(place) for place in places],
            "confidence": [round(place.confidence, 4) for place in places],
            "dissimilarity": [round(place.dissimilarity, 4) for place in places],
        }
        write_points(path, grid.to_map(rows, columns), grid.crs, fields, {})
        write_whole(path.with_suffix(".qml"), lambda style: style.write_text(class_list_style(names), encoding="utf-8"))

    def reason(self, place: Suggestion) -> str:
        """Say why a place is worth a label."""
        if place.dissimilarity > self.threshold:
            return f"unlike every label: dissimilarity {place.dissimilarity:.2f}, over {self.threshold:.2f}"
        return f"unsure: confidence {place.confidence:.2f}"
