"""What there is of a map while it is made: the parts of predicted groups, and finished blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.geo.windows import Window

LEVELS = 1 << 12
"""Steps from 0 to 1 in which probabilities are kept: a power of two, whose shares are short
floating-point numbers and so make small files."""

Parts = Mapping[str, npt.NDArray[Any]]
"""What is kept of a predicted group: `valid` (bits), the finished body, and weighted sums of the shared strips."""


@dataclass(frozen=True, eq=False)
class Block:
    """Finished pixels.

    Attributes:
        window: Of the scene.
        classes: [H, W] uint8, number of the class, nodata where the scene has none.
        confidence: [H, W] uint16, greatest probability in `LEVELS` steps, 0 where there is no data.
        probabilities: [H, W, classes] uint16, where they are kept.
    """

    window: Window
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint16]
    probabilities: npt.NDArray[np.uint16] | None
