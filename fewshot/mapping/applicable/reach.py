"""What a map says of where it holds: its share inside, and the accuracy to expect by dissimilarity."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot.exported.applicability import AccuracyBin, Applicability
from fewshot.geo.windows import keep_every
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.parts import Block, in_levels, is_inside


@dataclass(frozen=True)
class Reach:
    """Where a map holds.

    Attributes:
        share: Of the mapped area, inside the area of applicability.
        threshold: Greatest dissimilarity inside.
        bins: Accuracy on held-out labels by dissimilarity, each with the share of the map that is as unlike the labels.
        labels: That places are compared with.
    """

    share: float
    threshold: float
    bins: tuple[tuple[AccuracyBin, float], ...]
    labels: int

    @property
    def expected(self) -> float | None:
        """Accuracy to expect inside: that of held-out labels as unlike the others, by share; None if not known."""
        known = [(entry.accuracy, share) for entry, share in self.bins if np.isfinite(entry.upto)]
        total = sum(share for _, share in known)
        return sum(accuracy * share for accuracy, share in known) / total if total else None

    def lines(self) -> Iterator[str]:
        """Say the same in words."""
        yield (
            f"Applicable on {100 * self.share:.1f} % of the map: dissimilarity from the {self.labels} labels of "
            f"{self.threshold:.2f} at most."
        )
        if self.expected is not None:
            parts = ", ".join(_said(entry, share) for entry, share in self.bins)
            yield (
                f"Accuracy to expect there {100 * self.expected:.0f} %, if classes were as common as among the labels; "
                f"of those held out in squares, right were {parts}."
            )

    def plain(self) -> dict[str, Any]:
        """Return all figures as JSON takes them."""
        return {
            **{"share": self.share, "threshold": self.threshold, "labels": self.labels},
            "expected_accuracy": self.expected,
            "by_dissimilarity": [
                {
                    **{"upto": entry.upto if np.isfinite(entry.upto) else None, "accuracy": entry.accuracy},
                    **{"labels": entry.labels, "share_of_map": share},
                }
                for entry, share in self.bins
            ],
        }


class ReachTally:
    """What is learned of where a map holds as its blocks are written.

    Attributes:
        picture: Of every so many rows and columns of the map, whether they are outside.
    """

    def __init__(self, plan: MapPlan, applicability: Applicability, picture: tuple[int, int, int]) -> None:
        """Begin with a map of which nothing is written.

        Args:
            plan: Of the map.
            applicability: Of its method.
            picture: Rows and columns of the picture, and every how many pixels of the map one is.
        """
        self.plan, self.applicability = plan, applicability
        rows, columns, self._step = picture
        self.picture = np.zeros((rows, columns), np.bool_)
        self._ends = in_levels(np.array([entry.upto for entry in applicability.profile]))
        self._areas, self._inside = np.zeros(len(self._ends) + 1), 0.0
        self._row_areas = plan.scene.grid.pixel_areas(0, plan.scene.grid.height)

    def add(self, block: Block) -> None:
        """Add a block."""
        if block.dissimilarity is None:
            return
        valid = block.confidence > 0  # a pixel with data has at least the confidence of chance
        inside = is_inside(block.dissimilarity, self.applicability.threshold)
        of_rows = self._row_areas[block.window.slices[0]]
        self._inside += float(np.count_nonzero(inside & valid, axis=1) @ of_rows)
        numbers = np.searchsorted(self._ends, block.dissimilarity[valid])
        areas = np.broadcast_to(of_rows[:, np.newaxis], valid.shape)[valid]
        self._areas += np.bincount(numbers, areas, minlength=len(self._areas))
        keep_every(self._step, self.picture, block.window, valid & ~inside)

    def reach(self) -> Reach:
        """Return what was learned."""
        total = float(self._areas.sum()) or 1.0
        shares = (self._areas / total).tolist()
        bins = tuple(zip(self.applicability.profile, shares, strict=False))
        kept = self.applicability
        return Reach(self._inside / total, kept.threshold, bins, len(kept.points))


def _said(entry: AccuracyBin, share: float) -> str:
    """Say one bin."""
    end = f"up to {entry.upto:.2f}" if np.isfinite(entry.upto) else "beyond it"
    return f"{100 * entry.accuracy:.0f} % of {entry.labels} {end} ({100 * share:.0f} % of the map)"
