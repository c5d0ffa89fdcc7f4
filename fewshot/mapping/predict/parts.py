"""What there is of a map while it is made: the parts of predicted groups, and finished blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.geo.windows import Window

LEVELS = 1 << 12
"""Steps from 0 to 1 in which probabilities are kept, and the dissimilarity of pixels: a power of two, whose shares
are short floating-point numbers and so make small files."""

Parts = Mapping[str, npt.NDArray[Any]]
"""What is kept of a predicted group: `valid` (bits), the finished body, and weighted sums of the shared strips."""


def in_levels(values: npt.NDArray[np.floating] | float) -> npt.NDArray[np.uint16]:
    """Return what is 0 or more in `LEVELS` steps; what is too great for 16 bits as the greatest of these."""
    return np.asarray(np.minimum(np.round(np.asarray(values) * LEVELS), 0xFFFF), np.uint16)


def is_inside(dissimilarity: npt.NDArray[np.uint16], threshold: float) -> npt.NDArray[np.bool_]:
    """Return where dissimilarity in `LEVELS` steps is at most a threshold, so that a method is applicable."""
    return np.asarray(dissimilarity <= in_levels(threshold))


@dataclass(frozen=True, eq=False)
class Block:
    """Finished pixels.

    Attributes:
        window: Of the scene.
        classes: [H, W] uint8, number of the class, nodata where the scene has none.
        confidence: [H, W] uint16, greatest probability in `LEVELS` steps, 0 where there is no data.
        probabilities: [H, W, classes] uint16, where they are kept.
        dissimilarity: [H, W] uint16, from the labels in `LEVELS` steps, 16 at most; where it is mapped.
    """

    window: Window
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint16]
    probabilities: npt.NDArray[np.uint16] | None = None
    dissimilarity: npt.NDArray[np.uint16] | None = None
