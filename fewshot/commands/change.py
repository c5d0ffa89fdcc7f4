"""`fewshot change`."""

from __future__ import annotations

from pathlib import Path

import click

from fewshot.commands.options import FILE


@click.command("change")
@click.argument("old", metavar="OLD", type=FILE)
@click.argument("new", metavar="NEW", type=FILE)
@click.option("--to", required=True, type=FILE, help="The map of changes to write, .tif.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Compare only where both maps are so sure, by the confidence beside them.",
)
@click.option("--classes", type=FILE, help="Class table, where a map does not name its classes itself.")
def command(*, old: Path, new: Path, to: Path, confidence: float, classes: Path | None) -> None:
    """Map what changed between two finished maps: from which class to which, where, and how much.

    The map of changes is a map like any other: `fewshot sample` and `fewshot assess` give its areas with intervals.
    """
    from fewshot.assessment import ChangeRequest, draw_changes, map_changes
    from fewshot.progress import progress_bar
    from fewshot.terminal import print_table

    with progress_bar("Comparing", "blocks") as show:
        report = map_changes(ChangeRequest(old, new, to, confidence, classes), show)
    draw_changes(report, report.files[1], f"{old.name} to {new.name}")
    print_table("Hectares", report.table())
    for line in report.lines():
        click.echo(line)
    click.echo(f"Changes: {report.files[-1]}, and {', '.join(path.name for path in report.files[:-1])} beside it.")
