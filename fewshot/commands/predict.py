"""`fewshot predict`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from fewshot.commands.options import (
    FILE,
    given,
    one_target,
    option,
    options_as,
    save_adapted_option,
    server_option,
    steps_option,
)


@dataclass(frozen=True)
class PictureOptions:
    """Which pictures are classified, and from which."""

    support: Path | None = option("--support", type=FILE, help="Folder with a folder of pictures for each class.")
    query: Path = option("--query", required=True, type=FILE, help="Pictures to classify, or one.")
    steps: int | Literal["auto"] | None = given(steps_option)
    save_adapted: Path | None = given(save_adapted_option)
    adapted: Path | None = option("--adapted", type=FILE, help="Use a model adapted before, in place of --support.")


@click.command("predict")
@click.option("--model", type=FILE, help="A model of `fewshot models`, or a folder of an exported one: DIR/NAME.")
@server_option
@options_as(PictureOptions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all probabilities.")
@click.option("--report", type=FILE, help="Draw the pictures with their classes there.")
def command(
    *, model: Path | None, server: str | None, options: PictureOptions, as_json: bool, report: Path | None
) -> None:
    """Adapt a model to labelled pictures, whose folders are the classes, and classify others."""
    from fewshot.exported import open_predictor
    from fewshot.mapping import PictureRequest, classify_pictures, draw_pictures

    request = PictureRequest(options.query, options.support, options.adapted, options.steps, options.save_adapted)
    with open_predictor(one_target(model, server)) as predictor:
        found = classify_pictures(predictor, request)
        if as_json:
            click.echo(json.dumps(found.plain(), indent=1))
        else:
            for line in found.lines():
                click.echo(line)
        if report is not None:
            drawn = draw_pictures(found, predictor.card(), report / "predictions.png")
            click.echo(f"Picture: {drawn}", err=as_json)
