"""Figures of `real_scenes.py`: means with intervals, leads over the best plain classifier, tables and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PLAIN = ("logistic", "forest", "nearest", "boosting")
METRICS = ("accuracy", "macro_f1")
JUDGED = ("maryland", "nc", "potsdam", "chiapas")
"""The most discriminating scenes, over which the lead is averaged."""
HALF = 0.5
HELD_OUT = ((0, HALF, "under half"), (HALF, 0.75, "half to three quarters"), (0.75, 1.01, "more"))
"""Shares of the held-out labels of a class that are told right."""


def summarise(scores: dict[str, list[dict[str, Any]]], methods: list[str]) -> dict[str, Any]:
    """Return mean and interval of each method, and of the own methods minus the best plain one, draw by draw.

    The best plain one is the one of the greatest mean over all draws, for each metric and number of points.
    """
    figures: dict[str, Any] = {}
    for each, draws in scores.items():
        figures[each] = {}
        for metric in METRICS:
            values = {method: np.array([draw[method][metric] for draw in draws]) for method in draws[0]}
            plain = [method for method in values if method.startswith("plain ")]
            best = max(plain, key=lambda method: values[method].mean())
            rows = {method: mean_and_interval(found) for method, found in values.items()}
            for method in methods:
                rows[f"{method} - best"] = mean_and_interval(values[method] - values[best])
                rows[f"{method} worst draw"] = {"mean": float((values[method] - values[best]).min()), "ci95": None}
            figures[each][metric] = {"best": best, "rows": rows}
    return figures


def mean_and_interval(values: Array) -> dict[str, Any]:
    """Return the mean of draws and half the width of its 95 % interval, by Student's t; None for one draw."""
    from scipy.stats import t

    count = len(values)
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return {"mean": float(values.mean()), "ci95": half}


def shown(row: dict[str, Any], sign: str = "") -> str:
    """Return a figure in percent, with its interval."""
    mean = f"{100 * row['mean']:{sign}.1f}"
    return mean if row["ci95"] is None else f"{mean} ± {100 * row['ci95']:.1f}"


def table(scores: dict[str, list[dict[str, Any]]], methods: list[str], *, title: str) -> list[str]:
    """Return one scene's figures as a Markdown table, in percent."""
    figures = summarise(scores, methods)
    columns = [*methods, *(f"plain {name}" for name in PLAIN), *(f"{method} - best" for method in methods)]
    lines = [
        "",
        f"### {title}",
        "",
        f"| points | figure % | {' | '.join(columns)} |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for each, metrics in figures.items():
        for metric, found in metrics.items():
            cells = [shown(found["rows"][column], "+" if column.endswith("best") else "") for column in columns]
            lines.append(f"| {each} | {metric} | {' | '.join(cells)} |")
    return lines


def leads(figures: dict[str, Any], methods: list[str], which: str) -> list[str]:
    """Return the leads over the best plain classifier of each scene, and their means, in points of percent.

    Args:
        figures: Of the scenes.
        methods: Own ones.
        which: "- best", the mean over draws; or "worst draw".
    """
    judged = [name for name in figures if name in JUDGED]
    what = "Leads" if which == "- best" else "Leads in the worst draw"
    lines = ["", f"### {what} over the best plain classifier of each scene and number of points", ""]
    over = f" mean of {', '.join(judged)} |" if judged else ""
    lines += [f"| method | points | figure | {' | '.join(figures)} |{over}"]
    lines += ["|---" * (len(figures) + 3 + bool(judged)) + "|"]
    for method in methods:
        for each in next(iter(figures.values())):
            for metric in METRICS:
                rows = {name: found[each][metric]["rows"][f"{method} {which}"] for name, found in figures.items()}
                cells = [shown(row, "+") for row in rows.values()]
                if judged:
                    cells.append(f"{100 * np.mean([rows[name]['mean'] for name in judged]):+.1f}")
                lines.append(f"| {method} | {each} | {metric} | {' | '.join(cells)} |")
    return lines


def told_table(found: dict[str, dict[str, list[dict[str, Any]]]], methods: list[str]) -> list[str]:
    """Return how well the map tells classes, by how well labels that were held out were told, over all scenes.

    Args:
        found: Of each scene and number of points, the scores of each draw.
        methods: Own ones.
    """
    lines = ["", "### Classes by the share of their held-out labels that was told right", ""]
    lines += [
        "| method | points | held out | classes | pixels told right, mean % | classes under half, % |",
        "|---" * 6 + "|",
    ]
    for method in methods:
        for each in next(iter(found.values())):
            pairs = [pair for scores in found.values() for draw in scores[each] for pair in draw[method]["told"]]
            own = np.array(pairs).reshape(-1, 2)
            for low, high, name in HELD_OUT:
                some = own[(own[:, 0] >= low) & (own[:, 0] < high), 1]
                if len(some):
                    shares = f"{100 * some.mean():.0f} | {100 * (some < HALF).mean():.0f}"
                    lines.append(f"| {method} | {each} | {name} | {len(some)} | {shares} |")
    return lines


def draw_leads(path: Path, figures: dict[str, Any], methods: list[str]) -> None:
    """Draw the leads with their intervals, a panel for each figure and a row for each scene."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    points = list(next(iter(figures.values())))
    drawn, axes = plt.subplots(1, len(METRICS), figsize=(11, 0.75 * len(figures) + 1.6), sharey=True)
    for axis, metric in zip(axes, METRICS, strict=True):
        for index, (method, each) in enumerate((method, each) for method in methods for each in points):
            rows = [found[each][metric]["rows"][f"{method} - best"] for found in figures.values()]
            height = np.arange(len(rows)) + (index - (len(methods) * len(points) - 1) / 2) * 0.8 / (
                len(methods) * len(points)
            )
            wide = [100 * (row["ci95"] or 0) for row in rows]
            axis.errorbar(
                [100 * row["mean"] for row in rows], height, xerr=wide, fmt="o", ms=5, label=f"{method}, {each} a class"
            )
        axis.axvline(0, color="0.4", lw=1)
        axis.set_yticks(range(len(figures)), list(figures))
        axis.set_xlabel(f"{metric.replace('_', ' ')}: points ahead of the best plain classifier")
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    drawn.legend(*axes[0].get_legend_handles_labels(), ncols=len(methods), loc="upper center", fontsize=8)
    drawn.tight_layout(rect=(0, 0, 1, 1 - 0.3 * len(points) / drawn.get_figheight()))
    drawn.savefig(path, dpi=110)
