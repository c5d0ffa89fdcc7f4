"""Pictures: an assessment (what is mapped as what, accuracies with their intervals), and what changed where."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fewshot.assessment.accuracy import MapAccuracy
from fewshot.assessment.change import UNSURE, ChangeReport
from fewshot.assessment.estimates import Estimate

_INK = "#333333"
_USERS, _PRODUCERS = "#0072b2", "#d55e00"  # told apart by the colour-blind too


def draw_assessment(accuracy: MapAccuracy, path: Path | BinaryIO, title: str) -> None:
    """Draw the confusion of a map in per cent of its area, and user's and producer's accuracies.

    Args:
        accuracy: Of the map.
        path: PNG to write, or an open file.
        title: Above it.
    """
    from matplotlib.figure import Figure

    names = [entry.name for entry in accuracy.classes]
    side = 1.6 + 0.5 * len(names)
    figure = Figure(figsize=(2 * side + 3.4, side + 1.4), layout="constrained", dpi=110)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_shares(left, accuracy, names)
    _draw_accuracies(right, accuracy)
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.12)


def _draw_shares(axes: Any, accuracy: MapAccuracy, names: list[str]) -> None:
    """Draw the confusion in shares of the area: right answers and wrong ones in colours of their own."""
    shares = 100 * np.array(accuracy.shares)
    for wrong, colours in ((False, "Blues"), (True, "Oranges")):
        shown = np.ma.masked_array(shares, (np.eye(len(names)) > 0) == wrong)
        axes.imshow(shown, cmap=colours, vmin=0, vmax=max(1.0, float(shown.max() or 0)), aspect="auto")
    for row, column in np.argwhere(shares >= 0.05):
        own = shares[row, column]
        dark = own > 0.6 * (np.diag(shares).max() if row == column else (shares - np.diag(np.diag(shares))).max())
        axes.text(column, row, f"{own:.1f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("on the ground", fontsize=9)
    axes.set_ylabel("on the map", fontsize=9)
    axes.set_title("share of the area, %", fontsize=9, loc="left", color=_INK)


def _draw_accuracies(axes: Any, accuracy: MapAccuracy) -> None:
    """Draw each class's accuracies as points with their intervals, beside its row."""
    kinds = (("user's", _USERS, -0.13), ("producer's", _PRODUCERS, 0.13))
    for name, colour, shift in kinds:
        found: list[Estimate] = [entry.users if name == "user's" else entry.producers for entry in accuracy.classes]
        rows = [row for row, entry in enumerate(found) if entry.value is not None]
        axes.errorbar(
            [100 * (found[row].value or 0) for row in rows],
            [row + shift for row in rows],
            xerr=[100 * (found[row].ci95 or 0) for row in rows],
            **{"fmt": "o", "color": colour, "markersize": 5, "capsize": 3, "label": f"{name} accuracy"},
        )
    axes.set_xlim(0, 102)
    axes.tick_params(labelleft=False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("% with 95 % interval", fontsize=9)
    axes.set_title("accuracy by area", fontsize=9, loc="left", color=_INK)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def draw_changes(report: ChangeReport, path: Path, title: str) -> None:
    """Draw where which class became which; what stayed as it was is grey.

    Args:
        report: What changed.
        path: PNG to write.
        title: Above it.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    lookup = np.full((256, 3), 255, np.uint8)
    for number, colour in report.colours.items():
        lookup[number] = colour
    height, width = report.picture.shape
    wide = float(np.clip(6.0 * width / (height * report.aspect), 2.0, 12.0))
    figure = Figure(figsize=(wide + 2.9, 6.9), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    axes.imshow(lookup[report.picture], interpolation="nearest", aspect=report.aspect)
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_axis_off()
    counts = np.bincount(report.picture.ravel(), minlength=256)
    changes = [number for number, name in report.names.items() if " to " in name and counts[number]]
    shown = sorted(changes, key=lambda number: -counts[number])[:20]
    entries = [(report.colours[number], report.names[number]) for number in shown]
    same = next((report.colours[n] for n, name in report.names.items() if " to " not in name and name != UNSURE), None)
    entries += [(same, "as before")] if same else []
    entries += [(report.colours[n], UNSURE) for n, name in report.names.items() if name == UNSURE and counts[n]]
    handles = [
        Patch(facecolor=f"#{bytes(colour).hex()}", edgecolor=_INK, linewidth=0.4, label=name)
        for colour, name in entries
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, borderaxespad=0)
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.12)
