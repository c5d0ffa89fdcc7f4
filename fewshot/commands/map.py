"""`fewshot map`, and what it shares with `fewshot map-many`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewshot.commands.options import (
    FILE,
    MapOptions,
    SceneOptions,
    given,
    model_targets,
    option,
    options_as,
    save_adapted_option,
)

if TYPE_CHECKING:
    from fewshot.exported import Predictor
    from fewshot.mapping import EngineOf, MapRequest


@dataclass(frozen=True)
class RegionOptions:
    """What is mapped, from which labels or from which adapted model."""

    scenes: tuple[str, ...] = option(
        "--scene",
        "scenes",
        multiple=True,
        required=True,
        help="Raster, product of Sentinel-2 (SAFE) or Landsat (folder or archive), or STAC items; repeatable: "
        "neighbours, a band each, or other dates (2024-06-01=FILE).",
    )
    labels: Path | None = option("--labels", type=FILE, help="Points, lines or polygons, or a class raster.")
    to: Path = option("--to", required=True, type=FILE, help="The map to write, .tif.")
    validation: Path | None = option("--validation", type=FILE, help="Labels to report accuracy on.")
    save_adapted: Path | None = given(save_adapted_option)
    adapted: Path | None = option("--adapted", type=FILE, help="Use a model adapted before, in place of labels.")


@click.command("map")
@options_as(RegionOptions, "region")
@options_as(MapOptions)
def command(*, region: RegionOptions, options: MapOptions) -> None:
    """Map a region that no model has seen: adapt to its labels, then predict all of it."""
    from fewshot.mapping import choose_method, map_scene
    from fewshot.progress import progress_bar
    from fewshot.terminal import print_table

    request = map_request(region, options)
    with opened_models(options) as (models, engine_of):
        choice = choose_method(models, request)
        if choice.comparison is not None:
            print_table(*choice.comparison.table())
        with progress_bar("Mapping", "blocks") as show:
            engine = engine_of(choice.predictor)
            report = map_scene(
                choice.predictor,
                engine,
                choice.request,
                comparison=choice.comparison,
                progress=show,
                say=click.echo,
            )
    for line in report.lines():
        click.echo(line)
    click.echo(f"Map: {report.files[-1]}, and {', '.join(path.name for path in report.files[:-1])} beside it.")


def map_request(region: RegionOptions, options: MapOptions) -> MapRequest:
    """Return what the options of a map ask for.

    Raises:
        click.UsageError: if labels are to be kept back and there are none.
    """
    from fewshot.mapping import LabelPlan, MapRequest, WindowPlan

    labels = check = None
    if region.labels is not None:
        labels = LabelPlan(
            region.labels,
            options.label_field,
            radius=options.radius,
            holdout=options.holdout,
            validation=region.validation,
            apart=options.apart,
            seed=options.seed,
        )
    elif options.holdout:
        raise click.UsageError("--holdout keeps back some of --labels; with --adapted name others with --validation.")
    elif region.validation is not None:
        check = LabelPlan(region.validation, options.label_field, validation=region.validation)
    asked = MapRequest(
        region.scenes,
        region.to,
        labels,
        region.adapted,
        check,
        classes=options.classes,
        windows=WindowPlan(options.stride, options.size, options.overlap),
        steps=options.steps,
        probabilities=options.probabilities,
        save_adapted=region.save_adapted,
        resume=options.resume,
        title=options.title,
        compare=options.compare,
        applicable=options.applicable,
        suggest=options.suggest,
    )
    return options.applied_to(asked)


@contextmanager
def opened_models(options: SceneOptions) -> Iterator[tuple[Mapping[str, Predictor], EngineOf]]:
    """Open the models that a map is asked of, by name, where any is named or needed, and where it is predicted."""
    from fewshot.exported import open_predictor
    from fewshot.mapping import open_engines

    needed = options.method in (None, "adapted") or options.models or options.server
    targets = model_targets(options.models, options.server) if needed else {}
    with ExitStack() as opened:
        models = {name: opened.enter_context(open_predictor(target)) for name, target in targets.items()}
        yield models, opened.enter_context(open_engines(workers=options.workers, scheduler=options.scheduler))
