"""Confidence that means something: a temperature fitted to held-out answers, and how far confidence was off.

Guo et al. (2017), "On calibration of modern neural networks": probabilities to the power of 1 / temperature, scaled to
sum to one; the temperature is the one of the least log-loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.exported.adapted import LEAST, with_temperature
from fewshot.geo.landcover import Labels
from fewshot.geo.windows import IntArray

FloatArray = npt.NDArray[np.float32]

DRAWN = 30
"""Tested labels from which a reliability curve is drawn."""

_LIMITS = (0.1, 10.0)  # of a temperature
_BINS, _IN_A_BIN = 10, 10
_INK, _BEFORE, _AFTER = "#333333", "#b0b0b0", "#335c85"


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of about the same confidence.

    Attributes:
        confidence: Their mean greatest probability.
        accuracy: Share of them that is right.
        labels: How many.
    """

    confidence: float
    accuracy: float
    labels: int


@dataclass(frozen=True)
class Calibration:
    """How confidence was calibrated, and what that did on labels that neither model nor temperature had seen.

    Attributes:
        temperature: That the confidence of the map is calibrated with; over 1 it was too sure. Exactly 1 where
            calibrating does not lower the log-loss of labels that the temperature was not fitted to.
        labels: Held out.
        error_before: Expected calibration error: mean difference of confidence and accuracy, 0-1.
        error_after: The same of calibrated answers, each by a temperature fitted to the other folds.
        log_loss_before: Mean over the labels.
        log_loss_after: The same of calibrated answers.
        curve_before: From least to most confident.
        curve_after: The same of calibrated answers.
    """

    temperature: float
    labels: int
    error_before: float
    error_after: float
    log_loss_before: float
    log_loss_after: float
    curve_before: tuple[ReliabilityBin, ...]
    curve_after: tuple[ReliabilityBin, ...]

    def sentence(self) -> str:
        """Say the same in words."""
        if self.temperature == 1:
            return (
                f"Confidence is left as it is: on {self.labels} held-out labels its expected calibration error is "
                f"{100 * self.error_before:.1f} %, and calibrated on some of them it was no better on the others."
            )
        how = "too sure" if self.temperature > 1 else "not sure enough"
        return (
            f"Confidence calibrated on {self.labels} held-out labels: it was {how} (temperature "
            f"{self.temperature:.2f}); expected calibration error {100 * self.error_before:.1f} % before, "
            f"{100 * self.error_after:.1f} % after."
        )


def calibrate(probabilities: FloatArray, labels: Labels, fold: IntArray) -> Calibration:
    """Fit a temperature to held-out answers.

    Args:
        probabilities: [n, classes] of each label, by what was not shown it.
        labels: [n] class.
        fold: [n] that it was held out in.
    """
    calibrated = probabilities.copy()
    for number in np.unique(fold):
        held = fold == number
        if not held.all():
            calibrated[held] = with_temperature(
                probabilities[held], fit_temperature(probabilities[~held], labels[~held])
            )
    helps = _log_loss(calibrated, labels) < _log_loss(probabilities, labels)
    calibrated = calibrated if helps else probabilities
    before, after = reliability(probabilities, labels), reliability(calibrated, labels)
    return Calibration(
        temperature=fit_temperature(probabilities, labels) if helps else 1.0,
        labels=len(labels),
        error_before=expected_error(before),
        error_after=expected_error(after),
        log_loss_before=_log_loss(probabilities, labels),
        log_loss_after=_log_loss(calibrated, labels),
        curve_before=before,
        curve_after=after,
    )


def fit_temperature(probabilities: FloatArray, labels: Labels, *, doubt: float = 0.0) -> float:
    """Return the temperature of the least log-loss of answers for labels.

    Args:
        probabilities: [n, classes] answers.
        labels: [n] class.
        doubt: How much the square of the temperature's logarithm weighs beside the summed log-losses of the labels.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda power: (
            _log_loss(with_temperature(probabilities, float(np.exp(power))), labels) + doubt * power**2 / len(labels)
        ),
        bounds=np.log(_LIMITS),
        method="bounded",
    )
    return round(float(np.exp(found.x)), 4)


def _log_loss(probabilities: FloatArray, labels: Labels) -> float:
    given = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(given, LEAST)).mean())


def reliability(probabilities: FloatArray, labels: Labels) -> tuple[ReliabilityBin, ...]:
    """Return up to ten bins of as many answers [n, classes] each, from the least to the most confident."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    count = min(_BINS, max(1, len(labels) // _IN_A_BIN))
    return tuple(
        ReliabilityBin(float(sure[own].mean()), float(right[own].mean()), len(own))
        for own in np.array_split(np.argsort(sure, kind="stable"), count)
    )


def expected_error(curve: tuple[ReliabilityBin, ...]) -> float:
    """Return the mean difference of confidence and accuracy, each bin by the labels in it."""
    total = sum(part.labels for part in curve)
    return sum(part.labels * abs(part.confidence - part.accuracy) for part in curve) / total


def draw_reliability(path: Path, calibration: Calibration) -> None:
    """Draw accuracy over confidence, before and after, to a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.4), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
    drawn = (
        ("before", _BEFORE, calibration.curve_before, calibration.error_before),
        ("calibrated", _AFTER, calibration.curve_after, calibration.error_after),
    )
    for name, colour, curve, error in drawn:
        x, y = [part.confidence for part in curve], [part.accuracy for part in curve]
        axes.plot(x, y, marker="o", color=colour, label=f"{name}: error {100 * error:.1f} %")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that is right", aspect="equal")
    axes.set_title(f"Confidence on {calibration.labels} held-out labels", loc="left", fontsize=11, color=_INK)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    figure.savefig(path, format="png")
