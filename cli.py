"""The command line: parse, call one function, print."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported anywhere

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fewshot.errors import FewshotError
from serving.server.flags import FLAGS, read_flags


def kind_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the error tree into click's error: one message, exit code 1, no traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except FewshotError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fewshot")
def main() -> None:
    """Few-shot land-cover mapping: meta-train on many regions, adapt to a new one with a few labelled examples."""


after_training_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change views.* or learner.evaluation_steps of the run; repeatable.",
)
data_option = click.option(
    "--data",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File or folder of the recipe's data; may be given several times.",
)


@main.command()
@click.argument("recipe")
@data_option
@click.option("--learner", help="One of the recipe's learners, such as maml or meta-sgd; the first one if not given.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; runs/RECIPE-LEARNER if not given.")
@click.option(
    "--set", "settings", multiple=True, metavar="TABLE.KEY=VALUE", help="Change one setting of the recipe; repeatable."
)
@click.option("--minutes", type=float, help="Stop after this much training time.")
@click.option("--resume", is_flag=True, help="Go on with the run in the run folder.")
@kind_errors
def train(  # noqa: PLR0913 (one parameter an option)
    recipe: str,
    paths: tuple[Path, ...],
    learner: str | None,
    out: Path | None,
    settings: tuple[str, ...],
    minutes: float | None,
    resume: bool,  # noqa: FBT001 (click passes options by name)
) -> None:
    """Meta-train RECIPE (a name from `fewshot recipes`, or a TOML file)."""
    from fewshot.training.recipe import read_recipe
    from fewshot.training.train import train as run_training

    chosen = read_recipe(recipe, learner=learner, settings=settings)
    out = out or Path("runs") / f"{chosen.name}-{chosen.learner_name}"
    verbose = 1 if sys.stdout.isatty() else 2
    state = run_training(chosen, paths, out, minutes=minutes, resume=resume, verbose=verbose)
    best = "" if state.best is None else f", best validation {state.best:.4g} after {state.best_updates}"
    click.echo(f"{out}: {state.updates} updates in {state.seconds / 60:.1f} minutes{best}.")
    click.echo(f"Next: fewshot evaluate {out}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@data_option
@click.option("--split", default="test", show_default=True, help="Part of the recipe's own split to draw tasks from.")
@click.option("--tasks", default=600, show_default=True, type=click.IntRange(1), help="Tasks to draw.")
@click.option("--ways", type=click.IntRange(2), help="Classes a task; the recipe's if not given.")
@click.option("--shots", help="Support examples a class, such as 1 or 1,5,10 for a table; the recipe's if not given.")
@click.option("--steps", default="0,1,2,5,10", show_default=True, help="Inner steps of the curve.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the drawn tasks.")
@click.option("--bands", help="Bands the test regions have, such as B2,B3,B4,B8; the others are missing there.")
@after_training_option
@click.option("--task-list", type=click.Path(path_type=Path), help="Evaluate on a frozen task list (JSON).")
@click.option("--save-tasks", type=click.Path(path_type=Path), help="Write the tasks as a frozen list, to use again.")
@click.option("--baselines", is_flag=True, help="Put the plain baselines beside the run, on the same tasks.")
@click.option("--baseline-minutes", default=5.0, show_default=True, help="Most training time for each baseline.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every figure to this file.")
@click.option("--report", "report_folder", type=click.Path(path_type=Path), help="Write report.md and plots there.")
@kind_errors
def evaluate(
    run: Path,
    paths: tuple[Path, ...],
    json_file: Path | None,
    report_folder: Path | None,
    baselines: bool,  # noqa: FBT001 (click passes options by name)
    baseline_minutes: float,
    **asked: Any,
) -> None:
    """Evaluate RUN on tasks of regions it has not seen.

    The last evaluation on the recipe's own ways, shots and bands is kept in RUN/evaluation.json, and goes on the card
    of an export. One of another --split than test does not replace one of test; --split train and --task-list are
    never kept.
    """
    from fewshot.training.evaluation.evaluate import evaluate as run_evaluation
    from fewshot.training.evaluation.report import print_report, write_report
    from fewshot.training.kinds.under_test import Request

    asked["shots"], asked["steps"] = numbers(asked["shots"], "--shots"), numbers(asked["steps"], "--steps")
    asked["bands"] = tuple(name.strip() for name in (asked["bands"] or "").split(",") if name.strip())
    report = run_evaluation(run, paths, Request(**asked), baselines=baselines, baseline_minutes=baseline_minutes)
    print_report(report)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.plain(), indent=1) + "\n", encoding="utf-8")
        click.echo(f"Figures: {json_file}")
    if report_folder is not None:
        click.echo(f"Report: {write_report(report, report_folder)}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder of the served models.")
@click.option("--name", help="Of the model; that of the run folder if not given.")
@click.option("--version", type=click.IntRange(1), help="A whole number; the next free one if not given.")
@data_option
@after_training_option
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="What `evaluate --json` wrote, for the card; RUN/evaluation.json if not given.",
)
@click.option("--max-steps", default=50, show_default=True, type=click.IntRange(0), help="Inner steps of a request.")
@click.option("--max-support", default=512, show_default=True, type=click.IntRange(2), help="Its support pictures.")
@click.option("--max-queries", default=4096, show_default=True, type=click.IntRange(1), help="Its query pictures.")
@click.option("--max-classes", default=100, show_default=True, type=click.IntRange(2), help="Its classes.")
@click.option("--transductive", is_flag=True, help="Export a run whose answers depend on the request's other queries.")
@kind_errors
def export(  # noqa: PLR0913 (one parameter an option)
    run: Path,
    to: Path,
    paths: tuple[Path, ...],
    max_steps: int,
    max_support: int,
    max_queries: int,
    max_classes: int,
    **asked: Any,
) -> None:
    """Export RUN as a SavedModel that adapts in each request: TO/NAME/VERSION."""
    from fewshot.exported.card import Limits
    from serving.graph.export import Options
    from serving.graph.export import export as run_export

    limits = Limits(max_steps, max_support, max_queries, max_classes)
    folder = run_export(run, to, Options(data=paths, limits=limits, **asked))
    click.echo(f"Exported: {folder}")


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


@main.group(invoke_without_command=True)
@click.pass_context
@kind_errors
def recipes(context: click.Context) -> None:
    """List the recipes; `fewshot recipes show NAME` prints one."""
    if context.invoked_subcommand is None:
        from fewshot.training.evaluation.report import print_recipes

        print_recipes()


@recipes.command()
@click.argument("name")
@kind_errors
def show(name: str) -> None:
    """Print the recipe NAME as TOML."""
    from fewshot.training.recipe import recipe_text

    click.echo(recipe_text(name), nl=False)


@main.group()
def data() -> None:
    """List, fetch and verify the data sets that the program knows."""


files_option = click.option(
    "--file", "files", multiple=True, metavar="PATTERN", help="Only the files that match, such as '*small1.zip'."
)


@data.command("list")
@kind_errors
def list_data() -> None:
    """List the data sets: licence, size, how to get them."""
    from fewshot.data.catalogue.listing import print_manifests

    print_manifests()


@data.command("show")
@click.argument("name")
@kind_errors
def show_data(name: str) -> None:
    """Print all facts of the data set NAME (or of a manifest of your own, a TOML file)."""
    from fewshot.data.catalogue.listing import print_manifest
    from fewshot.data.catalogue.manifest import read_manifest

    print_manifest(read_manifest(name))


@data.command("fetch")
@click.argument("name")
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), help="Folder to put the files in.")
@files_option
@kind_errors
def fetch_data(name: str, folder: Path, files: tuple[str, ...]) -> None:
    """Download the data set NAME; interrupted, the same command goes on."""
    from fewshot.data.catalogue.fetch import fetch
    from fewshot.data.catalogue.listing import print_fetched
    from fewshot.data.catalogue.manifest import read_manifest

    manifest = read_manifest(name)
    print_fetched(manifest, fetch(manifest, folder, only=files), folder)


@data.command("verify")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@files_option
@click.option("--deep", is_flag=True, help="Read every image too, where no checksums are published.")
@kind_errors
def verify_data(
    name: str,
    folder: Path,
    files: tuple[str, ...],
    deep: bool,  # noqa: FBT001 (click passes options by name)
) -> None:
    """Name every missing, truncated or altered file of the data set NAME in FOLDER; exit code 1 if there is any."""
    from fewshot.data.catalogue.listing import print_verification
    from fewshot.data.catalogue.manifest import read_manifest
    from fewshot.data.catalogue.verify import verify

    manifest = read_manifest(name)
    found = verify(manifest, folder, only=files, deep=deep)
    print_verification(manifest, found)
    if found.problems:
        sys.exit(1)


@data.command("simulate")
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--regions", default=24, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--patches", default=49, show_default=True, type=click.IntRange(1), help="256-pixel patches of a region.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the simulated Earth.")
@kind_errors
def simulate_data(folder: Path, regions: int, patches: int, seed: int) -> None:
    """Write a simulated Earth in SEN12MS's layout; interrupted, the same command goes on."""
    from fewshot.data.earth.files import write_earth
    from fewshot.training.datasets import progress_bar

    with progress_bar("Simulating", "patches") as show:
        names = write_earth(folder, regions=regions, seed=seed, patches_per_region=patches, progress=show)
    click.echo(f"{folder}: {len(names)} SIMULATED regions of {patches} patches, in the layout of SEN12MS.")


@data.command("prepare")
@click.argument("name", type=click.Choice(["sen12ms", "synthetic"]))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="Folder to write; FOLDER/prepared-WINDOW if not given.")
@click.option("--window", default=128, show_default=True, type=click.IntRange(1), help="Pixels of an image's side.")
@click.option("--cache", is_flag=True, help="Write the images too, so that training opens no GeoTIFF.")
@click.option("--skip-damaged", is_flag=True, help="Leave damaged patches out instead of stopping at the first.")
@kind_errors
def prepare_data(
    name: str,
    folder: Path,
    to: Path | None,
    window: int,
    cache: bool,  # noqa: FBT001 (click passes options by name)
    skip_damaged: bool,  # noqa: FBT001
) -> None:
    """Index the data set NAME in FOLDER, so that it opens at once; interrupted, the same command goes on."""
    from fewshot.data.sources.sen12ms import PREPARED, Cut
    from fewshot.data.sources.sen12ms_index import prepare
    from fewshot.training.datasets import progress_bar

    Cut(window)
    to = to or folder / PREPARED.format(window=window)
    with progress_bar(f"Preparing {name}", "regions") as show:
        made = prepare(
            folder, to, window=window, records=cache, on_damaged="skip" if skip_damaged else "raise", progress=show
        )
    windows = sum(len(index) for index in made.regions)
    click.echo(f"{to}: {windows} windows of {window} pixels in {len(made.regions)} regions.")
    for line in made.skipped:
        click.echo(f"left out: {line}")


def serve_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command TF Serving's flags, as `--rest_api_port` and as `--rest-api-port`."""
    for flag in reversed(FLAGS):
        names = dict.fromkeys((f"--{flag.name.replace('_', '-')}", f"--{flag.name}"))
        # A switch may stand alone or be given a value, as in --enable_batching=true.
        extra: dict[str, Any] = {"is_flag": False, "flag_value": True} if isinstance(flag.default, bool) else {}
        text = f"{flag.help}  [default: {flag.default}]" if flag.default not in ("", False) else flag.help
        command = click.option(
            *names,
            flag.name,
            type=type(flag.default),
            help=text if flag.help else "A flag of TF Serving that has no effect here.",
            hidden=not flag.help,
            **extra,
        )(command)
    return command


@main.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@serve_flags
@click.version_option(package_name="fewshot", message="TensorFlow ModelServer: %(prog)s %(version)s")
@kind_errors
def serve(folder: Path | None, **given: Any) -> None:
    """Serve the exported models in FOLDER over TF Serving's gRPC and REST APIs, until SIGTERM.

    FOLDER/NAME/VERSION/ is what `fewshot export --to FOLDER` writes. TF Serving's own flags work too.
    """
    from serving.server.server import serve as run_server

    run_server(read_flags(folder, given))


@main.command()
@click.option("--model", type=click.Path(path_type=Path), help="Folder of an exported model: DIR/NAME.")
@click.option("--server", metavar="URL", help="A served model: host:port/NAME, or http://host:port/NAME.")
@click.option("--support", type=click.Path(path_type=Path), help="Folder with a folder of pictures for each class.")
@click.option("--query", required=True, type=click.Path(path_type=Path), help="Pictures to classify, or one.")
@click.option("--steps", type=click.IntRange(0), help="Inner steps; the model's own number if not given.")
@click.option("--save-adapted", type=click.Path(path_type=Path), help="Keep the adapted model in this file, .npz.")
@click.option("--adapted", type=click.Path(path_type=Path), help="Use a model adapted before, in place of --support.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all probabilities.")
@click.option("--report", type=click.Path(path_type=Path), help="Draw the pictures with their classes there.")
@kind_errors
def predict(
    model: Path | None,
    server: str | None,
    as_json: bool,  # noqa: FBT001 (click passes options by name)
    report: Path | None,
    **asked: Any,
) -> None:
    """Adapt a model to labelled pictures, whose folders are the classes, and classify others."""
    from fewshot.exported.predictor import open_predictor
    from fewshot.mapping.classify import PictureRequest, classify_pictures, draw_pictures

    request = PictureRequest(**asked)
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


def one_target(model: Path | None, server: str | None) -> str:
    """Return where a model is: a folder or an address.

    Raises:
        click.UsageError: if neither or both are named.
    """
    if (model is None) == (server is None):
        raise click.UsageError("a model is needed: give one of --model and --server.")
    return server or str(Path(model or "").resolve())


def map_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `map` and `map-many` share."""
    file = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option("--model", type=file, help="Folder of an exported model: DIR/NAME, or DIR/NAME/VERSION."),
            click.option("--server", metavar="URL", help="A served model: host:port/NAME, or http://host:port/NAME."),
            click.option("--label-field", help="Field of the labels that holds the class; a usual one if not given."),
            click.option("--classes", type=file, help="Class table (CSV: id, name, colour, ignored) for the labels."),
            click.option(
                "--bands", default="", help="Names of the scene's bands, or their numbers in the model's order."
            ),
            click.option(
                "--scale", type=float, help="What one unit of the scene is worth, where its file does not say."
            ),
            click.option(
                "--radius", default=1, show_default=True, help="Segmentation: pixels that a point labels too."
            ),
            click.option("--holdout", default=0.0, help="Share of the labels to keep back and report accuracy on."),
            click.option(
                "--apart", type=int, help="Least pixels between support and validation; a picture if not given."
            ),
            click.option("--seed", default=0, show_default=True, help="Decides which labels are kept back."),
            click.option("--steps", type=click.IntRange(0), help="Inner steps; the model's own number if not given."),
            click.option(
                "--stride", type=click.IntRange(1), help="Patch models: pixels between patches; a quarter if not given."
            ),
            click.option("--window", "size", type=click.IntRange(1), help="Segmentation: pixels of a window's side."),
            click.option(
                "--overlap", type=int, help="Segmentation: pixels that windows share; an eighth if not given."
            ),
            click.option("--probabilities", is_flag=True, help="Write the probabilities of all classes too."),
            click.option("--title", default="", help="Above the picture."),
            click.option("--resume", is_flag=True, help="Go on with an interrupted map."),
            click.option("--workers", default=1, show_default=True, help="Processes that predict on this machine."),
            click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers predict."),
        )
    ):
        command = option(command)
    return command


@main.command("map")
@click.option("--scene", "scenes", multiple=True, required=True, help="Raster; repeatable: neighbours, or a band each.")
@click.option("--labels", type=click.Path(path_type=Path), help="Points, lines or polygons, or a class raster.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The map to write, .tif.")
@click.option("--validation", type=click.Path(path_type=Path), help="Labels to report accuracy on.")
@click.option("--save-adapted", type=click.Path(path_type=Path), help="Keep the adapted model in this file, .npz.")
@click.option("--adapted", type=click.Path(path_type=Path), help="Use a model adapted before, in place of labels.")
@map_options
@kind_errors
def map_command(**asked: Any) -> None:
    """Map a region that no model has seen: adapt to its labels, then predict all of it."""
    from fewshot.mapping.region_map import map_region
    from fewshot.training.datasets import progress_bar

    request = map_request(asked)
    with opened_model(asked) as (predictor, engine), progress_bar("Mapping", "blocks") as show:
        report = map_region(predictor, engine, request, progress=show)
    for line in report.lines():
        click.echo(line)
    click.echo(f"Map: {report.files[-1]}, and {', '.join(path.name for path in report.files[:-1])} beside it.")


@main.command("map-many")
@click.argument("regions", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder: TO/NAME/map.tif for each region.")
@map_options
@kind_errors
def map_many_command(regions: Path, to: Path, **asked: Any) -> None:
    """Map the regions listed in REGIONS, each with its own labels; one that fails does not stop the others.

    REGIONS is a CSV with the columns name, scene, labels, and if wanted bands, label_field, validation, classes.
    """
    from fewshot.mapping.many import map_many, read_regions, table_lines, write_table
    from fewshot.mapping.region_map import map_region
    from fewshot.training.datasets import progress_bar

    common = map_request({**asked, "scenes": (), "labels": regions, "to": Path("map.tif")})
    listed, results = read_regions(regions, to, common), []
    with opened_model(asked) as (predictor, engine), progress_bar("Mapping", "regions") as show:
        for result in map_many(listed, lambda request: map_region(predictor, engine, request)):
            results.append(result)
            show(len(results), len(listed))
    write_table(to / "summary.csv", results)
    for line in table_lines(results):
        click.echo(line)
    if any(result.state == "failed" for result in results):
        sys.exit(1)


def map_request(asked: dict[str, Any]) -> Any:
    """Return what the options of a map ask for."""
    from fewshot.mapping.many import split_bands
    from fewshot.mapping.predict.layout import WindowPlan
    from fewshot.mapping.request import MapRequest
    from fewshot.mapping.support.examples import LabelPlan

    kept = ("scenes", "to", "adapted", "classes", "scale", "steps", "probabilities", "save_adapted", "resume", "title")
    labels = check = None
    if asked["labels"] is not None:
        plan = ("radius", "holdout", "validation", "apart", "seed")
        labels = LabelPlan(asked["labels"], asked["label_field"], **{key: asked[key] for key in plan if key in asked})
    elif asked["holdout"]:
        raise click.UsageError("--holdout keeps back some of --labels; with --adapted name others with --validation.")
    elif asked.get("validation") is not None:
        check = LabelPlan(asked["validation"], asked["label_field"], validation=asked["validation"])
    windows = WindowPlan(asked["stride"], asked["size"], asked["overlap"])
    settings = {key: asked[key] for key in kept if key in asked}
    return MapRequest(**settings, labels=labels, check=check, bands=split_bands(asked["bands"]), windows=windows)


@contextmanager
def opened_model(asked: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Open the model that a map is asked of, and where it is predicted."""
    from fewshot.exported.adapted import ModelSource
    from fewshot.exported.predictor import open_predictor
    from fewshot.mapping.predict.engine import open_engine

    target = one_target(asked["model"], asked["server"])
    workers, scheduler = asked["workers"], asked["scheduler"]
    with open_predictor(target) as predictor:
        with open_engine(
            predictor, ModelSource(open_predictor, target), workers=workers, scheduler=scheduler
        ) as engine:
            yield predictor, engine


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder for it.")
@kind_errors
def demo(out: Path) -> None:
    """Train, evaluate, serve and map on data the program makes itself, in four to five minutes."""
    from fewshot.demo.learning import run_demo, train_mapper
    from fewshot.demo.mapping import demo_map
    from fewshot.demo.serving import demo_serving
    from fewshot.exported.predictor import LocalPredictor
    from serving.graph.export import export

    run_demo(out)
    demo_serving(out)
    click.echo("4. Mapping: a simulated region that no model has seen, from a few labelled points")
    version = export(train_mapper(out), out / "models")
    report, picture = demo_map(LocalPredictor(version), out)
    for line in report.lines():
        click.echo(line)
    click.echo(f"Map: {report.files[-1]}\nPicture: {picture}")


if __name__ == "__main__":
    main()
