"""The search, top to bottom: a recipe and what varies of it in, the best values found out.

    OUT/
    ├── tune.json       what was asked for, and every trial: values, figure, why it failed
    ├── tune.png        figures and values, generation by generation
    └── trials/007/     the run folder of a trial; only the best one keeps its weights

Every trial trains on the same meta-batches and is validated on the same tasks, since both depend on the recipe's seed.
What a generation tries depends on the seed and on the figures of the one before; so a search that was killed goes on
with the very trial, and ends as it would have ended.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from fewshot.errors import ArtifactError, DivergedError, RecipeError
from fewshot.files import write_whole
from fewshot.training.kinds import kind_of
from fewshot.training.recipe import Recipe
from fewshot.training.run import Run
from fewshot.training.train import train
from fewshot.training.tuning.drawing import draw_search
from fewshot.training.tuning.forward import require_numbers, uphill
from fewshot.training.tuning.search import Search, Tried
from fewshot.training.tuning.space import Value, Varied, require_distinct
from fewshot.training.tuning.trial import Trial

ReadRecipe = Callable[[Sequence[str]], Recipe]
"""Reads the recipe with these settings, `table.key=value`, applied last."""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        monitored: The validation figure's name.
        trials: In the order of their making.
        best: The one with the best figure.
        settings: `table.key=value` of the best, as `fewshot train --set` takes them.
        files: What was written.
    """

    monitored: str
    trials: tuple[Trial, ...]
    best: Trial
    settings: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class TuneRequest:
    """What is searched, and how long.

    Attributes:
        recipe: Reads the recipe with settings of a trial.
        varied: What varies.
        updates: Of a trial's training.
        generations: How many.
        search: How values are proposed.
        paths: The recipe's data.
    """

    recipe: ReadRecipe
    varied: Sequence[Varied]
    updates: int = 200
    generations: int = 4
    search: Search = field(default_factory=Search)
    paths: Sequence[Path] = ()


def tune(
    request: TuneRequest,
    out: Path,
    *,
    resume: bool = False,
    tried: Callable[[int, int, Trial], None] | None = None,
) -> Found:
    """Search the best values of a recipe's settings.

    Args:
        request: What is searched.
        out: Folder of the search, new or to be resumed.
        resume: Go on with the search in `out`.
        tried: Called after each trial with its number from 1, how many there will be, and the trial.

    Raises:
        RecipeError: if a setting cannot be varied, or no trial of a generation could be trained.
        ArtifactError: if `out` holds another search, or cannot be written.
        FewshotError: if the recipe or its data is not as expected.
    """
    require_distinct(request.varied)
    recipe = request.recipe(_schedule(request.updates))
    if request.search.method == "forward":
        require_numbers(request.varied, recipe.learner.rates)
    monitored = kind_of(recipe).monitored
    for one in request.varied:  # a setting that is misspelt is said now, not by every trial
        request.recipe((f"{one.key}={one.at(0.5)}",))
    log = _Log(out, request, recipe, monitored)
    trials = log.open(resume=resume)
    total = request.generations * request.search.particles

    # A generation after the other: values are proposed, each is trained and validated, the best make the next.
    before: list[Tried] = []
    for generation in range(request.generations):
        proposed = request.search.propose(generation, len(request.varied), before)
        for number, places in enumerate(proposed, start=generation * request.search.particles):
            if number < len(trials):
                continue
            values = {one.key: one.at(float(place)) for one, place in zip(request.varied, places, strict=True)}
            trials.append(_try(request, out / "trials" / f"{number:03d}", generation, values))
            log.write(trials)
            _drop_weights(out / "trials", keep=_best(trials, monitored))
            if tried is not None:
                tried(number + 1, total, trials[-1])
        own = trials[generation * request.search.particles :][: request.search.particles]
        _require_some(own)
        before = [Tried(at, _worth(trial, monitored), trial.uphill) for at, trial in zip(proposed, own, strict=True)]

    best = trials[_best(trials, monitored)]
    picture = out / "tune.png"
    draw_search(picture, trials, request.varied, monitored)
    settings = tuple(f"{key}={value}" for key, value in best.values.items())
    return Found(monitored, tuple(trials), best, settings, (log.file, picture))


def _schedule(updates: int) -> tuple[str, ...]:
    return (f"training.updates={updates}",)


def _try(request: TuneRequest, folder: Path, generation: int, values: dict[str, Value]) -> Trial:
    """Train one set of values, or go on with its training; what cannot be trained is a trial that failed."""
    settings = [f"{key}={value}" for key, value in values.items()]
    keras.backend.clear_session()
    try:
        recipe = request.recipe((*settings, *_schedule(request.updates)))
        state = train(recipe, request.paths, folder, resume=True, verbose=0)
    except (DivergedError, RecipeError) as error:
        return Trial(generation, values, None, str(error))
    if state.best is None or not math.isfinite(state.best):
        return Trial(generation, values, None, f"its validation figure is {state.best}", state.seconds)
    way = _uphill(Run.open(folder), request, values) if request.search.method == "forward" else None
    return Trial(generation, values, state.best, "", state.seconds, way)


def _uphill(run: Run, request: TuneRequest, values: dict[str, Value]) -> list[float]:
    """Return the direction in which the validation loss of a trial falls."""
    part, training = run.parts(request.paths)["validation"], run.recipe.training
    learner, loss = run.learner(part), run.kind.outer_loss(training)
    tasks = run.kind.validation(part, training, run.folder.validation_tasks)

    def mean_loss() -> Any:
        steps = [learner.evaluation_steps]
        losses = [loss(y, learner.predict_after(x, steps, backward="exact")[0]) for x, y in tasks]
        return sum(losses) / len(losses)

    return uphill(learner, mean_loss, request.varied, values)


def _worth(trial: Trial, monitored: str) -> float:
    """Return a trial's figure so that greater is better."""
    if trial.figure is None:
        return -math.inf
    return -trial.figure if "loss" in monitored else trial.figure


def _best(trials: Sequence[Trial], monitored: str) -> int:
    """Return the number of the best trial, the first of equals."""
    return max(range(len(trials)), key=lambda number: (_worth(trials[number], monitored), -number))


def _require_some(trials: Sequence[Trial]) -> None:
    if all(trial.figure is None for trial in trials):
        raise RecipeError(
            f"None of the {len(trials)} trials of a generation could be trained. The first failed so: "
            f"{trials[0].failed} Narrow the ranges, or change the recipe with --set."
        )


def _drop_weights(trials: Path, *, keep: int) -> None:
    """Remove weights and features of all trials but the best so far; what they were and reached stays."""
    for folder in trials.iterdir():
        if folder.name != f"{keep:03d}":
            for weights in folder.glob("*.weights.h5"):
                weights.unlink()
            shutil.rmtree(folder / "features", ignore_errors=True)


class _Log:
    """`tune.json`: what was asked for, and the trials."""

    def __init__(self, out: Path, request: TuneRequest, recipe: Recipe, monitored: str) -> None:
        """Say what is asked for; the number of generations may grow later."""
        self.file = out / "tune.json"
        asked = {
            "varied": [asdict(one) for one in request.varied],
            "search": asdict(request.search),
            "monitored": monitored,
            "recipe": recipe.as_tables(),
        }
        self.asked = json.loads(json.dumps(asked))

    def open(self, *, resume: bool) -> list[Trial]:
        """Return the trials that are made already.

        Raises:
            ArtifactError: if there is a search and `resume` is false, or it is another one, or damaged.
        """
        if not self.file.exists():
            return []
        if not resume:
            raise ArtifactError(
                f"{self.file.parent} already holds a search. Add --resume to go on with it, or name another folder "
                "with --out."
            )
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            trials = [Trial(**trial) for trial in content.pop("trials")]
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{self.file} is damaged: {error}.") from None
        changed = [key for key in self.asked if content.get(key) != self.asked[key]]
        if changed:
            raise ArtifactError(
                f"{self.file.parent} holds another search: its {' and '.join(changed)} differ from what is asked for. "
                "Resume it as it was started, or name another folder with --out."
            )
        return trials

    def write(self, trials: Sequence[Trial]) -> None:
        """Write the trials so far."""
        text = json.dumps(self.asked | {"trials": [asdict(trial) for trial in trials]}, indent=1) + "\n"
        write_whole(self.file, lambda path: path.write_text(text, encoding="utf-8"), flush=True)
