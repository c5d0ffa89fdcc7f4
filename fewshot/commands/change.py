"""`fewshot change`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewshot.commands.map import opened_models
from fewshot.commands.options import FILE, SceneOptions, option, options_as

if TYPE_CHECKING:
    from fewshot.mapping import MapReport, MapRequest


@dataclass(frozen=True)
class ChangeOptions:
    """What is compared, and where."""

    to: Path = option("--to", required=True, type=FILE, help="The map of changes to write, .tif.")
    confidence: float = option(
        "--confidence",
        type=click.FloatRange(0, 1),
        default=0.0,
        help="Compare only where both maps are so sure, by the confidence beside them.",
    )
    applicable: bool = option(
        "--applicable", is_flag=True, help="Compare only where both maps hold, by what --applicable of map wrote."
    )
    classes: Path | None = option("--classes", type=FILE, help="Class table, where a map does not name its classes.")


@dataclass(frozen=True)
class NewMapOptions:
    """A new map to make first."""

    scenes: tuple[str, ...] = option(
        "--scene", "scenes", multiple=True, help="Make NEW of this scene first; repeatable as in `fewshot map`."
    )
    adapted: Path | None = option("--adapted", type=FILE, help="By this model, which made OLD: --save-adapted of map.")


@click.command("change")
@click.argument("old", metavar="OLD", type=FILE)
@click.argument("new", metavar="NEW", type=FILE)
@options_as(ChangeOptions)
@options_as(NewMapOptions, "made")
@options_as(SceneOptions, "how")
def command(*, old: Path, new: Path, options: ChangeOptions, made: NewMapOptions, how: SceneOptions) -> None:
    """Map what changed between two finished maps: from which class to which, where, and how much.

    With --scene and --adapted, NEW is mapped first by the model that was adapted for OLD. The map of changes is a map
    like any other: `fewshot sample` and `fewshot assess` give its areas with intervals.
    """
    from fewshot.assessment import ChangeRequest, draw_changes, map_changes
    from fewshot.progress import progress_bar
    from fewshot.terminal import print_table

    if bool(made.scenes) != (made.adapted is not None):
        raise click.UsageError("--scene is mapped by the model in --adapted: give both, or neither for finished maps.")
    if made.scenes:
        _map_new(new, made, how, applicable=options.applicable)
    with progress_bar("Comparing", "blocks") as show:
        request = ChangeRequest(old, new, options.to, options.confidence, options.applicable, options.classes)
        report = map_changes(request, show)
    draw_changes(report, report.files[1], f"{old.name} to {new.name}")
    print_table("Hectares", report.table())
    for line in report.lines():
        click.echo(line)
    click.echo(f"Changes: {report.files[-1]}, and {', '.join(path.name for path in report.files[:-1])} beside it.")


def _map_new(new: Path, made: NewMapOptions, how: SceneOptions, *, applicable: bool) -> None:
    """Map the new scene with a model adapted before; where it is resumed and there already, it stays."""
    from fewshot.mapping import MapRequest, map_unless_there, run_request
    from fewshot.progress import progress_bar

    asked = how.applied_to(MapRequest(made.scenes, new, adapted=made.adapted, resume=how.resume, applicable=applicable))
    with opened_models(how) as (models, engine_of), progress_bar("Mapping", "blocks") as show:

        def run(request: MapRequest) -> MapReport:
            return run_request(models, engine_of, request, progress=show, say=click.echo)

        report = map_unless_there(asked, run)
    for line in report.lines() if report else ():
        click.echo(line)
