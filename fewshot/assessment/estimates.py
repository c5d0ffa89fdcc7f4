"""Shares and ratios of a map's area, estimated from a stratified sample, with their 95 % intervals.

One formula serves all designs: every figure is a ratio of two totals, and the variance of a ratio is that of its
linearised residuals (Sarndal, Swensson and Wretman 1992, sec. 5.5), summed over what was drawn independently. Where
each place was drawn by itself this is Stehman (2014), eq. 25 and 28, and where the strata are the classes of the map
it is Olofsson et al. (2014), eq. 5-10; where places were drawn in clusters, it is the ultimate cluster estimator.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fewshot.errors import ShapeError

Z = 1.96
"""Standard errors on each side of a 95 % interval, as the papers take it."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure and half the width of its 95 % interval; None where the samples do not tell."""

    value: float | None
    ci95: float | None

    def times(self, whole: float) -> "Estimate":
        """Return the same of a whole of another size."""
        return Estimate(*(None if number is None else number * whole for number in (self.value, self.ci95)))

    def said(self) -> str:
        """Write it with its interval, "-" where it is not known."""
        if self.value is None:
            return "-"
        return f"{self.value:,.1f}" + ("" if self.ci95 is None else f" ± {self.ci95:,.1f}")

    def percent(self) -> str:
        """Write a share in per cent."""
        return self.times(100).said()


UNKNOWN = Estimate(None, None)


@dataclass(frozen=True, eq=False)
class Samples:
    """Places where both the class and the map's class are known; equal ones may be counted together.

    Attributes:
        stratum: [n] index of the stratum that a place was drawn from.
        mapped: [n] index of the class that the map says.
        reference: [n] index of the class that it is.
        counts: [n] how many places each stands for.
        cluster: [n] number of the cluster that a place was drawn with; None where each was drawn by itself.
    """

    stratum: IntArray
    mapped: IntArray
    reference: IntArray
    counts: FloatArray
    cluster: IntArray | None = None

    @classmethod
    def of_confusion(cls, confusion: npt.NDArray[np.int64]) -> "Samples":
        """Return samples whose strata are the classes of the map, from counts [map, reference]."""
        mapped, reference = np.nonzero(confusion)
        return cls(mapped, mapped, reference, np.asarray(confusion, np.float64)[mapped, reference])

    @classmethod
    def single(
        cls, stratum: IntArray, mapped: IntArray, reference: IntArray, cluster: IntArray | None = None
    ) -> "Samples":
        """Return samples that are one place each.

        Args:
            stratum: [n] index of the stratum.
            mapped: [n] index of the class on the map.
            reference: [n] index of the class on the ground.
            cluster: [n] number of the cluster; None for none.
        """
        return cls(stratum, mapped, reference, np.ones(len(stratum)), cluster)


@dataclass(frozen=True, eq=False)
class StratifiedSample:
    """A sample and the strata that it was drawn from; strata with fewer than two places are left out.

    Attributes:
        samples: The places.
        areas: [strata] of each, in any unit.
        units: [strata] how many places there were to draw from, for the share that a large sample is of them; None
            for very many.
    """

    samples: Samples
    areas: FloatArray
    units: FloatArray | None = None

    def __post_init__(self) -> None:
        """Check that each place is of one of the strata.

        Raises:
            ShapeError: if not, or there is no place.
        """
        if not len(self.samples.stratum) or self.samples.stratum.max() >= len(self.areas):
            raise ShapeError(f"expected at least one place, of {len(self.areas)} strata; received {self.samples}")

    @cached_property
    def drawn(self) -> FloatArray:
        """How many places were drawn from each stratum."""
        return np.asarray(np.bincount(self.samples.stratum, self.samples.counts, len(self.areas)), np.float64)

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:
        """The strata [strata] that the sample tells of: those with two places and more."""
        return (self.drawn >= 2) & (self.areas > 0)

    @cached_property
    def weights(self) -> FloatArray:
        """The share of the area that each place [n] stands for; 0 in strata that are left out."""
        share = np.where(self.used, self.areas, 0) / max(self.areas[self.used].sum(), 1e-300)
        found: FloatArray = (share / np.maximum(self.drawn, 1))[self.samples.stratum]
        return found

    def share(self, of: npt.NDArray[np.bool_] | FloatArray) -> Estimate:
        """Estimate the mean over the area of what `of` [n] says of each place."""
        return self.ratio(of, np.ones(len(self.samples.stratum)))

    def ratio(self, of: npt.NDArray[np.bool_] | FloatArray, among: npt.NDArray[np.bool_] | FloatArray) -> Estimate:
        """Estimate the share of one thing in another, by area.

        Args:
            of: [n] what each place has of the first.
            among: [n] what it has of the second.
        """
        first, second = np.asarray(of, np.float64), np.asarray(among, np.float64)
        stands = self.weights * self.samples.counts
        total = float((stands * second).sum())
        if total <= 0:
            return UNKNOWN
        value = float((stands * first).sum()) / total
        return Estimate(value, self._wide(self._variance((first - value * second) / total)))

    def _variance(self, residual: FloatArray) -> float | None:
        """Return the variance of the weighted total of residuals [n]; None where too few clusters tell of it."""
        stratum, counts, strata = self.samples.stratum, self.samples.counts, len(self.areas)
        mean = np.bincount(stratum, counts * residual, minlength=strata) / np.maximum(self.drawn, 1)
        spread = self.weights * (residual - mean[stratum])
        if self._clusters is not None:
            return _between_clusters((counts * spread)[self.weights > 0], *self._clusters)
        drawn = np.maximum(self.drawn, 2)
        left = 1.0 if self.units is None else 1 - np.minimum(drawn / np.maximum(self.units, drawn), 1)
        each = np.bincount(stratum, counts * spread**2, minlength=strata)
        return float((left * drawn / (drawn - 1) * each).sum())

    @cached_property
    def _clusters(self) -> tuple[IntArray, IntArray] | None:
        """What each counting place's cluster was drawn from [k], and its number [k]; None without clusters.

        Clusters that reach over several strata cannot have been drawn from one of them: all were drawn from the whole,
        and the strata are weights alone.
        """
        if self.samples.cluster is None:
            return None
        counting = self.weights > 0
        stratum = self.samples.stratum[counting]
        cluster = np.unique(self.samples.cluster[counting], return_inverse=True)[1].ravel()
        pairs = np.unique(np.stack([cluster, stratum]), axis=1)
        nested = pairs.shape[1] == len(np.unique(cluster))
        return (stratum if nested else np.zeros_like(stratum)), cluster

    def _wide(self, variance: float | None) -> float | None:
        """Return half the width of the interval: by Student's t where clusters are few."""
        if variance is None:
            return None
        if self._clusters is None:
            return Z * float(np.sqrt(variance))
        from scipy.stats import t

        group, cluster = self._clusters
        freedom = int(cluster.max()) + 1 - len(np.unique(group))
        return float(t.ppf(0.975, freedom) * np.sqrt(variance))


def _between_clusters(spread: FloatArray, group: IntArray, cluster: IntArray) -> float | None:
    """Return the variance of a total where whole clusters were drawn; None where a group of them has but one.

    Args:
        spread: [k] what each place adds to the total, less the mean of its stratum.
        group: [k] what its cluster was drawn from.
        cluster: [k] number of its cluster.
    """
    totals = np.bincount(cluster, spread)
    own = group[np.unique(cluster, return_index=True)[1]]  # of each cluster, the group
    count = np.bincount(own)
    if count[own].min() < 2:
        return None
    return float((count[own] / (count[own] - 1) * totals**2).sum())
