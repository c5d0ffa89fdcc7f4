"""The picture of a search: how figures rise from generation to generation, and which values they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from fewshot.training.tuning.space import Value, Varied
from fewshot.training.tuning.trial import Trial

_INK, _MARK = "#333333", "#d55e00"
_MAP = "viridis"


def draw_search(path: Path, trials: Sequence[Trial], varied: Sequence[Varied], monitored: str) -> None:
    """Draw the trials to a PNG: over their number, and over the values of each setting, later generations lighter.

    Args:
        path: The file.
        trials: In order; those that failed are crosses at the foot.
        varied: The settings.
        monitored: The figure's name.
    """
    columns = min(len(varied) + 1, 3)
    rows = -(-(len(varied) + 1) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.0 * rows), layout="constrained", dpi=110)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(len(varied) + 1)]
    reached = np.array([np.nan if trial.figure is None else trial.figure for trial in trials])
    _draw_progress(axes[0], reached, monitored)
    generation = [trial.generation for trial in trials]
    for one, plot in zip(varied, axes[1:], strict=True):
        values = [trial.values[one.key] for trial in trials]
        _scatter(plot, values, reached, generation)
        plot.set(xlabel=one.key, xscale="log" if one.log else "linear")
    for plot in axes:
        plot.spines[["top", "right"]].set_visible(False)
        plot.set_ylabel(monitored, color=_INK)
    figure.savefig(path, format="png")


def _draw_progress(plot: Axes, reached: np.ndarray, monitored: str) -> None:
    """Draw each trial's figure, and the best so far."""
    number = np.arange(1, len(reached) + 1)
    plot.plot(number, reached, "o", color="#9a9a9a", markersize=4, label="a trial")
    best = (np.fmin if "loss" in monitored else np.fmax).accumulate(reached)
    plot.step(number, best, where="post", color=_MARK, label="the best so far")
    plot.set_xlabel("trial")
    plot.legend(frameon=False, fontsize=8)


def _scatter(plot: Axes, values: Sequence[Value], reached: np.ndarray, generation: Sequence[int]) -> None:
    """Draw figures over the values of one setting."""
    across = np.array(values)
    failed = np.isnan(reached)
    colours = Normalize(0, max(generation, default=0) or 1)
    plot.scatter(across, np.where(failed, np.nanmin(reached), reached), c=generation, cmap=_MAP, norm=colours, s=22)
    if failed.any():
        foot = np.full(failed.sum(), np.nanmin(reached))
        plot.scatter(across[failed], foot, marker="x", color=_INK, s=30, label="failed")
        plot.legend(frameon=False, fontsize=8)
