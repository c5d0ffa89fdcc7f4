"""Labelled patches of one scene: which there are, of which class, and which block each lies in."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from fewshot.data.region import IntArray
from fewshot.errors import RasterError, RecipeError
from fewshot.geo.labels import LabelLayer, LabelSummary, LabelTally, VectorLabels
from fewshot.geo.landcover import Labels
from fewshot.geo.points import groups_apart, labelled_points
from fewshot.geo.scene import Scene
from fewshot.geo.windows import BlockGrid, Window, around, counts_in

BoolArray = npt.NDArray[np.bool_]

THREADS = min(8, 2 * (os.cpu_count() or 1))
"""That read windows: more than processors, as they wait for the disk."""


@dataclass(frozen=True)
class PatchLayout:
    """Which patches are cut from a scene.

    Attributes:
        size: Rows and columns of a patch.
        at: "grid" covers the labelled scene; "labels" puts one patch around each labelled feature.
        stride: Pixels between the first rows of neighbours, with "grid"; 0 for `size`.
        block: Rows and columns of the blocks that keep patches apart, with "grid"; 0 for four patches.
        gap: Least pixels between patches of different blocks or groups; a patch's size if None.
        purity: Least share of a patch's labelled pixels that must be of its class, the most common one.
        coverage: Least share of a patch's pixels that must be labelled; at least one always is.
        data: Least share of a patch's pixels that must have data; at least one always does.
    """

    size: int = 64
    at: Literal["grid", "labels"] = "grid"
    stride: int = 0
    block: int = 0
    gap: int | None = None
    purity: float = 0.5
    coverage: float = 0.0
    data: float = 0.5

    def __post_init__(self) -> None:
        """Fill in what follows from the size, and check the numbers."""
        object.__setattr__(self, "stride", self.stride or self.size)
        object.__setattr__(self, "block", self.block or 4 * self.size)
        if min(self.size, self.stride, self.gaps + 1) < 1 or self.block < self.size:
            raise RecipeError(
                f"patches of {self.size} pixels, {self.stride} apart, in blocks of {self.block} with gaps of "
                f"{self.gaps}: expected sizes of at least 1, and a block that holds a patch"
            )
        if any(not 0 <= share <= 1 for share in (self.purity, self.coverage, self.data)):
            raise RecipeError(
                f"purity, coverage and data are shares from 0 to 1, received {self.purity}, {self.coverage} and "
                f"{self.data}"
            )

    @property
    def gaps(self) -> int:
        """Least pixels between patches of different blocks or groups."""
        return self.size if self.gap is None else self.gap


@dataclass(frozen=True)
class SceneReport:
    """What became of a scene's labels and patches.

    Attributes:
        labels: What became of the labels.
        patches: Patches that are images of a region.
        without_labels: Patches left out for too few labelled pixels.
        without_data: Patches left out for too few pixels with data.
        impure: Patches left out because too few labelled pixels are of one class.
        outside_areas: Patches left out because no area, or more than one, holds them.
        bands_in_order: Whether the file describes no band, so that they were taken in its order.
    """

    labels: LabelSummary
    patches: int
    without_labels: int = 0
    without_data: int = 0
    impure: int = 0
    outside_areas: int = 0
    bands_in_order: bool = False

    def lines(self) -> tuple[str, ...]:
        """Say in words which labels and patches do not count, apart from what the layout asks for."""
        said = list(self.labels.lines())
        if self.outside_areas:
            said.append(f"{self.labels.path}: {self.outside_areas} patches do not lie wholly in one area.")
        if self.bands_in_order:
            said.append(f"{self.labels.path}: the scene describes no band; they were taken in the order of the file.")
        return tuple(said)


@dataclass(frozen=True, eq=False)
class LabelledScene:
    """A scene with its labels laid over it.

    Attributes:
        name: Unique in its set.
        scene: Opened, its bands found.
        layer: The labels.
    """

    name: str
    scene: Scene
    layer: LabelLayer


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches of one scene.

    Attributes:
        size: Rows and columns of each.
        rows: [n] first row.
        columns: [n] first column.
        labels: [n] index of the class in the table.
        sources: [n] number of the block or group.
        shown: [n, classes] which classes its labelled pixels have.
        in_blocks: Whether sources are blocks of the scene's grid.
    """

    size: int
    rows: IntArray
    columns: IntArray
    labels: IntArray
    sources: IntArray
    shown: BoolArray
    in_blocks: bool = True

    def keep(self, chosen: BoolArray) -> "Patches":
        """Return the chosen ones [n]."""
        return replace(
            self,
            rows=self.rows[chosen],
            columns=self.columns[chosen],
            labels=self.labels[chosen],
            sources=self.sources[chosen],
            shown=self.shown[chosen],
        )


def cut_patches(labelled: LabelledScene, layout: PatchLayout) -> tuple[Patches, SceneReport]:
    """Cut the patches of one scene.

    Raises:
        RasterError: if none is left, or its values cannot be in the unit they should be in.
        RecipeError: if patches are to lie around labels, and these are a class raster.
    """
    patches, report = (_cut_at_labels if layout.at == "labels" else _cut_grid)(labelled, layout)
    if not report.patches:
        raise RasterError(
            f"no patch of {labelled.scene.info.path} is left: {report.without_labels} have too few labelled pixels, "
            f"{report.without_data} too little data, {report.impure} no class with {layout.purity:.0%} of the labelled "
            "pixels. Choose smaller patches, or ask for less purity, coverage or data."
        )
    return patches, report


def _cut_grid(labelled: LabelledScene, layout: PatchLayout) -> tuple[Patches, SceneReport]:
    """Cut patches in blocks that cover the scene."""
    grid, size, classes = BlockGrid(layout.block, layout.gaps), layout.size, len(labelled.layer.table.names)
    tally = LabelTally(labelled.layer)
    none = np.zeros(0, np.int64)
    parts = [Patches(size, none, none, none, none, np.zeros((0, classes), np.bool_))]
    lost: Counter[str] = Counter()
    checked = False
    for batch in _cells(labelled, grid):
        checked = checked or _units_checked(labelled.scene, batch)
        for cell, (labels, valid) in batch.items():
            tally.add(cell, labels, valid)
            rows, columns = grid.patches(cell, size, layout.stride)
            places = (rows - cell.row, columns - cell.column, size)
            counts = counts_in(np.where(valid, labels, -1), classes, *places)
            data = counts_in(np.where(valid, 0, -1).astype(np.int32), 1, *places)[:, 0]
            common = counts.argmax(axis=1)
            found = Patches(size, rows, columns, common, grid.number(rows, columns, size), counts > 0)
            parts.append(found.keep(_chosen(counts, data, common, layout, lost)))
    merged = Patches(
        size,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.sources for part in parts]),
        np.concatenate([part.shown for part in parts]),
    )
    return merged, _report(tally.summary(), merged, lost)


def _report(labels: LabelSummary, patches: Patches, lost: Counter[str]) -> SceneReport:
    """Say what became of the labels, and of the patches that `_chosen` left out."""
    return SceneReport(labels, len(patches.rows), lost["without_labels"], lost["without_data"], lost["impure"])


def _cells(labelled: LabelledScene, grid: BlockGrid) -> Iterator[dict[Window, tuple[Labels, BoolArray]]]:
    """Read labels and validity of the scene's cells, a few at a time; pixels only where there are labels."""

    def read(cell: Window) -> tuple[Labels, BoolArray]:
        labels = labelled.layer.read(cell)
        valid = labelled.scene.valid(cell) if (labels >= 0).any() else np.ones(labels.shape, np.bool_)
        return labels, valid

    cells = grid.cells(labelled.scene.grid.height, labelled.scene.grid.width)
    with ThreadPoolExecutor(THREADS) as threads:
        while batch := list(islice(cells, 2 * THREADS)):
            yield dict(zip(batch, threads.map(read, batch), strict=True))


def _units_checked(scene: Scene, cells: Mapping[Window, tuple[Labels, BoolArray]]) -> bool:
    """Check the units where most labelled pixels have data; return whether there were any."""
    counts = {cell: np.count_nonzero(valid & (labels >= 0)) for cell, (labels, valid) in cells.items()}
    best = max(counts, key=lambda cell: counts[cell])
    return bool(counts[best]) and scene.check_window(best)


def _chosen(counts: IntArray, data: IntArray, classes: IntArray, layout: PatchLayout, lost: Counter[str]) -> BoolArray:
    """Return which patches [n] have labels, data and purity enough, and count the others by what they lack."""
    area = layout.size**2
    labelled = counts.sum(axis=1)
    of_class = counts[np.arange(len(counts)), classes]
    has_data = (data > 0) & (data >= layout.data * area)
    has_labels = (labelled > 0) & (labelled >= layout.coverage * area)
    is_pure = (of_class > 0) & (of_class >= layout.purity * labelled)
    lost["without_data"] += int((~has_data).sum())
    lost["without_labels"] += int((has_data & ~has_labels).sum())
    lost["impure"] += int((has_data & has_labels & ~is_pure).sum())
    return np.asarray(has_data & has_labels & is_pure, np.bool_)


def _cut_at_labels(labelled: LabelledScene, layout: PatchLayout) -> tuple[Patches, SceneReport]:
    """Cut one patch around each labelled feature, of that feature's class."""
    scene, layer = labelled.scene, labelled.layer
    if not isinstance(layer, VectorLabels):
        raise RecipeError(
            f"{layer.path} is a class raster; patches around labels (at = 'labels') need points, lines or polygons"
        )
    grid, size, table = scene.grid, layout.size, layer.table
    points = labelled_points(layer, grid, read_valid=scene.valid)
    rows, columns = around(points.examples.rows, points.examples.columns, size, (grid.height, grid.width))
    # Features at an edge may share a patch; the first one names it.
    _, first = np.unique(np.stack([rows, columns]), axis=1, return_index=True)
    rows, columns, labels = rows[first], columns[first], points.examples.labels[first].astype(np.int64)

    def count(place: tuple[int, int]) -> tuple[IntArray, int]:
        window = Window(*place, size, size)
        valid = scene.valid(window)
        shown = layer.read(window)[valid]
        return np.bincount(shown[shown >= 0], minlength=len(table.names)), int(valid.sum())

    with ThreadPoolExecutor(THREADS) as threads:
        counted = list(threads.map(count, zip(rows.tolist(), columns.tolist(), strict=True)))
    counts = np.stack([each for each, _ in counted]).astype(np.int64)
    lost: Counter[str] = Counter()
    chosen = _chosen(counts, np.array([data for _, data in counted]), labels, layout, lost)
    sources = groups_apart(rows, columns, size=size, gap=layout.gaps)
    found = Patches(size, rows, columns, labels, sources, counts > 0, in_blocks=False).keep(chosen)
    if len(found.rows):
        scene.check_window(Window(int(found.rows[0]), int(found.columns[0]), size, size))
    return found, _report(points.summary, found, lost)
