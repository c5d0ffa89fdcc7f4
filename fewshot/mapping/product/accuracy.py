"""How good a map is, from reference samples: a confusion matrix, and estimates weighted by the mapped areas.

Labelled samples are rarely spread over a map as its classes are. Olofsson et al. (2014), "Good practices for
estimating area and assessing accuracy of land change", weigh each mapped class by its share of the map, which turns
counts of samples into estimates of areas, with standard errors.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import ShapeError

Z = 1.96
"""Standard errors on each side of a 95 % interval."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and half the width of its 95 % interval; None where the samples do not tell."""

    value: float | None
    ci95: float | None


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
        overall: Share of the samples that are right.
        kappa: Cohen's.
        macro_f1: Mean F1 of the classes with samples.
        adjusted: Accuracy over the area of the map.
        classes: Each class.
        notes: What the figures leave out.
    """

    confusion: tuple[tuple[int, ...], ...]
    overall: float
    kappa: float | None
    macro_f1: float
    adjusted: Estimate
    classes: tuple[ClassAccuracy, ...]
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return all figures as JSON takes them."""
        return {
            "samples": int(np.sum(self.confusion)),
            "overall": self.overall,
            "kappa": self.kappa,
            "macro_f1": self.macro_f1,
            "area_adjusted_overall": asdict(self.adjusted),
            "confusion": {"rows": "map", "columns": "reference", "counts": [list(row) for row in self.confusion]},
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


def assess(confusion: npt.NDArray[np.int64], areas: npt.ArrayLike, names: Sequence[str]) -> MapAccuracy:
    """Assess a map (Olofsson et al. 2014, eq. 1-11).

    The intervals hold for samples drawn at random, from the map as a whole or from each mapped class. Mapped classes
    with fewer than two samples are left out of what is weighted by area, and named in the notes.

    Args:
        confusion: [map, reference] counts of samples.
        areas: [map] mapped area of each class, in any unit.
        names: Of the classes.

    Raises:
        ShapeError: if they do not fit together, or there is no sample.
    """
    counts, mapped = np.asarray(confusion, np.float64), np.asarray(areas, np.float64)
    if counts.shape != (len(names), len(names)) or mapped.shape != (len(names),) or not counts.sum():
        raise ShapeError(
            f"expected counts of at least one sample [{len(names)}, {len(names)}] and {len(names)} areas, received "
            f"{int(counts.sum())} samples in {list(counts.shape)} and areas {list(mapped.shape)}"
        )
    rows, columns, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    right = np.diag(counts)
    overall = float(right.sum() / total)
    chance = float((rows * columns).sum() / total**2)
    precision, recall = _ratio(right, rows), _ratio(right, columns)
    f1 = _ratio(2 * right, rows + columns)
    used = (rows >= 2) & (mapped > 0)
    adjusted, users, producers, shares = _adjusted(counts, mapped, used)
    known = columns > 0
    return MapAccuracy(
        confusion=tuple(tuple(row) for row in np.asarray(confusion, np.int64).tolist()),
        overall=overall,
        kappa=(overall - chance) / (1 - chance) if chance < 1 else None,
        macro_f1=float(f1[known].mean()),
        adjusted=adjusted,
        classes=tuple(
            ClassAccuracy(
                name,
                int(columns[i]),
                _plain(precision[i]),
                _plain(recall[i]),
                _plain(f1[i]),
                users[i],
                producers[i],
                float(mapped[i]),
                _scaled(shares[i], float(mapped[used].sum())),
            )
            for i, name in enumerate(names)
        ),
        notes=_notes(names, mapped, rows, used),
    )


def _adjusted(
    counts: FloatArray, mapped: FloatArray, used: npt.NDArray[np.bool_]
) -> tuple[Estimate, list[Estimate], list[Estimate], list[Estimate]]:
    """Estimate overall, user's and producer's accuracy, and each class's share of the area."""
    unknown = [Estimate(None, None)] * len(mapped)
    if not used.any():
        return Estimate(None, None), unknown, unknown, unknown
    n = np.where(used, counts.sum(axis=1), 2)[:, np.newaxis]
    weight = np.where(used, mapped, 0) / mapped[used].sum()
    inside = np.where(used[:, np.newaxis], counts, 0) / n  # share of each reference class in a mapped class
    right = np.diag(inside)
    spread = inside * (1 - inside) / (n - 1)
    overall = _estimate((weight * right).sum(), (weight**2 * np.diag(spread)).sum())  # eq. 1, 5
    users = [_estimate(right[i], spread[i, i]) if used[i] else unknown[i] for i in range(len(mapped))]  # eq. 2, 6
    share = (weight[:, np.newaxis] * inside).sum(axis=0)  # eq. 9
    shares = [_estimate(*pair) for pair in zip(share, (weight[:, np.newaxis] ** 2 * spread).sum(axis=0), strict=True)]
    producers = []
    for j in range(len(mapped)):  # eq. 3, 7
        if not share[j] or not used[j]:
            producers.append(Estimate(0.0, None) if share[j] else unknown[j])
            continue
        value = weight[j] * right[j] / share[j]
        others = np.arange(len(mapped)) != j
        variance = (
            weight[j] ** 2 * (1 - value) ** 2 * spread[j, j]
            + value**2 * (weight[others] ** 2 * spread[others, j]).sum()
        ) / share[j] ** 2
        producers.append(_estimate(value, variance))
    return overall, users, producers, shares


def _notes(names: Sequence[str], mapped: FloatArray, rows: FloatArray, used: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Say which mapped classes have too few samples."""
    if not mapped.sum():
        return ()
    left_out = [
        f"{names[int(i)]} ({mapped[i] / mapped.sum():.1%} of the map, {int(rows[i])} samples)"
        for i in np.flatnonzero((mapped > 0) & ~used)
    ]
    said = f"Figures weighted by area leave out mapped classes with fewer than two samples: {', '.join(left_out)}."
    return (said,) if left_out else ()


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    found: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return found


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _estimate(value: float, variance: float) -> Estimate:
    return Estimate(float(value), Z * float(np.sqrt(variance)))


def _scaled(share: Estimate, whole: float) -> Estimate:
    if share.value is None or share.ci95 is None:
        return share
    return Estimate(share.value * whole, share.ci95 * whole)
