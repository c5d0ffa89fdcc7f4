"""What was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fewshot.training.tuning.space import Value


@dataclass(frozen=True)
class Trial:
    """One set of values that was tried.

    Attributes:
        generation: From 0.
        values: Of each setting that is varied, by its key.
        figure: Its best validation figure; None if it failed.
        failed: Why.
        seconds: Of training.
        uphill: In which direction of the settings' places the validation loss falls, where it was asked for.
    """

    generation: int
    values: dict[str, Value]
    figure: float | None
    failed: str = ""
    seconds: float = 0.0
    uphill: Sequence[float] | None = None
