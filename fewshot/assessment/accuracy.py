"""How good a map is, from places whose class is known: a confusion matrix, and figures weighted by area.

Places are rarely spread over a map as its classes are. Olofsson et al. (2014), "Good practices for estimating area and
assessing accuracy of land change", weigh each mapped class by its share of the map, which turns counts of places into
areas with standard errors; Stehman (2014) does so where the places were drawn from other strata.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.assessment.estimates import Estimate, FloatArray, Samples, StratifiedSample
from fewshot.errors import ShapeError
from fewshot.html import html_table


@dataclass(frozen=True)
class ClassAccuracy:
    """One class.

    Attributes:
        name: Of the class.
        samples: Reference samples of it.
        precision: Share of the samples mapped as this class that are of it.
        recall: Share of the samples of this class that are mapped as it.
        f1: Their harmonic mean; 0 if no sample is right, None where the class is neither mapped nor sampled.
        users: Precision, over the area of the map.
        producers: Recall, over the area of the map.
        mapped_area: Area that the map gives it, in the unit of the areas.
        area: Estimated area.
    """

    name: str
    samples: int
    precision: float | None
    recall: float | None
    f1: float | None
    users: Estimate
    producers: Estimate
    mapped_area: float
    area: Estimate


@dataclass(frozen=True)
class MapAccuracy:
    """How good a map is.

    Attributes:
        confusion: [map, reference] counts of samples.
        shares: [map, reference] estimated shares of the area.
        overall: Share of the samples that are right.
        kappa: Cohen's.
        macro_f1: Mean F1 of the classes with samples.
        adjusted: Accuracy over the area of the map.
        classes: Each class.
        notes: What the figures leave out.
    """

    confusion: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]
    overall: float
    kappa: float | None
    macro_f1: float
    adjusted: Estimate
    classes: tuple[ClassAccuracy, ...]
    notes: tuple[str, ...]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Return the heads and rows of a table for people: what is mapped as what, and accuracies in per cent."""
        names = [entry.name for entry in self.classes]
        rows = [
            (entry.name, *map(str, counts), entry.users.percent(), entry.producers.percent())
            for entry, counts in zip(self.classes, self.confusion, strict=True)
        ]
        return ("Mapped \\ is", *names, "User's accuracy", "Producer's accuracy"), rows

    def _repr_html_(self) -> str:
        """Show itself in a notebook."""
        said = f"Accuracy {100 * self.overall:.1f} % of the samples, {self.adjusted.percent()} % by area"
        return html_table(said, *self.table())

    def plain(self) -> dict[str, Any]:
        """Return all figures as JSON takes them."""
        return {
            "samples": int(np.sum(self.confusion)),
            "overall": self.overall,
            "kappa": self.kappa,
            "macro_f1": self.macro_f1,
            "area_adjusted_overall": asdict(self.adjusted),
            "confusion": {
                **{"rows": "map", "columns": "reference", "counts": [list(row) for row in self.confusion]},
                "shares_of_area": [list(row) for row in self.shares],
            },
            "classes": [
                {
                    **{"name": entry.name, "samples": entry.samples, "precision": entry.precision},
                    **{"recall": entry.recall, "f1": entry.f1, "users_accuracy": asdict(entry.users)},
                    **{"producers_accuracy": asdict(entry.producers), "mapped_area": entry.mapped_area},
                    "estimated_area": asdict(entry.area),
                }
                for entry in self.classes
            ],
            "notes": list(self.notes),
        }


def assess_counts(confusion: npt.NDArray[np.int64], areas: npt.ArrayLike, names: Sequence[str]) -> MapAccuracy:
    """Assess a map by samples whose strata are its classes (Olofsson et al. 2014, eq. 1-11).

    The intervals hold for samples drawn at random, from the map as a whole or from each mapped class. Mapped classes
    with fewer than two samples are left out of what is weighted by area, and named in the notes.

    Args:
        confusion: [map, reference] counts of samples.
        areas: [map] mapped area of each class, in any unit.
        names: Of the classes.

    Raises:
        ShapeError: if they do not fit together, or there is no sample.
    """
    counts, mapped = np.asarray(confusion, np.int64), np.asarray(areas, np.float64)
    if counts.shape != (len(names), len(names)) or mapped.shape != (len(names),) or not counts.sum():
        raise ShapeError(
            f"expected counts of at least one sample [{len(names)}, {len(names)}] and {len(names)} areas, received "
            f"{int(counts.sum())} samples in {list(counts.shape)} and areas {list(mapped.shape)}"
        )
    return assess_sample(StratifiedSample(Samples.of_confusion(counts), mapped), mapped, names, names)


def assess_sample(
    sample: StratifiedSample, mapped: npt.ArrayLike, names: Sequence[str], strata: Sequence[str]
) -> MapAccuracy:
    """Assess a map by samples of any strata (Stehman 2014, eq. 15-28).

    Args:
        sample: The places, and the strata they are from.
        mapped: [classes] area that the map gives each class, in the unit of the strata's areas.
        names: Of the classes.
        strata: Names of the strata, for the notes.
    """
    places, classes, areas = sample.samples, range(len(names)), np.asarray(mapped, np.float64)
    confusion = np.zeros((len(names), len(names)))
    np.add.at(confusion, (places.mapped, places.reference), places.counts)
    shares = np.zeros_like(confusion)
    np.add.at(shares, (places.mapped, places.reference), places.counts * sample.weights)
    rows, columns, total = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum()
    overall, chance = float(np.trace(confusion) / total), float((rows * columns).sum() / total**2)
    right = places.mapped == places.reference
    precision, recall = _ratio(np.diag(confusion), rows), _ratio(np.diag(confusion), columns)
    f1 = _ratio(2 * np.diag(confusion), rows + columns)
    whole = float(sample.areas[sample.used].sum())

    def class_accuracy(index: int) -> ClassAccuracy:
        says, is_one = places.mapped == index, places.reference == index
        users, producers = sample.ratio(right & says, says), sample.ratio(right & is_one, is_one)
        if not (sample.used[places.stratum] & says).any():
            # What is found of it, none, is a fact of the samples; how sure that is, they do not tell.
            producers = Estimate(producers.value, None)
        return ClassAccuracy(
            names[index],
            int(columns[index]),
            _plain(precision[index]),
            _plain(recall[index]),
            _plain(f1[index]),
            users,
            producers,
            float(areas[index]),
            sample.share(is_one).times(whole),
        )

    return MapAccuracy(
        confusion=tuple(tuple(row) for row in confusion.astype(np.int64).tolist()),
        shares=tuple(tuple(row) for row in shares.tolist()),
        overall=overall,
        kappa=(overall - chance) / (1 - chance) if chance < 1 else None,
        macro_f1=float(f1[columns > 0].mean()),
        adjusted=sample.share(right),
        classes=tuple(map(class_accuracy, classes)),
        notes=_notes(sample, strata),
    )


def _notes(sample: StratifiedSample, names: Sequence[str]) -> tuple[str, ...]:
    """Say which strata have too few samples."""
    left_out = [
        f"{names[i]} ({sample.areas[i] / sample.areas.sum():.1%} of the map, {int(sample.drawn[i])} samples)"
        for i in np.flatnonzero((sample.areas > 0) & ~sample.used).tolist()
    ]
    said = f"Figures weighted by area leave out mapped classes with fewer than two samples: {', '.join(left_out)}."
    return (said,) if left_out else ()


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    found: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return found


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
