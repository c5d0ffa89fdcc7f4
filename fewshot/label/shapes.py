"""Labels as shapes in pixels of the scene: what files hold, which ones contradict each other, where one lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from fewshot.geo.rasters import burn
from fewshot.geo.vectors import Shapes
from fewshot.geo.windows import Window
from fewshot.label.state import Label, ProjectState

_LARGE = 1 << 22  # pixels of an intersection that is not looked at pixel by pixel: it holds some


def shape_of(label: Label) -> Any:
    """Return the geometry that a label stands for; a line or brush with a width is the area that it covers."""
    if label.kind == "point":
        return shapely.Point(label.coordinates)
    if label.kind == "polygon":
        shell, *holes = label.coordinates
        return shapely.make_valid(shapely.Polygon(shell, holes))
    drawn = (
        shapely.LineString(label.coordinates)
        if len(set(label.coordinates)) > 1
        else shapely.Point(*label.coordinates[:1])
    )
    return drawn.buffer(label.width / 2) if label.width else drawn


def shapes_of(labels: Sequence[Label]) -> Shapes:
    """Return the geometries [n] of labels."""
    shapes = np.empty(len(labels), dtype=object)
    shapes[:] = [shape_of(label) for label in labels]
    return shapes


def contradictions(state: ProjectState) -> tuple[str, ...]:
    """Return the ids of the labels that claim a pixel which a label of another class claims too."""
    labels = list(state.labels.values())
    if not labels:
        return ()
    shapes = np.array([_claimed(label) for label in labels], dtype=object)
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    of = np.array([label.of for label in labels])
    apart = (first < second) & (of[first] != of[second])
    found: set[int] = set()
    for one, other in zip(first[apart].tolist(), second[apart].tolist(), strict=True):
        if not {one, other} <= found and _share_a_pixel(shapes[one], shapes[other]):
            found |= {one, other}
    return tuple(labels[number].id for number in sorted(found))


def _claimed(label: Label) -> Any:
    """Return a shape that holds the centre of every pixel that a label claims: of a point, its pixel's centre."""
    if label.kind != "point":
        return shape_of(label)
    column, row = np.floor(label.coordinates)
    return shapely.Point(column + 0.5, row + 0.5)


def _share_a_pixel(one: Any, other: Any) -> bool:
    """Whether a pixel's centre lies in two shapes, or both lines run through a pixel."""
    both = shapely.intersection(one, other)
    parts = [part for part in shapely.get_parts(both) if not part.is_empty]
    if one.area and other.area:  # areas that merely touch share a line
        parts = [part for part in parts if part.area]
    if not parts:
        return False
    left, top, right, bottom = (int(end) for end in np.floor(shapely.total_bounds(parts)))
    window = Window(top, left, bottom - top + 1, right - left + 1)
    if window.height * window.width > _LARGE:
        return True
    return bool((burn([(part, 1) for part in parts], window) > 0).any())
