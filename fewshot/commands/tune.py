"""`fewshot tune`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from fewshot.commands.options import FILE, data_option, given, learner_option, option, options_as, recipe_option

if TYPE_CHECKING:
    from fewshot.training.tuning import Trial


@dataclass(frozen=True)
class TuneOptions:
    """What is searched, how, and how long."""

    paths: tuple[Path, ...] = given(data_option)
    varied: tuple[str, ...] = option(
        "--vary",
        "varied",
        multiple=True,
        metavar="TABLE.KEY=VALUES",
        help="A setting and its range, LOW..HIGH or LOW..HIGH:log (by ratios), or its choices, ONE,OTHER; repeatable.",
    )
    learner: str | None = given(learner_option)
    settings: tuple[str, ...] = given(recipe_option)
    out: Path | None = option("--out", type=FILE, help="Folder of the search; runs/tune-RECIPE-LEARNER if not given.")
    method: Literal["evolution", "random", "forward"] = option(
        "--method",
        type=click.Choice(["evolution", "random", "forward"]),
        default="evolution",
        help="An evolution strategy; drawing at random, the baseline that it has to beat; or following derivatives "
        "through the inner loop, by learner.rate and learner.proximity.",
    )
    generations: int = option("--generations", type=click.IntRange(1), default=4, help="How many.")
    particles: int = option("--particles", type=click.IntRange(2), default=8, help="Trials of a generation.")
    elites: int = option("--elites", type=click.IntRange(1), default=3, help="The best, which make the next one.")
    updates: int = option("--updates", type=click.IntRange(1), default=200, help="Of each trial's training.")
    seed: int = option("--seed", type=int, default=0, help="Of the search.")
    resume: bool = option("--resume", is_flag=True, help="Go on with the search in its folder, for longer if asked.")


@click.command("tune")
@click.argument("recipe")
@options_as(TuneOptions)
def command(*, recipe: str, options: TuneOptions) -> None:
    """Search the best values of RECIPE's settings, by short trainings that are validated on the same tasks."""
    from fewshot import read_recipe
    from fewshot.training.threads import a_thread_a_task
    from fewshot.training.tuning import Search, TuneRequest, read_varied, tune

    plain = read_recipe(recipe, learner=options.learner, settings=options.settings)
    a_thread_a_task(plain.training.meta_batch_size)
    request = TuneRequest(
        recipe=lambda more: read_recipe(recipe, learner=options.learner, settings=(*options.settings, *more)),
        varied=[read_varied(text) for text in options.varied],
        updates=options.updates,
        generations=options.generations,
        search=Search(options.method, options.particles, min(options.elites, options.particles), options.seed),
        paths=options.paths,
    )
    out = options.out or Path("runs") / f"tune-{plain.name}-{plain.learner_name}"
    found = tune(request, out, resume=options.resume, tried=_say)
    click.echo(f"Best of {len(found.trials)} trials: {found.monitored} {found.best.figure:.4g}.")
    click.echo("It was chosen on these validation tasks, so it is kind to itself: train anew, and evaluate on others.")
    changes = "".join(f" --set {shlex.quote(text)}" for text in (*options.settings, *found.settings))
    click.echo(f"Next: fewshot train {recipe} --learner {plain.learner_name}{changes}")
    click.echo(f"Written: {', '.join(map(str, found.files))}")


def _say(number: int, total: int, trial: Trial) -> None:
    values = ", ".join(f"{key} {value}" for key, value in trial.values.items())
    reached = f"failed: {trial.failed}" if trial.figure is None else f"{trial.figure:.4g}"
    click.echo(f"[{number}/{total}] {values}: {reached}")
