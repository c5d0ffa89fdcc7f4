"""Labels of a scene's pixels, from a class raster or from vectors, and what became of each of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from fewshot.errors import RasterError
from fewshot.geo.landcover import IGNORED, ClassTable, Colour, Labels, class_table
from fewshot.geo.products import date_in
from fewshot.geo.rasters import RasterInfo, RasterReader, burn, describe_raster
from fewshot.geo.vectors import VECTOR_ENDINGS, Features, read_features, read_values
from fewshot.geo.windows import IntArray, Window, blocks

CONTRADICTED = -2
"""The label of a pixel that features of different classes claim."""

DATE_FIELDS = ("date", "Date", "DATE", "datetime", "acquired", "observed")
"""Fields that say when a feature was seen."""

_AT_A_TIME = 1024  # rows and columns of a label raster that are looked through in one go
_MOST_CLASSES = 256

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LabelFiles:
    """Labels, and how they are read.

    Attributes:
        path: Points, lines or polygons, or a class raster.
        field: Of vectors, the one that holds the class; a usual one if None.
        radius: Pixels on each side of a point that it labels too.
    """

    path: Path
    field: str | None = None
    radius: int = 0

    @property
    def are_vectors(self) -> bool:
        """Whether they are features with a field, or else a class raster."""
        return Path(self.path).suffix.lower() in VECTOR_ENDINGS


@dataclass(frozen=True)
class LabelSummary:
    """What became of the labels of one scene.

    Attributes:
        path: Of the labels.
        pixels: Labelled pixels that count, by class; every class that counts is listed.
        examples: Features that gave pixels, by class; of a class raster the pixels.
        features: Features in the file; 0 for a class raster, as in the next four.
        outside: Features outside of the scene.
        unusable: Features without a geometry or a class.
        without_pixel: Features in the scene that no pixel shows: too small, or hidden by others.
        ignored: Features of ignored classes.
        on_nodata: Labelled pixels where the scene has no data.
        contradicting: Pixels that features of different classes claim; they do not count.
        notes: Remarks on how the labels were read.
    """

    path: Path
    pixels: Mapping[str, int]
    examples: Mapping[str, int]
    features: int = 0
    outside: int = 0
    unusable: int = 0
    without_pixel: int = 0
    ignored: int = 0
    on_nodata: int = 0
    contradicting: int = 0
    notes: tuple[str, ...] = ()

    @property
    def lone(self) -> tuple[str, ...]:
        """Classes with a single example, which can be in the support or among the queries, not in both."""
        return tuple(name for name, count in self.examples.items() if count == 1)

    def lines(self) -> tuple[str, ...]:
        """Say what did not count and why, a sentence each; nothing if all did."""
        counted = {
            "of {features} features lie outside of the scene": self.outside,
            "of {features} features have no geometry or no class": self.unusable,
            "of {features} features cover no pixel's centre, or are hidden by others": self.without_pixel,
            "of {features} features are of ignored classes": self.ignored,
            "labelled pixels lie where the scene has no data, or is masked": self.on_nodata,
            "pixels are claimed by features of different classes and do not count": self.contradicting,
        }
        said = [f"{count} {text.format(features=self.features)}" for text, count in counted.items() if count]
        if self.lone:
            said.append(f"only one example of {', '.join(self.lone)}")
        return tuple(f"{self.path}: {line}." for line in [*said, *self.notes])


class RasterLabels:
    """Labels of a class raster."""

    def __init__(self, reader: RasterReader, path: Path, scene: RasterInfo, table: ClassTable) -> None:
        """Lay a class raster over a scene; on another grid, each pixel takes the nearest label.

        Args:
            reader: Keeps rasters open.
            path: Of the class raster.
            scene: What they are labels of.
            table: Knows their classes.

        Raises:
            DataNotFoundError: if there is no such file.
            RasterError: if it cannot be read, has more than one band, no ground in common with the scene, or on another
                grid than that no CRS.
        """
        info = describe_raster(path)
        if info.bands != 1:
            raise RasterError(f"{path} has {info.bands} bands; expected a class raster, of one band")
        same = info.grid.same_as(scene.grid)
        if not same:  # two without a CRS may have the same pixels
            require_georeference(info, "labels")
            require_georeference(scene, "scene")
        if not info.grid.overlaps(scene.grid):
            raise RasterError(
                f"the label raster {path} and {scene.path} have no ground in common: {info.grid.extent()} against "
                f"{scene.grid.extent()}. Are they labels of another scene, or is a CRS wrong?"
            )
        self.path, self.table = Path(path), table
        self._reader = reader
        self._grid = None if same else scene.grid
        self.notes = (
            ("it lies on another grid than the scene; each pixel takes the nearest label",) if self._grid else ()
        )

    def read(self, window: Window) -> Labels:
        """Return the labels of a window [H, W]: an index of the table, -1 where none counts."""
        pixels, valid = self._reader.read(self.path, window, bands=[1], grid=self._grid)
        return self.table.indices(pixels[..., 0], valid=valid[..., 0], where=f"{self.path}, {window}")

    def require_classes(self, height: int, width: int) -> None:
        """Read all labels of a scene of this size once, so that none without a class is met later.

        Raises:
            ManifestError: if a number stands for no class.
            RasterError: if the raster cannot be read.
        """
        for window in blocks(height, width, _AT_A_TIME):
            self.read(window)


class VectorLabels:
    """Labels of points, lines and polygons.

    Attributes:
        path: Of the features.
        features: All of them, in the scene's pixels.
        table: Knows their classes.
        kept: [features] which are not ignored.
        labels: [kept] int32, index in the table.
        notes: Remarks on how they were read.
    """

    def __init__(self, features: Features, table: ClassTable, *, radius: int = 0) -> None:
        """Number the features' classes.

        Args:
            features: In the scene's pixels.
            table: Knows all their classes.
            radius: Pixels on each side of a point that it labels too.

        Raises:
            ManifestError: if a feature's class is unknown to the table.
        """
        self.path, self.features, self.table, self._radius = features.path, features, table, radius
        self.notes = (features.note,) if features.note else ()
        numbers = {value: table.index_of(value, where=str(features.path)) for value in set(features.values)}
        labels = np.array([numbers[value] for value in features.values], np.int32)
        self.kept = labels >= 0
        self.labels = labels[self.kept]
        parts, owners = shapely.get_parts(features.shapes[self.kept], return_index=True)
        is_point = shapely.get_type_id(parts) == shapely.GeometryType.POINT
        places = np.floor(shapely.get_coordinates(parts[is_point])).astype(np.int64).reshape(-1, 2)
        order = np.argsort(places[:, 1], kind="stable")
        self._point_columns, self._point_rows = places[order].T
        self._point_owners = owners[is_point][order]
        # Larger shapes are drawn first, so that a small one is hidden by nothing but smaller ones.
        shapes, shape_owners = parts[~is_point], owners[~is_point]
        order = np.argsort(-shapely.area(shapes), kind="stable")
        self._shapes, self._shape_owners = shapes[order], shape_owners[order]
        self._tree = shapely.STRtree(self._shapes)

    def read(self, window: Window) -> Labels:
        """Return the labels of a window [H, W]: an index of the table, -1 where none, -2 where contradicted."""
        shapes = self._shapes_in(window)
        numbers = self.labels[self._shape_owners[shapes]]
        rising = shapes[np.argsort(numbers, kind="stable")]
        highest = self._burn(rising, self.labels, window)
        lowest = self._burn(rising[::-1], self.labels, window)
        none = len(self.table.names)
        lowest[lowest < 0] = none
        rows, columns, owners = self._points_in(window)
        np.maximum.at(highest, (rows, columns), self.labels[owners])
        np.minimum.at(lowest, (rows, columns), self.labels[owners])
        labels = np.where(highest == lowest, highest, CONTRADICTED)
        return np.where(highest < 0, IGNORED, labels).astype(np.int32)

    def days(self) -> IntArray:
        """Return when each feature [kept] was seen, as `datetime.date.toordinal` counts; 0 where that is not said."""
        said = next((values for name, values in self.features.further.items() if name in DATE_FIELDS), None)
        if said is None:
            return np.zeros(len(self.labels), np.int64)
        dates = [date_in(str(value)) for value, kept in zip(said, self.kept, strict=True) if kept]
        return np.array([date.fromisoformat(text).toordinal() if text else 0 for text in dates], np.int64)

    def has_shapes_in(self, window: Window) -> bool:
        """Whether a line or polygon may have a pixel in a window; points do not count."""
        return len(self._shapes_in(window)) > 0

    def shown(self, window: Window) -> IntArray:
        """Return the features, by number among those that are not ignored, that have a pixel in a window."""
        numbers = self._burn(self._shapes_in(window), np.arange(len(self.labels), dtype=np.int32), window)
        return np.union1d(numbers[numbers >= 0], self._points_in(window)[2]).astype(np.int64)

    def _shapes_in(self, window: Window) -> IntArray:
        """Return the lines and polygons that may have a pixel in a window, larger ones first."""
        area = shapely.box(window.column, window.row, window.column + window.width, window.row + window.height)
        return np.sort(self._tree.query(area))

    def _burn(self, shapes: IntArray, numbers: Labels, window: Window) -> Labels:
        """Draw shapes with the numbers of the features that they are of."""
        drawn = zip(self._shapes[shapes], numbers[self._shape_owners[shapes]].tolist(), strict=True)
        return burn(list(drawn), window)

    def _points_in(self, window: Window) -> tuple[IntArray, IntArray, IntArray]:
        """Return rows and columns in the window of the pixels that points label, and the points' features."""
        reach = np.arange(-self._radius, self._radius + 1)
        first = np.searchsorted(self._point_rows, window.row - self._radius)
        last = np.searchsorted(self._point_rows, window.row + window.height + self._radius)
        rows = self._point_rows[first:last, None, None] + reach[:, None] - window.row
        columns = self._point_columns[first:last, None, None] + reach - window.column
        rows, columns = np.broadcast_arrays(rows, columns)
        owners = np.broadcast_to(self._point_owners[first:last, None, None], rows.shape)
        inside = (rows >= 0) & (rows < window.height) & (columns >= 0) & (columns < window.width)
        return rows[inside], columns[inside], owners[inside]


LabelLayer = RasterLabels | VectorLabels
"""Labels of a scene, read window by window."""


def open_labels(reader: RasterReader, labels: LabelFiles, scene: RasterInfo, table: ClassTable) -> LabelLayer:
    """Lay labels over a scene: vectors by the file's ending, else a class raster.

    Args:
        reader: Keeps rasters open.
        labels: Which, and how they are read.
        scene: What they are labels of.
        table: Knows their classes.

    Raises:
        DataNotFoundError: if there is no such file.
        DamagedDataError: if it cannot be read.
        ManifestError: if the table does not know a class.
        RasterError: if its CRS or the scene's alone is missing, or it does not overlap the scene.
        RecipeError: if it is not clear which field holds the class.
    """
    if not labels.are_vectors:
        return RasterLabels(reader, labels.path, scene, table)
    features = read_features(labels.path, scene.grid, field=labels.field, scene=str(scene.path), further=DATE_FIELDS)
    return VectorLabels(features, table, radius=labels.radius)


def found_classes(labels: Sequence[LabelFiles], reader: RasterReader) -> ClassTable:
    """Make a class of every name or number found in labels: numbers in their order, then names in theirs.

    Args:
        labels: All that are read by the table.
        reader: Keeps rasters open.

    Returns:
        The table. A number has the colour that the first raster to give it one does, unless another class has it.

    Raises:
        DataNotFoundError: if a file does not exist.
        DamagedDataError: if one cannot be read as vectors.
        RasterError: if a raster cannot be read or holds no classes, or no label has a class.
        RecipeError: if it is not clear which field holds the class.
    """
    found: dict[str, Any] = {}
    colours: dict[str, Colour] = {}
    for files in dict.fromkeys(labels):
        table = {} if files.are_vectors else describe_raster(files.path).colours
        values = read_values(files.path, field=files.field) if files.are_vectors else _class_numbers(files.path, reader)
        for value in values:
            name, colour = str(value), table.get(value)
            found[name] = value if isinstance(value, int) else found.get(name, value)
            if colour is not None and colour not in colours.values():
                colours.setdefault(name, colour)
    if not found:
        named = ", ".join(sorted({str(files.path) for files in labels}))
        raise RasterError(f"{named} has no label with a class; expected at least two classes")
    order = sorted(found, key=lambda name: (1, 0, name) if isinstance(found[name], str) else (0, found[name], ""))
    ids = {name: {"id": value} for name, value in found.items() if isinstance(value, int)}
    rows = [{"name": name, "colour": colours.get(name), **ids.get(name, {})} for name in order]
    return class_table(f"of {labels[0].path.name}" if len(labels) == 1 else "of the labels", rows)


def _class_numbers(path: Path, reader: RasterReader) -> list[int]:
    """Return the numbers that a class raster holds, reading it piece by piece."""
    grid, found = describe_raster(path).grid, set[float]()
    for window in blocks(grid.height, grid.width, _AT_A_TIME):
        pixels, valid = reader.read(path, window, bands=[1])
        found.update(np.unique(pixels[valid]).tolist())
        if len(found) > _MOST_CLASSES or any(value != int(value) for value in found):
            raise RasterError(
                f"{path} holds more than {_MOST_CLASSES} numbers, or broken ones, and so no classes; expected a class "
                "raster, or a class table that says which numbers count"
            )
    return sorted(int(value) for value in found)


def require_georeference(info: RasterInfo, what: str) -> None:
    """Refuse a raster that does not say where it lies.

    Raises:
        RasterError: if it names no CRS.
    """
    if info.grid.crs is None:
        raise RasterError(
            f"the {what} {info.path} names no CRS, so where it lies is not known; expected a georeferenced raster. Say "
            f"it once, for example with rio edit-info --crs EPSG:32633 {info.path}"
        )


@dataclass
class LabelTally:
    """Counts, window by window, what becomes of a scene's labels.

    Attributes:
        layer: The labels.
    """

    layer: LabelLayer
    _pixels: Counter[int] = field(default_factory=Counter)
    _on_nodata: int = 0
    _contradicting: int = 0
    _shown: set[int] = field(default_factory=set)

    def add(self, window: Window, labels: Labels, valid: BoolArray) -> None:
        """Count a window that shares no pixel with those counted before.

        Args:
            window: Of the scene.
            labels: [H, W] as the layer reads them.
            valid: [H, W] where the scene has data.
        """
        values, counts = np.unique(labels[valid & (labels >= 0)], return_counts=True)
        self._pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self._on_nodata += int(np.count_nonzero(~valid & (labels >= 0)))
        self._contradicting += int(np.count_nonzero(labels == CONTRADICTED))
        if isinstance(self.layer, VectorLabels):
            self._shown.update(self.layer.shown(window).tolist())

    def summary(self) -> LabelSummary:
        """Sum up.

        Raises:
            RasterError: if no labelled pixel is left.
        """
        names = self.layer.table.names
        pixels = {name: self._pixels[index] for index, name in enumerate(names)}
        examples = dict(pixels)
        found: dict[str, int] = {}
        if isinstance(self.layer, VectorLabels):
            features = self.layer.features
            shown = np.array(sorted(self._shown), np.int64)
            counts = np.bincount(self.layer.labels[shown], minlength=len(names))
            examples = dict(zip(names, counts.tolist(), strict=True))
            found = {"features": features.total, "outside": features.outside, "unusable": features.unusable}
            found["without_pixel"] = len(self.layer.labels) - len(shown)
            found["ignored"] = int((~self.layer.kept).sum())
        summary = LabelSummary(
            self.layer.path,
            pixels,
            examples,
            **found,
            on_nodata=self._on_nodata,
            contradicting=self._contradicting,
            notes=self.layer.notes,
        )
        if not sum(pixels.values()):
            reasons = " ".join(summary.lines()) or "It labels no pixel of the scene."
            raise RasterError(f"no label of {self.layer.path} is left that counts. {reasons}")
        return summary
