"""`fewshot assess`."""

from __future__ import annotations

from pathlib import Path

import click

from fewshot.commands.options import FILE


@click.command("assess")
@click.argument("maps", metavar="MAP...", nargs=-1, required=True, type=FILE)
@click.argument("places", metavar="POINTS", type=FILE)
@click.option("--field", help="Field of the points that holds the class; a usual one if not given.")
@click.option("--clusters", help="Field that says which points were drawn together; intervals allow for it.")
@click.option("--classes", type=FILE, help="Class table, where a map does not name its classes itself.")
@click.option("--to", type=FILE, help="Write all figures to this file, .json, and a picture beside it.")
def command(  # noqa: PLR0913  one parameter an option
    *,
    maps: tuple[Path, ...],
    places: Path,
    field: str | None,
    clusters: str | None,
    classes: Path | None,
    to: Path | None,
) -> None:
    """Say how good finished maps are, from points whose class is known: accuracies and areas with 95 % intervals.

    Points of `fewshot sample` know how they were drawn; others are taken as drawn at random in each mapped class.
    Several maps are compared on the same points.
    """
    from fewshot.assessment import Places, assess_maps, draw_assessment
    from fewshot.terminal import print_table

    report = assess_maps(maps, Places(places, field, clusters, classes))
    for found in report.maps:
        print_table(found.title, found.table())
    for line in report.lines():
        click.echo(line)
    if to is not None:
        report.write(to)
        pictures = [
            to.with_suffix(".png" if len(maps) == 1 else f".{number}.png") for number in range(1, len(maps) + 1)
        ]
        for found, picture in zip(report.maps, pictures, strict=True):
            draw_assessment(found.accuracy, picture, found.path.name)
        click.echo(f"Figures: {to}, pictures: {', '.join(map(str, pictures))}")
