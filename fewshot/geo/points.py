"""Labelled pixels: one for each labelled feature, and which patches around them are too near to be told apart."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from fewshot.errors import RasterError
from fewshot.geo.dated import DatedPlaces
from fewshot.geo.grid import Grid
from fewshot.geo.labels import LabelSummary, VectorLabels
from fewshot.geo.landcover import Labels
from fewshot.geo.vectors import Shapes
from fewshot.geo.windows import IntArray, Window

BoolArray = npt.NDArray[np.bool_]

_BLOCK = 256  # rows and columns read at a time, to see whether there is data


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled pixels of a scene.

    Attributes:
        rows: [n] int64.
        columns: [n] int64.
        labels: [n] int32, index in the class table.
    """

    rows: IntArray
    columns: IntArray
    labels: Labels

    @classmethod
    def none(cls) -> "Examples":
        """Return no examples."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32))

    def __len__(self) -> int:
        """Return the number of pixels."""
        return len(self.rows)

    def keep(self, chosen: BoolArray | IntArray) -> "Examples":
        """Return the chosen ones."""
        return Examples(self.rows[chosen], self.columns[chosen], self.labels[chosen])

    def within(self, window: Window) -> BoolArray:
        """Return which of them [n] lie in a window."""
        down, across = self.rows - window.row, self.columns - window.column
        return (down >= 0) & (down < window.height) & (across >= 0) & (across < window.width)

    def draw_evenly(self, most: int, then: int, rng: np.random.Generator) -> "Examples":
        """Draw some of the examples of each class that has very many.

        Args:
            most: As many as a class may have before any is left out.
            then: As many as are drawn of one that has more.
            rng: Draws them.
        """
        kept = np.ones(len(self), np.bool_)
        for label, count in enumerate(np.bincount(self.labels)):
            if count > most:
                own = np.flatnonzero(self.labels == label)
                kept[rng.permutation(own)[then:]] = False
        return self.keep(kept)

    def at_most(self, most: int, rng: np.random.Generator) -> "Examples":
        """Draw examples where there are too many, from the largest classes first."""
        each = np.bincount(self.labels)
        level = next(level for level in range(int(each.max()), -1, -1) if np.minimum(each, level).sum() <= most)
        return self.draw_evenly(level, level, rng) if level else self.keep(rng.permutation(len(self))[:most])

    def counts(self, classes: int) -> list[int]:
        """Return how many there are of each class."""
        counted: list[int] = np.bincount(self.labels, minlength=classes).tolist()
        return counted


@dataclass(frozen=True, eq=False)
class FoundExamples:
    """The examples that labels give.

    Attributes:
        examples: One pixel for each point; of polygons, lines and class rasters there may be several.
        summary: What became of the labels.
        places: Where labels have a date.
    """

    examples: Examples
    summary: LabelSummary
    places: DatedPlaces | None = None


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


def labelled_points(layer: VectorLabels, grid: Grid, *, read_valid: Callable[[Window], BoolArray]) -> FoundExamples:
    """Take one pixel of each feature: that of a point, and one inside a polygon or on a line.

    Pixels that features of different classes claim do not count, nor do those without data; several features of one
    class in one pixel are one example.

    Args:
        layer: The labels.
        grid: Of the scene.
        read_valid: Says where in a window the scene has data, [H, W].

    Raises:
        RasterError: if nothing is left.
    """
    features, names = layer.features, layer.table.names
    places, owners = _places(layer, grid)
    labels = layer.labels[owners]
    inside = np.all((places >= 0) & (places < [grid.width, grid.height]), axis=1)
    # One line for each pixel and class; a pixel on two lines is claimed by two classes.
    claims = np.unique(np.stack([places[inside, 1], places[inside, 0], labels[inside]], axis=1), axis=0)
    _, which, times = np.unique(claims[:, :2], axis=0, return_inverse=True, return_counts=True)
    rows, columns, found = claims[times[which.ravel()] == 1].T
    has_data = _valid_at(rows, columns, grid, read_valid)
    examples = dict(zip(names, np.bincount(found[has_data], minlength=len(names)).tolist(), strict=True))
    summary = LabelSummary(
        features.path,
        examples,
        examples,
        features=features.total,
        outside=features.outside,
        unusable=features.unusable,
        ignored=int((~layer.kept).sum()),
        on_nodata=int((~has_data).sum()),
        contradicting=int((times > 1).sum()),
        notes=layer.notes,
    )
    if not has_data.any():
        raise RasterError(f"no label of {features.path} is left that counts. {' '.join(summary.lines())}")
    return FoundExamples(Examples(rows, columns, found.astype(np.int32)).keep(has_data), summary)


def dated_places(layer: VectorLabels, grid: Grid) -> DatedPlaces | None:
    """Return where the features lie that say when they were seen, None if none does; `grid` is that of the scene."""
    days = layer.days()
    if not days.any():
        return None
    places, owners = _places(layer, grid)
    known = days[owners] > 0
    return DatedPlaces(places[known, 1], places[known, 0], days[owners[known]])


def _places(layer: VectorLabels, grid: Grid) -> tuple[IntArray, IntArray]:
    """Return column and row [n, 2] of a pixel of each feature, and which of those that count it is of."""
    points, owners = shapely.get_parts(_one_each(layer.features.shapes[layer.kept], grid), return_index=True)
    return np.floor(shapely.get_coordinates(points)).astype(np.int64).reshape(-1, 2), owners


def _one_each(shapes: Shapes, grid: Grid) -> Shapes:
    """Return points as they are, and for any other shape a point of it inside the scene."""
    kinds = shapely.get_type_id(shapes)
    other = ~np.isin(kinds, [shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT])
    taken = shapes.copy()
    taken[other] = shapely.point_on_surface(
        shapely.intersection(shapes[other], shapely.box(0, 0, grid.width, grid.height))
    )
    return taken


def _valid_at(rows: IntArray, columns: IntArray, grid: Grid, read_valid: Callable[[Window], BoolArray]) -> BoolArray:
    """Return which pixels [n] have data, reading each block of the scene that holds any of them once."""
    valid = np.zeros(len(rows), np.bool_)
    block = np.stack([rows, columns], axis=1) // _BLOCK
    for corner in np.unique(block, axis=0):
        here = np.flatnonzero((block == corner).all(axis=1))
        row, column = (int(place) * _BLOCK for place in corner)
        area = Window(row, column, min(_BLOCK, grid.height - row), min(_BLOCK, grid.width - column))
        valid[here] = read_valid(area)[rows[here] - row, columns[here] - column]
    return valid


def groups_apart(rows: IntArray, columns: IntArray, *, size: int, gap: int) -> IntArray:
    """Number groups of patches [n] such that patches of different groups are more than `gap` pixels apart.

    Unlike the blocks of `BlockGrid` this leaves no patch out, but patches that cover a scene are all one group.

    Args:
        rows: [n] first row of each patch.
        columns: [n] first column of each patch.
        size: Rows and columns of a patch.
        gap: Pixels between two groups.
    """
    # Grown by half the gap, and a little so that corners that touch do overlap.
    grow = gap / 2 + 0.01
    grown = shapely.box(columns - grow, rows - grow, columns + size + grow, rows + size + grow)
    areas = shapely.get_parts(shapely.union_all(grown))
    centres = shapely.points(columns + size / 2, rows + size / 2)
    patches, owners = shapely.STRtree(areas).query(centres, predicate="intersects")
    groups = np.zeros(len(rows), np.int64)
    groups[patches] = owners
    return groups
