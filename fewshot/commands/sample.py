"""`fewshot sample`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from fewshot.assessment.design import Allocation
from fewshot.commands.options import FILE, option, options_as

if TYPE_CHECKING:
    from fewshot.assessment import Design


@dataclass(frozen=True)
class SampleOptions:
    """How many places, and where."""

    places: int | None = option("--n", "places", type=click.IntRange(2), help="Places in all.")
    error: float | None = option(
        "--error", type=float, help="In place of --n: wanted standard error of the overall accuracy, such as 0.02."
    )
    allocation: Allocation = option(
        "--allocation",
        type=click.Choice(get_args(Allocation)),
        default="proportional",
        help="Places to classes: by area, the same to each, or by area and expected spread.",
    )
    least: int = option("--minimum", "least", type=click.IntRange(0), default=20, help="Places in a class at least.")
    by_hand: tuple[str, ...] = option(
        "--allocate",
        "by_hand",
        multiple=True,
        metavar="CLASS=N",
        help="In place of --n: places of a class; repeatable.",
    )
    expected: tuple[str, ...] = option(
        "--expect",
        "expected",
        multiple=True,
        metavar="[CLASS=]SHARE",
        help="User's accuracy to expect, of all classes or of one; repeatable. 0.8 if not given.",
    )


@click.command("sample")
@click.argument("map_path", metavar="MAP", type=FILE)
@click.option("--to", required=True, type=FILE, help="The places to write, .gpkg.")
@click.option("--classes", type=FILE, help="Class table, where the map does not name its classes itself.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw.")
@options_as(SampleOptions)
def command(*, map_path: Path, to: Path, classes: Path | None, seed: int, options: SampleOptions) -> None:
    """Draw random places of a finished map, for a person to say what is there: see `fewshot assess`."""
    from fewshot.assessment import sample_map
    from fewshot.terminal import print_table

    drawn = sample_map(map_path, to, _design(options), classes=classes, seed=seed)
    print_table("Places to look at", drawn.table())
    for line in drawn.lines():
        click.echo(line)


def _design(options: SampleOptions) -> Design:
    from fewshot.assessment import Design

    expected = _numbers("--expect", options.expected, alone=True)
    return Design(
        options.places,
        options.error,
        options.allocation,
        options.least,
        {name: int(number) for name, number in _numbers("--allocate", options.by_hand).items()},
        {name: number for name, number in expected.items() if name},
        expected.get("", 0.8),
    )


def _numbers(option_name: str, given: tuple[str, ...], *, alone: bool = False) -> Mapping[str, float]:
    """Read CLASS=NUMBER, or a number alone, whose name is "".

    Raises:
        click.UsageError: if something else was given.
    """
    found = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise click.UsageError(f"{option_name} {text}: expected CLASS=NUMBER") from None
        if not name and not alone:
            raise click.UsageError(f"{option_name} {text}: expected CLASS=NUMBER")
    return found
