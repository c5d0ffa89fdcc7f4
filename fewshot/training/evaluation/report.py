"""Figures for people: tables in the terminal, a Markdown report with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

from fewshot.terminal import Cells, rich_table
from fewshot.training.kinds.figures import (
    ACCURACY,
    Array,
    Interval,
    RegionFigures,
    Report,
)

TRANSDUCTIVE_NOTE = "Transductive: each prediction used the statistics of the task's other queries."


def print_report(report: Report) -> None:
    """Print the figures of an evaluation."""
    console = Console()
    console.print(rich_table(report.title, method_table(report)))
    if len(report.by_shots) > 1:
        console.print(rich_table(f"by shots, {report.yardstick.main.title}", shots_table(report)))
    if report.regions and len(report.regions.by_region) > 1:
        console.print(rich_table("by region", region_table(report.regions)))
    for line in notes(report):
        console.print(line)


def method_table(report: Report) -> Cells:
    """Return a row for the run and each baseline: name, steps, figures, difference."""
    columns, main = report.yardstick.columns, report.yardstick.main

    def written(steps: int, figures: Mapping[str, Interval]) -> tuple[str, ...]:
        return (str(steps), *(column.write(figures[column.key]) for column in columns))

    rows = [(this_run(report), *written(report.steps, report.figures), "")]
    for name, row in report.baselines.items():
        rows.append((name, *written(row.steps, row.figures), main.write(row.leads[main.key])))
    return ("method", "steps", *(column.title for column in columns), "this run minus it"), rows


def this_run(report: Report) -> str:
    """Name the run among other methods."""
    return f"this run ({report.learner})"


def shots_table(report: Report) -> Cells:
    """Return a row for each number of shots, with the main figure of the run and of its baselines."""
    main = report.yardstick.main
    names: list[str] = []
    rows = []
    for number, row in report.by_shots.items():
        baselines = row.baselines or {}
        names = list(baselines)
        figures = (row.figures, *(other.figures for other in baselines.values()))
        rows.append((number, *(main.write(of_one[main.key]) for of_one in figures)))
    return ("shots", "this run", *names), rows


def region_table(regions: RegionFigures) -> Cells:
    """Return a row for each region."""
    rows = [(name, str(tasks), ACCURACY.write(score)) for name, (score, tasks) in regions.by_region.items()]
    return ("region", "tasks", "accuracy %"), rows


def class_table(regions: RegionFigures, counted: str) -> Cells:
    """Return a row for each class; `counted` is what has one."""
    head: tuple[str, ...] = ("class", counted, "recall %", "precision %")
    rows: list[tuple[str, ...]] = []
    for name, row in regions.by_class.items():
        written = (name, str(row.queries), f"{100 * row.recall:.0f}", f"{100 * row.precision:.0f}")
        rows.append(written if row.iou is None else (*written, ACCURACY.write(row.iou), str(row.tasks)))
    return (head if regions.points is None else (*head, "IoU %", "tasks with it")), rows


def notes(report: Report) -> list[str]:
    """Return the remarks that belong to the figures."""
    found = [f"± is the half width of a 95 % interval over {report.tasks} tasks."]
    if report.transductive:
        found.append(TRANSDUCTIVE_NOTE)
    if report.views > 1:
        found.append(f"Every learner saw each support example and each query in {report.views} views.")
    skipped = report.regions.skipped if report.regions else ()
    if skipped:
        found.append(f"{len(skipped)} remarks on the data, the first: {skipped[0]}")
    tables = {"": report.baselines}
    tables |= {f" with {count} shots": row.baselines or {} for count, row in report.by_shots.items()}
    main, sign = report.yardstick.main.key, 1 if report.yardstick.smaller_is_better else -1
    for where, baselines in tables.items():
        better = [name for name, row in baselines.items() if sign * row.leads[main].mean > 0]
        if better:
            found.append(f"Better than this run{where}: {', '.join(better)}.")
    return found


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.md` and its plots; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {report.title}", ""]
    lines += markdown_table(method_table(report))
    lines += ["", *notes(report), "", "## By inner steps", "", "![curve over inner steps](curve.png)", ""]
    draw_curve(report, folder / "curve.png")
    if report.by_shots:
        lines += [f"## {report.yardstick.main.title} by shots", ""]
        lines += [*markdown_table(shots_table(report)), ""]
    if report.regions and report.regions.by_region:
        lines += ["## By region", "", *markdown_table(region_table(report.regions)), ""]
    if report.regions and report.regions.counts is not None:
        table = class_table(report.regions, report.yardstick.counted)
        lines += ["## By class", "", *markdown_table(table), "", "![confusion matrix](confusion.png)", ""]
        draw_confusion(report.regions.classes, report.regions.counts, folder / "confusion.png")
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return folder / "report.md"


def markdown_table(cells: Cells) -> list[str]:
    """Return the lines of a Markdown table."""
    head, rows = cells
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]


def draw_curve(report: Report, path: Path) -> None:
    """Draw the figure over inner steps with its interval, and the baselines as lines."""
    main = report.yardstick.main
    scale = 100 if main.percent else 1
    figure_, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    points = report.curve[main.key]
    values, half = (scale * np.array([getattr(point, part) for point in points]) for part in ("mean", "ci95"))
    axes.fill_between(report.curve_steps, values - half, values + half, alpha=0.2, linewidth=0)
    axes.plot(report.curve_steps, values, marker="o", label=this_run(report))
    for number, (name, row) in enumerate(report.baselines.items(), start=1):
        mean = scale * row.figures[main.key].mean
        axes.axhline(mean, color=f"C{number}", linestyle="--", linewidth=1.2, label=name)
    axes.set_xlabel("inner steps")
    axes.set_xticks(report.curve_steps)
    axes.set_ylabel(main.title)
    if report.yardstick.smaller_is_better:  # steps beyond those trained for can diverge, and would flatten all else
        axes.set_ylim(0, 1.3 * values[0] if values.max() > 1.3 * values[0] > 0 else None)
    axes.set_title(report.title, fontsize=9, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    figure_.savefig(path, dpi=130)
    plt.close(figure_)


def draw_confusion(classes: Sequence[str], counts: Array, path: Path) -> None:
    """Draw the confusion matrix of the classes that occur, each row as shares of the true class.

    Args:
        classes: Names.
        counts: [true class, predicted class].
        path: File to write.
    """
    shown = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    counts = counts[np.ix_(shown, shown)]
    names = [classes[i] for i in shown]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.55 * len(names)
    figure_, axes = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            share = shares[row, column]
            if share >= 0.005:
                colour = "white" if share > 0.55 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("share of each true class, %", fontsize=9, loc="left")
    figure_.savefig(path, dpi=130)
    plt.close(figure_)
