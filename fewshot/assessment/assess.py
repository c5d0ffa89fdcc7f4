"""Assesses finished maps by places whose class a person has said."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely

from fewshot.assessment.accuracy import MapAccuracy, assess_sample
from fewshot.assessment.class_map import HECTARES, AreaUnit, ClassMap, open_class_map
from fewshot.assessment.estimates import Estimate, FloatArray, IntArray, Samples, StratifiedSample
from fewshot.assessment.sample import AREA, CLASS, STRATA, STRATUM
from fewshot.errors import ManifestError, RasterError, RecipeError
from fewshot.files import write_whole
from fewshot.geo.vectors import Features, read_features, read_plain_table, vector_fields
from fewshot.html import html_lines, html_picture, html_table


@dataclass(frozen=True, eq=False)
class AssessedMap:
    """One map.

    Attributes:
        path: Of the map.
        accuracy: How good it is; classes that only the places show come last.
        unit: In what areas are said.
    """

    path: Path
    accuracy: MapAccuracy
    unit: AreaUnit = HECTARES

    @property
    def title(self) -> str:
        """What stands above the table."""
        return f"{self.path}, % and {self.unit.name} with 95 % intervals"

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the heads and rows of a table for people: accuracies in per cent, areas in the unit."""
        unit = self.unit.short
        heads = ("Class", "Places", "User's accuracy", "Producer's accuracy", f"Mapped {unit}", f"Estimated {unit}")
        rows = [
            (
                entry.name,
                str(entry.samples),
                entry.users.percent(),
                entry.producers.percent(),
                f"{entry.mapped_area / self.unit.size:,.1f}",
                entry.area.times(1 / self.unit.size).said(),
            )
            for entry in self.accuracy.classes
        ]
        return heads, rows

    def _repr_html_(self) -> str:
        """Show itself in a notebook: the table and the picture."""
        from fewshot.assessment.drawing import draw_assessment

        picture = BytesIO()
        draw_assessment(self.accuracy, picture, self.path.name)
        table = html_table(self.title, *self.table())
        return table + html_picture(picture.getvalue(), f"accuracy of {self.path.name}")


@dataclass(frozen=True)
class MapDifference:
    """Two maps on the same places.

    Attributes:
        first: The first map.
        second: The other.
        difference: Of the first's overall accuracy over the second's, by area.
        only_first: Places where only the first is right.
        only_second: Places where only the second is.
        p_value: Of the exact test of McNemar.
    """

    first: str
    second: str
    difference: Estimate
    only_first: int
    only_second: int
    p_value: float

    def line(self) -> str:
        """Say it in a sentence."""
        return (
            f"{self.first} over {self.second}: {self.difference.percent()} points of overall accuracy; only the first "
            f"is right at {self.only_first} places, only the second at {self.only_second} (McNemar's exact test: "
            f"p = {self.p_value:.3g})."
        )


@dataclass(frozen=True, eq=False)
class AssessReport:
    """What the places tell.

    Attributes:
        maps: Each map.
        differences: Of the maps, two by two.
        places: How many places count.
        notes: Remarks on the places and on what the figures rest on.
    """

    maps: tuple[AssessedMap, ...]
    differences: tuple[MapDifference, ...]
    places: int
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Say the main figures in words."""
        for found in self.maps:
            yield (
                f"{found.path}: overall accuracy {found.accuracy.adjusted.percent()} % by area, "
                f"{100 * found.accuracy.overall:.1f} % of the {self.places} places."
            )
            yield from found.accuracy.notes
        yield from (found.line() for found in self.differences)
        yield from self.notes

    def _repr_html_(self) -> str:
        """Show itself in a notebook."""
        return "".join(found._repr_html_() for found in self.maps) + html_lines(list(self.lines()))

    def write(self, path: Path) -> None:
        """Write all figures as JSON."""
        content = {
            "fewshot_assessment": 1,
            "places": self.places,
            "areas_in": "square metres" if self.maps[0].unit is HECTARES else "pixels",
            "maps": [{"map": str(found.path), **found.accuracy.plain()} for found in self.maps],
            "differences": [asdict(found) for found in self.differences],
            "notes": list(self.notes),
        }
        write_whole(path, lambda to: to.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


@dataclass(frozen=True)
class Places:
    """The file of places whose class is known, and how it is read.

    Attributes:
        path: Points.
        field: That holds the class.
        clusters: Field that says which places were drawn together, if any were.
        classes: Class table, where the maps do not name their classes themselves.
    """

    path: Path
    field: str | None = None
    clusters: str | None = None
    classes: Path | None = None


def assess_maps(maps: Sequence[Path], places: Places) -> AssessReport:
    """Assess maps, and compare each two of them, on the same places.

    Args:
        maps: Class rasters; the first is the one that the places were drawn from, unless they say otherwise.
        places: What is there.

    Raises:
        FewshotError: what opening a map or the places raises.
        RasterError: if no place counts, or some maps name a CRS and others do not.
        RecipeError: if there is no such field, or the strata of the places are not in their own table.
    """
    opened = [open_class_map(path, places.classes, anywhere=True) for path in maps]
    _require_one_ground(opened)
    home, features = opened[0], _read(places, opened[0])
    rows, columns = _places_in(features, places.path)
    mapped = [_mapped(area, home, rows, columns) for area in opened]
    reference = [_reference(area, features, places.path) for area in opened]
    kept = np.all([*(found >= 0 for found in mapped), *(found >= 0 for found, _ in reference)], axis=0)
    notes = list(_losses(features, places, kept))
    if not kept.any():
        raise RasterError(f"no place of {places.path} counts. {' '.join(notes)}")
    stratum, areas, units, strata, said = _strata(places, home, features, mapped[0])
    cluster = _clusters(features, places)
    found, right = [], []
    for area, says, (truth, names) in zip(opened, mapped, reference, strict=True):
        own = Samples.single(stratum[kept], says[kept], truth[kept], None if cluster is None else cluster[kept])
        sample = StratifiedSample(own, areas, units)
        only_here = names[len(area.table.names) :]
        accuracy = assess_sample(sample, [*area.areas, *(0.0 for _ in only_here)], names, strata)
        found.append(AssessedMap(area.info.path, accuracy, area.unit))
        right.append(own.mapped == own.reference)
        if only_here:
            notes.append(f"{area.info.path} has no class {', '.join(only_here)}; places of it count as wrong.")
    differences = [
        _difference(found[i], found[j], (right[i], right[j]), sample) for i, j in combinations(range(len(found)), 2)
    ]
    return AssessReport(tuple(found), tuple(differences), int(kept.sum()), (*notes, *([said] if said else [])))


def _require_one_ground(maps: Sequence[ClassMap]) -> None:
    """Refuse maps of which some name a CRS and others do not."""
    without = [str(area.info.path) for area in maps if area.grid.crs is None]
    if without and len(without) < len(maps):
        raise RasterError(
            f"{', '.join(without)} names no CRS and the other maps do, so places of one cannot be found in the other. "
            "Say where it lies, for example with rio edit-info --crs EPSG:32633"
        )


def _read(places: Places, area: ClassMap) -> Features:
    """Read the places that lie in a map."""
    has = vector_fields(places.path)
    if places.clusters is not None and places.clusters not in has:
        raise RecipeError(f"{places.path} has the fields {', '.join(has)}; expected {places.clusters!r} (--clusters)")
    field = places.field or (CLASS if CLASS in has else None)
    further = [name for name in (STRATUM, places.clusters) if name in has]
    return read_features(places.path, area.grid, field=field, scene=str(area.info.path), further=further)


def _places_in(features: Features, path: Path) -> tuple[FloatArray, FloatArray]:
    """Return rows and columns [n] of points, in the pixels that the features are in.

    Raises:
        RasterError: if there are other shapes.
    """
    kinds = shapely.get_type_id(features.shapes)
    other = ~np.isin(kinds, [shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT])
    if other.any():
        raise RasterError(
            f"{path}: {int(other.sum())} of {len(other)} features are lines or polygons; expected points, one for each "
            "place. Polygons can be held against a map as it is made: fewshot map --validation"
        )
    middle = shapely.centroid(features.shapes)
    return shapely.get_y(middle), shapely.get_x(middle)


def _mapped(area: ClassMap, home: ClassMap, rows: FloatArray, columns: FloatArray) -> IntArray:
    """Return what a map says at places [n] given in the pixels of `home`; -1 outside, and where it says nothing."""
    rows, columns = home.grid.to_grid(area.grid, rows, columns)
    inside = (rows >= 0) & (columns >= 0) & (rows < area.grid.height) & (columns < area.grid.width)
    found = np.full(len(rows), -1, np.int64)
    found[inside] = area.at(rows[inside].astype(np.int64), columns[inside].astype(np.int64))
    return found


def _reference(area: ClassMap, features: Features, path: Path) -> tuple[IntArray, tuple[str, ...]]:
    """Return what is at each place [n], and the classes: those of the map, then those that only the places know."""
    names, known = list(area.table.names), {}
    for value in sorted(set(features.values), key=str):
        try:
            known[value] = area.table.index_of(value, where=str(path))
        except ManifestError:
            known[value] = len(names)
            names.append(str(value))
    return np.array([known[value] for value in features.values], np.int64), tuple(names)


def _strata(
    places: Places, area: ClassMap, features: Features, mapped: IntArray
) -> tuple[IntArray, FloatArray, FloatArray, tuple[str, ...], str]:
    """Return the stratum of each place [n]; areas, pixels and names of the strata; and what is assumed of them.

    Raises:
        RecipeError: if a place is of a stratum that the file does not list.
    """
    listed = read_plain_table(places.path, STRATA)
    if listed is None or STRATUM not in features.further:
        said = (
            f"{places.path} does not say how its places were drawn. They are taken as drawn at random in each class of "
            f"{area.info.path}; of labels that were at hand the intervals do not tell how wrong they may be. Draw "
            "places with fewshot sample."
        )
        return mapped, area.areas, area.pixels.astype(np.float64), area.table.names, said
    index = {number: place for place, number in enumerate(listed[STRATUM])}
    unknown = sorted({str(number) for number in features.further[STRATUM] if number not in index})
    if unknown:
        raise RecipeError(
            f"{places.path}: places are of the strata {', '.join(unknown)}, which its table {STRATA!r} does not list; "
            f"it has {', '.join(map(str, index))}. Places that were added by hand cannot be assessed with those drawn."
        )
    stratum = np.array([index[number] for number in features.further[STRATUM]], np.int64)
    areas, pixels = (np.array(listed[key], np.float64) for key in (AREA if AREA in listed else "pixels", "pixels"))
    return stratum, areas, pixels, tuple(map(str, listed["name"])), ""


def _clusters(features: Features, places: Places) -> IntArray | None:
    """Return the number of each place's cluster [n]; None where places were drawn one by one."""
    if places.clusters is None:
        return None
    found = [str(value) for value in features.further[places.clusters]]
    return np.unique(found, return_inverse=True)[1].ravel().astype(np.int64)


def _difference(
    first: AssessedMap, second: AssessedMap, right: Sequence[npt.NDArray[np.bool_]], sample: StratifiedSample
) -> MapDifference:
    """Compare two maps; `right` says where each is right [places]."""
    from scipy.stats import binomtest

    only_first, only_second = (int((right[one] & ~right[1 - one]).sum()) for one in (0, 1))
    either = only_first + only_second
    return MapDifference(
        str(first.path),
        str(second.path),
        sample.share(right[0].astype(np.float64) - right[1].astype(np.float64)),
        only_first,
        only_second,
        float(binomtest(only_first, either).pvalue) if either else 1.0,
    )


def _losses(features: Features, places: Places, kept: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Say which places do not count."""
    counts = {
        "have no class yet": features.unusable,
        "lie outside of the map": features.outside,
        "lie where a map has no class, or are of an ignored one": int((~kept).sum()),
    }
    yield from (f"{places.path}: {count} places {text}." for text, count in counts.items() if count)
