"""Where an adapted model holds: how unlike its labels a place is, and from where on it is too unlike to be trusted.

Meyer and Pebesma (2021), "Predicting into unknown space? Estimating the area of applicability of spatial prediction
models" (doi 10.1111/2041-210X.13650), as their R package CAST computes it: features are standardised by the training
points and weighted by importance; the dissimilarity of a place is its distance to the nearest training point over the
mean distance between training points; the threshold is the upper whisker of the training points' own dissimilarity,
each to those of other folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError

Figures = npt.NDArray[np.float64]

_BINS, _IN_A_BIN = 5, 10
_PREFIX = "applicability_"
_ROWS = 4096
"""Places whose distances to all points are computed at a time, so that they fit the processor's cache."""


class AccuracyBin(NamedTuple):
    """Held-out labels of about the same dissimilarity.

    Attributes:
        upto: Their greatest dissimilarity; infinite for those beyond the threshold.
        accuracy: Share of them that is right.
        labels: How many.
    """

    upto: float
    accuracy: float
    labels: int


@dataclass(frozen=True, eq=False)
class Applicability:
    """The space that a model's labels span, and how far from them its answers count.

    Attributes:
        points: [n, features] training points, standardised and weighted.
        centre: [features] what is taken from features before they are compared.
        factor: [features] what they are multiplied with then; a feature of factor 0 does not count.
        mean_distance: Between two training points.
        threshold: Greatest dissimilarity of a place where the model is applicable.
        own: [n] dissimilarity of each training point from those of other folds.
        profile: Accuracy on held-out labels by dissimilarity, the least first; empty where it is not known.
    """

    points: Figures
    centre: Figures
    factor: Figures
    mean_distance: float
    threshold: float
    own: Figures
    profile: tuple[AccuracyBin, ...] = ()

    @classmethod
    def fit(
        cls, features: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, fold: npt.ArrayLike | None = None
    ) -> Self:
        """Measure the space of training points.

        Args:
            features: [n, features] of the training points.
            weights: [features] importance; negative ones count as 0. All are 1 if None, or if no feature that varies
                has any.
            fold: [n] in which each was held out; each in one of its own if None.

        Raises:
            RasterError: if no two points differ, in features that are finite, or all lie in one fold.
        """
        x = np.asarray(features, np.float64)
        number = np.arange(len(x)) if fold is None else np.asarray(fold)
        importance = np.ones(x.shape[1]) if weights is None else np.maximum(np.asarray(weights, np.float64), 0)
        if len(np.unique(x, axis=0)) < 2 or len(np.unique(number)) < 2:
            raise RasterError(
                f"where a map holds is told from labels that differ, in two squares of the scene or more; received "
                f"{len(x)} in {len(np.unique(number))}. Label more places apart from each other."
            )
        spread = x.std(axis=0, ddof=1)
        varies = spread > 0
        importance = importance if importance[varies].any() else np.ones(len(spread))
        factor = np.divide(importance, spread, out=np.zeros(len(spread)), where=varies)
        centre = x.mean(axis=0)
        points = (x - centre) * factor
        between = _distances(points)
        mean_distance = float(between.sum() / (len(x) * (len(x) - 1)))
        if not 0 < mean_distance < np.inf:
            raise RasterError(
                f"where a map holds is told from how far labels are from each other in what the model sees; {len(x)} "
                f"labels are {mean_distance:g} apart, expected more than 0. Label other places, or leave --applicable "
                "and --suggest out."
            )
        others = np.where(number[:, np.newaxis] == number, np.inf, between)
        own = others.min(axis=1) / mean_distance
        return cls(points, centre, factor, mean_distance, upper_whisker(own), own)

    def dissimilarity(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the dissimilarity index [...] of features [..., features]."""
        counted = self.factor > 0
        points = self.points[:, counted].astype(np.float32)
        centre, factor = self.centre[counted], self.factor[counted]
        every = features.reshape(-1, features.shape[-1])
        found = np.empty(len(every), np.float32)
        # Of |x - p|^2 all but |x|^2 tells which point is the nearest: one product of matrices, five to fifteen times
        # faster than a tree where there are many features. The distance to it is then computed as it is.
        lengths = (points**2).sum(axis=1)
        for first in range(0, len(every), _ROWS):
            here = slice(first, first + _ROWS)
            x = ((every[here, counted] - centre) * factor).astype(np.float32)
            nearest = points[(lengths - 2 * x @ points.T).argmin(axis=1)]
            found[here] = np.sqrt(((x - nearest) ** 2).sum(axis=1)) / self.mean_distance
        return found.reshape(features.shape[:-1])

    def arrays(self) -> dict[str, Figures]:
        """Return it as arrays by name, as a file keeps them."""
        found = {name: getattr(self, name) for name in ("points", "centre", "factor", "own")}
        found |= {"scale": np.array([self.mean_distance, self.threshold])}
        found |= {"profile": np.array(self.profile, np.float64).reshape(-1, 3)}
        return {f"{_PREFIX}{name}": values for name, values in found.items()}

    def digest(self) -> str:
        """Return a name of all that the dissimilarity of a place depends on."""
        kept = self.arrays()
        return hashlib.sha256(b"".join(kept[name].tobytes() for name in sorted(kept))).hexdigest()

    @classmethod
    def of_arrays(cls, kept: Mapping[str, npt.NDArray[Any]]) -> Self | None:
        """Return what `arrays` returned, found among others; None where it is not there."""
        if f"{_PREFIX}points" not in kept:
            return None
        points, centre, factor, own, scale, profile = (
            np.asarray(kept[f"{_PREFIX}{name}"], np.float64)
            for name in ("points", "centre", "factor", "own", "scale", "profile")
        )
        bins = tuple(AccuracyBin(upto, accuracy, int(labels)) for upto, accuracy, labels in profile.tolist())
        return cls(points, centre, factor, float(scale[0]), float(scale[1]), own, bins)


def upper_whisker(index: Figures) -> float:
    """Return the third quartile and one and a half times the middle half above it, or the greatest if that is less."""
    known = index[np.isfinite(index)]
    low, high = np.quantile(known, (0.25, 0.75)).tolist()
    return float(min(high + 1.5 * (high - low), known.max()))


def between_classes(features: npt.ArrayLike, labels: npt.ArrayLike) -> Figures:
    """Return which share [features] of the variance of each feature lies between classes.

    That is epsilon squared (Kelley 1935): chance alone gives 0 on average, and less than that is 0.

    Args:
        features: [n, features].
        labels: [n] class.
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    _, index = np.unique(y, return_inverse=True)
    count = np.bincount(index)
    means = np.stack([x[index == number].mean(axis=0) for number in range(len(count))])
    within, whole = ((x - means[index]) ** 2).sum(axis=0), ((x - x.mean(axis=0)) ** 2).sum(axis=0)
    left = np.divide(within, whole, out=np.ones(x.shape[1]), where=whole > 0)
    return np.asarray(np.maximum(1 - left * (len(x) - 1) / max(len(x) - len(count), 1), 0), np.float64)


def accuracy_profile(index: Figures, right: npt.NDArray[np.bool_], threshold: float) -> tuple[AccuracyBin, ...]:
    """Return how often held-out labels were right, by dissimilarity.

    Args:
        index: [n] dissimilarity of the labels.
        right: [n] whether the answer was.
        threshold: Up to which the model is applicable.

    Returns:
        Up to five bins of as many labels each within the threshold, and one of those beyond it where there are any.
    """
    order = np.flatnonzero(index <= threshold)
    order = order[np.argsort(index[order], kind="stable")]
    parts = np.array_split(order, min(_BINS, max(1, len(order) // _IN_A_BIN)))
    ends = [float(index[own].max()) for own in parts[:-1] if len(own)] + [threshold]
    found = [(end, own) for end, own in zip([*ends, np.inf], [*parts, np.flatnonzero(index > threshold)], strict=True)]
    return tuple(AccuracyBin(end, float(right[own].mean()), len(own)) for end, own in found if len(own))


def _distances(points: Figures) -> Figures:
    """Return the distances [n, n] between points."""
    from scipy.spatial.distance import pdist, squareform

    found: Figures = squareform(pdist(points))
    return found
