"""`fewshot export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from fewshot.commands.options import FILE, after_training_option, data_option, given, option, options_as


@dataclass(frozen=True)
class ModelOptions:
    """Which model a run becomes, and the most that one request may ask of it."""

    to: Path = option("--to", required=True, type=FILE, help="Folder of the served models.")
    name: str | None = option("--name", help="Of the model; that of the run folder if not given.")
    version: int | None = option(
        "--version", type=click.IntRange(1), help="A whole number; the next free one if not given."
    )
    paths: tuple[Path, ...] = given(data_option)
    settings: tuple[str, ...] = given(after_training_option)
    evaluation: Path | None = option(
        "--evaluation",
        type=FILE,
        help="What `evaluate --json` wrote, for the card; RUN/evaluation.json if not given.",
    )
    max_steps: int = option("--max-steps", default=50, type=click.IntRange(0), help="Inner steps of a request.")
    max_support: int = option("--max-support", default=512, type=click.IntRange(2), help="Its support pictures.")
    max_queries: int = option("--max-queries", default=4096, type=click.IntRange(1), help="Its query pictures.")
    max_classes: int = option("--max-classes", default=100, type=click.IntRange(2), help="Its classes.")
    transductive: bool = option(
        "--transductive", is_flag=True, help="Export a run whose answers depend on the request's other queries."
    )


@click.command("export")
@click.argument("run", type=FILE)
@options_as(ModelOptions)
def command(*, run: Path, options: ModelOptions) -> None:
    """Export RUN as a SavedModel that adapts in each request: TO/NAME/VERSION."""
    from fewshot.exported import Limits
    from serving import ExportOptions, export

    limits = Limits(options.max_steps, options.max_support, options.max_queries, options.max_classes)
    asked = ExportOptions(
        name=options.name,
        version=options.version,
        data=options.paths,
        limits=limits,
        evaluation=options.evaluation,
        transductive=options.transductive,
        settings=options.settings,
    )
    click.echo(f"Exported: {export(run, options.to, asked)}")
