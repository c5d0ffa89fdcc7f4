"""Figures for people: tables in the terminal, a Markdown report with plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from fewshot.training.kinds.figures import (
    ACCURACY,
    Array,
    Compared,
    Interval,
    RegionFigures,
    Report,
    ShotsRow,
    Yardstick,
)

REGION_COLUMNS = ("region", "tasks", "accuracy %")
TRANSDUCTIVE_NOTE = "Transductive: each prediction used the statistics of the task's other queries."


def print_report(report: Report) -> None:
    """Print the figures of an evaluation."""
    console = Console()
    console.print(rich_table(report.title, method_columns(report), method_rows(report)))
    if len(report.by_shots) > 1:
        title = f"by shots, {report.yardstick.main.title}"
        console.print(rich_table(title, shots_columns(report), shots_rows(report)))
    if report.regions and len(report.regions.by_region) > 1:
        console.print(rich_table("by region", REGION_COLUMNS, region_rows(report.regions)))
    for line in notes(report):
        console.print(line)


def rich_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table for the terminal, its first column to the left and the others to the right.

    Args:
        title: Above it.
        head: Of the columns.
        rows: As many cells as columns each.
    """
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(head):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def method_columns(report: Report) -> tuple[str, ...]:
    """Return the heads of `method_rows`."""
    return ("method", "steps", *(column.title for column in report.yardstick.columns), "this run minus it")


def method_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row for the run and each baseline: name, steps, figures, difference."""
    columns = report.yardstick.columns

    def written(steps: int, figures: Mapping[str, Interval]) -> tuple[str, ...]:
        return (str(steps), *(column.write(figures[column.key]) for column in columns))

    rows = [(this_run(report), *written(report.steps, report.figures), "")]
    for name, row in report.baselines.items():
        lead = report.yardstick.main.write(row.leads[report.yardstick.main.key])
        rows.append((name, *written(row.steps, row.figures), lead))
    return rows


def this_run(report: Report) -> str:
    """Name the run among other methods."""
    return f"this run ({report.subject.learner})"


def shots_columns(report: Report) -> tuple[str, ...]:
    """Return the heads of `shots_rows`: the shots, the run and its baselines."""
    first = next(iter(report.by_shots.values()))
    return ("shots", "this run", *(first.baselines or {}))


def shots_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row for each number of shots, with the main figure of every method."""
    main = report.yardstick.main
    return [
        (number, *(main.write(figures[main.key]) for figures in (row.figures, *others(row))))
        for number, row in report.by_shots.items()
    ]


def others(row: ShotsRow) -> list[Mapping[str, Interval]]:
    """Return the figures of the baselines with one number of shots."""
    return [other.figures for other in (row.baselines or {}).values()]


def region_rows(regions: RegionFigures) -> list[tuple[str, str, str]]:
    """Return a row for each region."""
    return [(name, str(tasks), ACCURACY.write(score)) for name, (score, tasks) in regions.by_region.items()]


def class_table(regions: RegionFigures, counted: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows of the figures by class.

    Args:
        regions: The figures.
        counted: What has a class.
    """
    head: tuple[str, ...] = ("class", counted, "recall %", "precision %")
    rows: list[tuple[str, ...]] = []
    for name, row in regions.by_class.items():
        written = (name, str(row.queries), f"{100 * row.recall:.0f}", f"{100 * row.precision:.0f}")
        rows.append(written if row.iou is None else (*written, ACCURACY.write(row.iou), str(row.tasks)))
    return (head if regions.points is None else (*head, "IoU %", "tasks with it")), rows


def notes(report: Report) -> list[str]:
    """Return the remarks that belong to the figures."""
    found = [f"± is the half width of a 95 % interval over {report.tasks} tasks."]
    if report.subject.transductive:
        found.append(TRANSDUCTIVE_NOTE)
    if report.subject.views > 1:
        found.append(f"Every learner saw each support example and each query in {report.subject.views} views.")
    skipped = report.regions.skipped if report.regions else ()
    if skipped:
        found.append(f"{len(skipped)} remarks on the data, the first: {skipped[0]}")
    tables = {"": report.baselines}
    tables |= {f" with {count} shots": row.baselines or {} for count, row in report.by_shots.items()}
    for where, baselines in tables.items():
        better = [name for name, row in baselines.items() if is_better(row, report.yardstick)]
        if better:
            found.append(f"Better than this run{where}: {', '.join(better)}.")
    return found


def is_better(baseline: Compared, yardstick: Yardstick) -> bool:
    """Whether a baseline's main figure is better than the run's."""
    lead = baseline.leads[yardstick.main.key].mean
    return lead > 0 if yardstick.smaller_is_better else lead < 0


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.md` and its plots; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {report.title}", ""]
    lines += markdown_table(method_columns(report), method_rows(report))
    lines += ["", *notes(report), "", "## By inner steps", "", "![curve over inner steps](curve.png)", ""]
    draw_curve(report, folder / "curve.png")
    if report.by_shots:
        lines += [f"## {report.yardstick.main.title} by shots", ""]
        lines += [*markdown_table(shots_columns(report), shots_rows(report)), ""]
    if report.regions and report.regions.by_region:
        lines += ["## By region", "", *markdown_table(REGION_COLUMNS, region_rows(report.regions)), ""]
    if report.regions and report.regions.counts is not None:
        table = class_table(report.regions, report.yardstick.counted)
        lines += ["## By class", "", *markdown_table(*table), "", "![confusion matrix](confusion.png)", ""]
        draw_confusion(report.regions.classes, report.regions.counts, folder / "confusion.png")
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return folder / "report.md"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


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
