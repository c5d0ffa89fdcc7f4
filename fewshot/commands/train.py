"""`fewshot train`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from fewshot.commands.options import FILE, data_option, given, learner_option, option, options_as, recipe_option


@dataclass(frozen=True)
class TrainOptions:
    """On what a recipe is trained, how long, and what is changed of it."""

    paths: tuple[Path, ...] = given(data_option)
    learner: str | None = given(learner_option)
    out: Path | None = option("--out", type=FILE, help="Run folder; runs/RECIPE-LEARNER if not given.")
    settings: tuple[str, ...] = given(recipe_option)
    minutes: float | None = option("--minutes", type=float, help="Stop after this much training time.")
    resume: bool = option("--resume", is_flag=True, help="Go on with the run in the run folder.")


@click.command("train")
@click.argument("recipe")
@options_as(TrainOptions)
def command(*, recipe: str, options: TrainOptions) -> None:
    """Meta-train RECIPE (a name from `fewshot recipes`, or a TOML file)."""
    from fewshot import read_recipe, train
    from fewshot.training.threads import a_thread_a_task

    chosen = read_recipe(recipe, learner=options.learner, settings=options.settings)
    a_thread_a_task(chosen.training.meta_batch_size)
    out = options.out or Path("runs") / f"{chosen.name}-{chosen.learner_name}"
    verbose = 1 if sys.stdout.isatty() else 2
    state = train(chosen, options.paths, out, minutes=options.minutes, resume=options.resume, verbose=verbose)
    best = "" if state.best is None else f", best validation {state.best:.4g} after {state.best_updates}"
    click.echo(f"{out}: {state.updates} updates in {state.seconds / 60:.1f} minutes{best}.")
    click.echo(f"Next: fewshot evaluate {out}")
