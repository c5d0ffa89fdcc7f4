"""The evaluation job, top to bottom: a trained run and its baselines on the same tasks, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from fewshot.data.region import KeptBands, RegionSet
from fewshot.errors import DivergedError, RecipeError
from fewshot.meta import MetaLearner
from fewshot.tasks.task import write_tasks
from fewshot.training import build
from fewshot.training.evaluation import measure, pretrain
from fewshot.training.evaluation.baselines import Method, baseline_methods
from fewshot.training.evaluation.figures import Report, compared, curve, image_report, pixel_report, shots_row
from fewshot.training.evaluation.measure import Outcome, Request, TestTasks, mean_and_interval
from fewshot.training.recipe import Recipe
from fewshot.training.run import RunFolder


def evaluate(
    run: Path, paths: Sequence[Path], request: Request, *, baselines: bool = False, baseline_minutes: float = 5.0
) -> Report:
    """Evaluate a run on tasks of regions it has not seen.

    Args:
        run: The run folder.
        paths: Data to test on; the run's own data if empty.
        request: Tasks, steps, ways and shots.
        baselines: Put random initialisation, pre-training, a prototypical network and nearest neighbours beside it.
        baseline_minutes: Most time to train each baseline that needs it; trained ones are kept in the run folder.

    Returns:
        What `fewshot evaluate --json` writes; see `docs/results.md` for its keys.

    Raises:
        FewshotError: if run, data or request are not as expected, or the adaptation diverges.
    """
    folder = RunFolder(run)
    recipe = folder.recipe(request.settings)
    if recipe.data.source.draws_waves:
        return evaluate_sines(folder, recipe, request, baselines=baselines, minutes=baseline_minutes)

    # The tasks: of regions that training and validation have not seen.
    region_set = measure.run_data(recipe, folder, paths, request.split)
    if request.bands:
        region_set = replace(region_set, store=KeptBands(region_set.store, request.bands))
    shots = request.shots or (None,)
    chosen = measure.choose_tasks(recipe, region_set, request, shots[0])
    if request.save_tasks is not None:
        write_tasks(request.save_tasks, region_set, chosen.tasks)

    # The run, after each number of steps.
    learner = load_for(folder, recipe, region_set, request)
    steps, at = measure.curve_steps(request, int(learner.evaluation_steps))
    outcome = longest_curve(
        lambda taken: measure.measure_tasks(measure.learner_predict(learner, taken), chosen, taken, at), steps, at
    )
    report = (pixel_report if outcome.counts is not None else image_report)(recipe, chosen, outcome, learner)

    # The baselines on the same tasks, and all of them again with each number of shots.
    methods = baseline_methods(folder, recipe, region_set, minutes=baseline_minutes) if baselines else {}
    report["baselines"] = {
        name: compared(outcome, of_method(method, chosen), method.steps) for name, method in methods.items()
    }
    if len(shots) > 1:
        own = Method(measure.learner_predict(learner, [steps[at]]), recipe.tasks.labels, steps[at])
        report["by_shots"] = {
            str(count): by_shots(own, methods, measure.choose_tasks(recipe, region_set, request, count))
            for count in request.shots
        }
    return report


def of_method(method: Method, chosen: TestTasks) -> Outcome:
    """Let one method predict the tasks, with the labels it knows."""
    return measure.measure_tasks(method.predict, replace(chosen, labels=method.labels), [method.steps], 0)


def by_shots(own: Method, methods: Mapping[str, Method], chosen: TestTasks) -> Report:
    """Return the figures of the run and of every baseline with one number of shots."""
    outcome = of_method(own, chosen)
    others = {
        name: compared(outcome, of_method(method, chosen), method.steps, per_task=False)
        for name, method in methods.items()
    }
    return {**shots_row(outcome), "baselines": others}


def longest_curve(run: Callable[[tuple[int, ...]], Outcome], steps: tuple[int, ...], at: int) -> Outcome:
    """Measure the curve, leaving out steps past the learner's own, from the last, as long as one diverges.

    Raises:
        DivergedError: if the learner diverges within its own steps.
    """
    while True:
        try:
            return run(steps)
        except DivergedError:
            if len(steps) == at + 1:
                raise
            steps = steps[:-1]


def load_for(folder: RunFolder, recipe: Recipe, region_set: RegionSet, request: Request) -> MetaLearner:
    """Load the run's learner, checked against the tasks it is to meet.

    Raises:
        RecipeError: if its head is fixed to another number of classes.
    """
    _, learner = measure.load_run(folder, region_set, request.settings)
    own, ways = recipe.tasks.ways, request.ways or recipe.tasks.ways
    if learner.head is not None and learner.head.outputs is not None and recipe.tasks.labels == "task" and ways != own:
        raise RecipeError(
            f"The run's fixed head knows {own} classes a task; --ways {ways} needs a head for any number of classes. "
            "Train with --set learner.head=prototype or --set learner.head=shared."
        )
    return learner


def evaluate_sines(folder: RunFolder, recipe: Recipe, request: Request, *, baselines: bool, minutes: float) -> Report:
    """Evaluate a run on sine waves: mean squared error over waves, by shots and by steps."""
    _, learner = measure.load_run(folder, None, request.settings)
    steps, at = measure.curve_steps(request, int(learner.evaluation_steps))
    trained = int(np.max(recipe.tasks.shots))
    shots, queries = request.shots or (trained,), recipe.tasks.validation_queries

    def errors(of: MetaLearner, at_steps: Sequence[int], count: int) -> np.ndarray:
        return measure.measure_sines(measure.learner_predict(of, at_steps), count, queries, request.tasks, request.seed)

    outcome = longest_curve(lambda taken: Outcome(taken, errors(learner, taken, shots[0]), at), steps, at)
    report: Report = {
        "recipe": recipe.name,
        "learner": recipe.learner_name,
        "data": "sine waves",
        "tasks": request.tasks,
        "ways": None,
        "shots": shots[0],
        "steps": steps[at],
        "loss": mean_and_interval(outcome.per_task),
        "per_task": outcome.per_task.tolist(),
        "curve": curve(outcome, "loss"),
        "by_shots": {str(k): mean_and_interval(errors(learner, steps[at : at + 1], k)[0]) for k in shots},
        "transductive": learner.transductive,
        "baselines": {},
    }
    if baselines:
        cache = folder.path / "baselines"
        cache.mkdir(exist_ok=True)
        keras.utils.set_random_seed(recipe.training.seed)
        bodies = {
            "random initialisation": build.build_body(recipe.network, build.describe_problem(recipe.tasks, None)),
            "pre-training + fine-tuning": pretrain.pretrained_body(
                recipe, None, cache / "pretrained.weights.h5", minutes=minutes
            ).body,
        }
        for name, body in bodies.items():
            tuned = pretrain.choose_rate(body, recipe, None)
            taken = [int(tuned.evaluation_steps)]
            other = Outcome(tuple(taken), errors(tuned, taken, shots[0]), 0)
            report["baselines"][name] = {
                "loss": mean_and_interval(other.per_task),
                "steps": taken[0],
                "ours_minus_it": mean_and_interval(outcome.per_task - other.per_task),
                "per_task": other.per_task.tolist(),
            }
    return report
