"""Figures for people: tables in the terminal, a Markdown report with plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

Report = dict[str, Any]
REGION_COLUMNS = ("region", "tasks", "accuracy %")
TRANSDUCTIVE_NOTE = "Transductive: each prediction used the statistics of the task's other queries."


def print_report(report: Report) -> None:
    """Print the figures of an evaluation."""
    console = Console()
    console.print(rich_table(headline(report), method_columns(report), method_rows(report)))
    if len(report.get("by_shots", ())) > 1:
        console.print(rich_table(f"by shots, {figure_name(report)}", shots_columns(report), shots_rows(report)))
    if len(report.get("by_region", ())) > 1:
        console.print(rich_table("by region", REGION_COLUMNS, region_rows(report)))
    for line in notes(report):
        console.print(line)


def rich_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table for the terminal, its first column to the left and the others to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(head):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def headline(report: Report) -> str:
    """Say in a line what was measured."""
    tasks = f"{report['ways']}-way {report['shots']}-shot tasks"
    if main_figure(report) == "loss":
        tasks = f"{report['shots']}-shot tasks"
    elif main_figure(report) == "mean_iou":
        labelled = f", {report['points']} labelled pixels a class in each" if report["points"] else ""
        tasks = f"tasks of {report['shots']} labelled windows{labelled}"
    return f"{report['learner']} ({report['recipe']}), {report['data']}: {report['tasks']} {tasks}"


def main_figure(report: Report) -> str:
    """Return the key of the figure that a report is about: loss, mean_iou where pixels are labelled, or accuracy."""
    return next(key for key in ("loss", "mean_iou", "accuracy") if key in report)


def figure_name(report: Report) -> str:
    """Name the main figure of a report with its unit."""
    return {"loss": "mean squared error", "mean_iou": "mean IoU %", "accuracy": "accuracy %"}[main_figure(report)]


def writer(report: Report) -> Callable[[Report], str]:
    """Return how the main figure is written."""
    return plain if main_figure(report) == "loss" else percent


def lead(report: Report, row: Report) -> Report:
    """Return by how much the run's main figure is above a baseline's."""
    return row["ours_minus_it_mean_iou" if main_figure(report) == "mean_iou" else "ours_minus_it"]


def percent(value: Report) -> str:
    """Write a share as a percentage with its interval."""
    return f"{100 * value['mean']:.1f} ± {100 * value['ci95']:.1f}"


def plain(value: Report) -> str:
    """Write a number with its interval."""
    return f"{value['mean']:.3f} ± {value['ci95']:.3f}"


def method_columns(report: Report) -> tuple[str, ...]:
    """Return the heads of `method_rows`."""
    more = ("accuracy %", "kappa") if main_figure(report) == "mean_iou" else ()
    return ("method", "steps", figure_name(report), *more, "this run minus it")


def method_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row for the run and each baseline: name, steps, figures, difference."""
    write, key = writer(report), main_figure(report)

    def figures(row: Report) -> tuple[str, ...]:
        more = (percent(row["accuracy"]), plain(row["kappa"])) if key == "mean_iou" else ()
        return (str(row["steps"]), write(row[key]), *more)

    rows = [(f"this run ({report['learner']})", *figures(report), "")]
    for name, row in report["baselines"].items():
        rows.append((name, *figures(row), write(lead(report, row))))
    return rows


def shots_columns(report: Report) -> tuple[str, ...]:
    """Return the heads of `shots_rows`: the shots, the run and its baselines."""
    first = next(iter(report["by_shots"].values()))
    return ("shots", "this run", *first.get("baselines", {}))


def shots_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row for each number of shots, with the main figure of every method."""
    write, key = writer(report), main_figure(report)
    return [
        (number, write(row.get("mean_iou", row)), *(write(other[key]) for other in row.get("baselines", {}).values()))
        for number, row in report["by_shots"].items()
    ]


def region_rows(report: Report) -> list[tuple[str, str, str]]:
    """Return a row for each region."""
    return [(name, str(row["tasks"]), percent(row)) for name, row in report["by_region"].items()]


def class_table(report: Report) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows of the figures by class."""
    named = [
        (name, str(row["queries"]), f"{100 * row['recall']:.0f}", f"{100 * row['precision']:.0f}", row)
        for name, row in report["by_class"].items()
    ]
    if main_figure(report) != "mean_iou":
        return ("class", "queries", "recall %", "precision %"), [row[:4] for row in named]
    head = ("class", "pixels", "recall %", "precision %", "IoU %", "tasks with it")
    return head, [(*row[:4], percent(row[4]["iou"]), str(row[4]["tasks"])) for row in named]


def notes(report: Report) -> list[str]:
    """Return the remarks that belong to the figures."""
    found = [f"± is the half width of a 95 % interval over {report['tasks']} tasks."]
    if report["transductive"]:
        found.append(TRANSDUCTIVE_NOTE)
    if report.get("views", 1) > 1:
        found.append(f"Every learner saw each support example and each query in {report['views']} views.")
    if report.get("skipped"):
        found.append(f"{len(report['skipped'])} remarks on the data, the first: {report['skipped'][0]}")
    sign = -1 if main_figure(report) == "loss" else 1
    better = [name for name, row in report["baselines"].items() if sign * lead(report, row)["mean"] < 0]
    if better:
        found.append(f"Better than this run: {', '.join(better)}.")
    for count, row in report.get("by_shots", {}).items():
        better = [name for name, other in row.get("baselines", {}).items() if sign * lead(report, other)["mean"] < 0]
        if better:
            found.append(f"Better than this run with {count} shots: {', '.join(better)}.")
    return found


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.md` and its plots; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {headline(report)}", ""]
    lines += markdown_table(method_columns(report), method_rows(report))
    lines += ["", *notes(report), "", "## By inner steps", "", "![curve over inner steps](curve.png)", ""]
    draw_curve(report, folder / "curve.png")
    if "by_shots" in report:
        lines += [
            f"## {figure_name(report)} by shots",
            "",
            *markdown_table(shots_columns(report), shots_rows(report)),
            "",
        ]
    if "by_region" in report:
        lines += ["## By region", "", *markdown_table(REGION_COLUMNS, region_rows(report)), ""]
    if "confusion" in report:
        lines += ["## By class", "", *markdown_table(*class_table(report)), ""]
        lines += ["![confusion matrix](confusion.png)", ""]
        draw_confusion(report, folder / "confusion.png")
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return folder / "report.md"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def draw_curve(report: Report, path: Path) -> None:
    """Draw the figure over inner steps with its interval, and the baselines as lines."""
    kind = main_figure(report)
    scale = 1 if kind == "loss" else 100
    curve = report["curve"]
    figure_, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    values, half = scale * np.array(curve[kind]), scale * np.array(curve.get(f"{kind}_ci95", curve["ci95"]))
    axes.fill_between(curve["steps"], values - half, values + half, alpha=0.2, linewidth=0)
    axes.plot(curve["steps"], values, marker="o", label=f"this run ({report['learner']})")
    for number, (name, row) in enumerate(report["baselines"].items(), start=1):
        axes.axhline(scale * row[kind]["mean"], color=f"C{number}", linestyle="--", linewidth=1.2, label=name)
    axes.set_xlabel("inner steps")
    axes.set_xticks(curve["steps"])
    axes.set_ylabel(figure_name(report))
    if kind == "loss":  # steps beyond those trained for can diverge, and would flatten everything else
        axes.set_ylim(0, 1.3 * values[0] if values.max() > 1.3 * values[0] > 0 else None)
    axes.set_title(headline(report), fontsize=9, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    figure_.savefig(path, dpi=130)
    plt.close(figure_)


def draw_confusion(report: Report, path: Path) -> None:
    """Draw the confusion matrix of the classes that occur, each row as shares of the true class."""
    counts = np.array(report["confusion"]["counts"])
    shown = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    counts = counts[np.ix_(shown, shown)]
    names = [report["confusion"]["classes"][i] for i in shown]
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
