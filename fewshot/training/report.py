"""Figures for people: tables in the terminal, a Markdown report with plots."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from fewshot.training.recipe import read_recipe, recipe_names, recipe_text

Report = dict[str, Any]
REGION_COLUMNS = ("region", "tasks", "accuracy %")
TRANSDUCTIVE_NOTE = "Transductive: each prediction used the statistics of the task's other queries."


def print_report(report: Report) -> None:
    """Print the figures of an evaluation."""
    console = Console()
    console.print(rich_table(headline(report), method_columns(report), method_rows(report)))
    if len(report.get("by_shots", ())) > 1:
        console.print(rich_table("by shots", ("shots", figure_name(report)), shots_rows(report)))
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
    size = f"{report['shots']}-shot" if report["ways"] is None else f"{report['ways']}-way {report['shots']}-shot"
    return f"{report['learner']} ({report['recipe']}), {report['data']}: {report['tasks']} {size} tasks"


def figure_name(report: Report) -> str:
    """Name the figure of a report with its unit."""
    return "accuracy %" if "accuracy" in report else "mean squared error"


def figure(row: Report) -> str:
    """Write one method's figure with its interval."""
    return percent(row["accuracy"]) if "accuracy" in row else plain(row["loss"])


def percent(value: Report) -> str:
    """Write a share as a percentage with its interval."""
    return f"{100 * value['mean']:.1f} ± {100 * value['ci95']:.1f}"


def plain(value: Report) -> str:
    """Write a number with its interval."""
    return f"{value['mean']:.3f} ± {value['ci95']:.3f}"


def method_columns(report: Report) -> tuple[str, ...]:
    """Return the heads of `method_rows`."""
    return ("method", "steps", figure_name(report), "this run minus it")


def shots_rows(report: Report) -> list[tuple[str, str]]:
    """Return a row for each number of shots."""
    write = percent if "accuracy" in report else plain
    return [(number, write(row)) for number, row in report["by_shots"].items()]


def region_rows(report: Report) -> list[tuple[str, str, str]]:
    """Return a row for each region."""
    return [(name, str(row["tasks"]), percent(row)) for name, row in report["by_region"].items()]


def method_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Return a row for the run and each baseline: name, steps, figure, difference."""
    write = percent if "accuracy" in report else plain
    rows = [(f"this run ({report['learner']})", str(report["steps"]), figure(report), "")]
    for name, row in report["baselines"].items():
        rows.append((name, str(row["steps"]), figure(row), write(row["ours_minus_it"])))
    return rows


def notes(report: Report) -> list[str]:
    """Return the remarks that belong to the figures."""
    found = [f"± is the half width of a 95 % interval over {report['tasks']} tasks."]
    if report["transductive"]:
        found.append(TRANSDUCTIVE_NOTE)
    if report.get("skipped"):
        found.append(f"{len(report['skipped'])} damaged images or tasks were skipped: {report['skipped'][0]}, ...")
    better = [
        name
        for name, row in report["baselines"].items()
        if row["ours_minus_it"]["mean"] * (1 if "accuracy" in report else -1) < 0
    ]
    if better:
        found.append(f"Better than this run: {', '.join(better)}.")
    return found


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.md` and its plots; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {headline(report)}", ""]
    lines += markdown_table(method_columns(report), method_rows(report))
    lines += ["", *notes(report), "", "## By inner steps", "", "![curve over inner steps](curve.png)", ""]
    draw_curve(report, folder / "curve.png")
    if "by_shots" in report:
        lines += ["## By shots", "", *markdown_table(("shots", figure_name(report)), shots_rows(report)), ""]
    if "by_region" in report:
        lines += ["## By region", "", *markdown_table(REGION_COLUMNS, region_rows(report)), ""]
    if "confusion" in report:
        classes = [
            (name, str(row["queries"]), f"{100 * row['recall']:.0f}", f"{100 * row['precision']:.0f}")
            for name, row in report["by_class"].items()
        ]
        lines += ["## By class", "", *markdown_table(("class", "queries", "recall %", "precision %"), classes), ""]
        lines += ["![confusion matrix](confusion.png)", ""]
        draw_confusion(report, folder / "confusion.png")
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return folder / "report.md"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def draw_curve(report: Report, path: Path) -> None:
    """Draw the figure over inner steps with its interval, and the baselines as lines."""
    kind = "accuracy" if "accuracy" in report else "loss"
    scale = 100 if kind == "accuracy" else 1
    curve = report["curve"]
    figure_, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    values, half = scale * np.array(curve[kind]), scale * np.array(curve["ci95"])
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


def print_recipes() -> None:
    """Print the shipped recipes with their learners."""
    table = Table()
    for column in ("recipe", "learners", "what it does"):
        table.add_column(column, no_wrap=column == "recipe")
    for name in recipe_names():
        table.add_row(name, ", ".join(learner_names(name)), read_recipe(name).description)
    Console().print(table)


def learner_names(name: str) -> list[str]:
    """Return the learners a recipe offers, its default first."""
    return list(tomllib.loads(recipe_text(name)).get("learners", {}))
