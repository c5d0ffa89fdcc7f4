"""`fewshot evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

from fewshot.commands.options import FILE, after_training_option, data_option, given, option, options_as


@dataclass(frozen=True)
class TestOptions:
    """The tasks of an evaluation."""

    split: str = option("--split", default="test", help="Part of the recipe's own split to draw tasks from.")
    tasks: int = option("--tasks", default=600, type=click.IntRange(1), help="Tasks to draw.")
    ways: int | None = option("--ways", type=click.IntRange(2), help="Classes a task; the recipe's if not given.")
    shots: str | None = option(
        "--shots", help="Support examples a class, such as 1 or 1,5,10 for a table; the recipe's if not given."
    )
    steps: str = option("--steps", default="0,1,2,5,10", show_default=True, help="Inner steps of the curve.")
    seed: int = option("--seed", default=0, type=click.IntRange(0), help="Of the drawn tasks.")
    bands: str | None = option(
        "--bands", help="Bands the test regions have, such as B2,B3,B4,B8; the others are missing there."
    )
    settings: tuple[str, ...] = given(after_training_option)
    task_list: Path | None = option("--task-list", type=FILE, help="Evaluate on a frozen task list (JSON).")
    save_tasks: Path | None = option("--save-tasks", type=FILE, help="Write the tasks as a frozen list, to use again.")


@dataclass(frozen=True)
class ReportOptions:
    """What is put beside the run, and what is written."""

    baselines: bool = option(
        "--baselines", is_flag=True, help="Put the plain baselines beside the run, on the same tasks."
    )
    baseline_minutes: float = option("--baseline-minutes", default=5.0, help="Most training time for each baseline.")
    json_file: Path | None = option("--json", "json_file", type=FILE, help="Write every figure to this file.")
    report_folder: Path | None = option("--report", "report_folder", type=FILE, help="Write report.md and plots there.")


@click.command("evaluate")
@click.argument("run", type=FILE)
@data_option
@options_as(TestOptions, "test")
@options_as(ReportOptions, "wanted")
def command(*, run: Path, paths: tuple[Path, ...], test: TestOptions, wanted: ReportOptions) -> None:
    """Evaluate RUN on tasks of regions it has not seen.

    The last evaluation on the recipe's own ways, shots and bands is kept in RUN/evaluation.json, and goes on the card
    of an export. One of another --split than test does not replace one of test; --split train and --task-list are
    never kept.
    """
    from fewshot import evaluate
    from fewshot.training import Request, print_report, write_report

    request = Request(
        split=test.split,
        tasks=test.tasks,
        ways=test.ways,
        shots=numbers(test.shots, "--shots"),
        steps=numbers(test.steps, "--steps"),
        seed=test.seed,
        bands=tuple(name.strip() for name in (test.bands or "").split(",") if name.strip()),
        task_list=test.task_list,
        save_tasks=test.save_tasks,
        settings=test.settings,
    )
    report = evaluate(run, paths, request, baselines=wanted.baselines, baseline_minutes=wanted.baseline_minutes)
    print_report(report)
    if wanted.json_file is not None:
        wanted.json_file.parent.mkdir(parents=True, exist_ok=True)
        wanted.json_file.write_text(json.dumps(report.plain(), indent=1) + "\n", encoding="utf-8")
        click.echo(f"Figures: {wanted.json_file}")
    if wanted.report_folder is not None:
        click.echo(f"Report: {write_report(report, wanted.report_folder)}")


def numbers(text: str | None, option: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas.

    Raises:
        click.BadParameter: if one is not a whole number of 0 or more.
    """
    if text is None:
        return ()
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = (-1,)
    if min(found) < 0 or (option == "--shots" and min(found) < 1):
        raise click.BadParameter(f"expected whole numbers separated by commas, such as 1,5,10; received {text!r}.")
    return found
