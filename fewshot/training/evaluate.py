"""The evaluation job, top to bottom: a trained run and its baselines on the same tasks, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import DivergedError, RecipeError
from fewshot.meta import MetaLearner
from fewshot.meta.baselines import nearest_neighbour
from fewshot.tasks.task import write_tasks
from fewshot.training import build, measure, pretrain
from fewshot.training.measure import Outcome, Request, TestTasks, mean_and_interval
from fewshot.training.recipe import Recipe
from fewshot.training.run import RunFolder
from fewshot.training.train import validation_tasks

Report = dict[str, Any]


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
    recipe = folder.recipe()
    if recipe.data.source == "sine":
        return evaluate_sines(folder, recipe, request, baselines=baselines, minutes=baseline_minutes)
    region_set = measure.run_data(recipe, folder, paths, request.split)
    shots = request.shots or (None,)
    chosen = measure.choose_tasks(recipe, region_set, request, shots[0])
    if request.save_tasks is not None:
        write_tasks(request.save_tasks, region_set, chosen.tasks)
    learner = load_for(folder, recipe, region_set, request)
    steps, at = measure.curve_steps(request, int(learner.evaluation_steps))
    outcome = longest_curve(
        lambda taken: measure.measure(measure.learner_predict(learner, taken), chosen, taken, at), steps, at
    )
    report = classification_report(recipe, chosen, outcome, learner)
    if len(shots) > 1:
        report["by_shots"] = accuracy_by_shots(recipe, learner, region_set, request)
    if baselines:
        outcomes = baseline_outcomes(folder, recipe, chosen, minutes=baseline_minutes)
        report["baselines"] = {name: compared(outcome, other) for name, other in outcomes.items()}
    return report


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
    _, learner = measure.load_run(folder, region_set)
    own, ways = recipe.tasks.ways, request.ways or recipe.tasks.ways
    if learner.head is not None and learner.head.outputs is not None and recipe.tasks.labels == "task" and ways != own:
        raise RecipeError(
            f"The run's fixed head knows {own} classes a task; --ways {ways} needs a head for any number of classes. "
            "Train with --set learner.head=prototype or --set learner.head=shared."
        )
    return learner


def classification_report(recipe: Recipe, chosen: TestTasks, outcome: Outcome, learner: MetaLearner) -> Report:
    """Collect the figures of one method."""
    task = chosen.tasks[0]
    counts = measure.confusion(chosen, outcome)
    shots = [int((task.support_y == label).sum()) for label in range(len(task.classes))]
    accuracy = mean_and_interval(outcome.per_task)
    report: Report = {
        "recipe": recipe.name,
        "learner": recipe.learner_name,
        "data": chosen.region_set.name,
        "fixed_tasks": chosen.fixed,
        "tasks": len(chosen.tasks),
        "ways": len(task.classes),
        "shots": shots[0] if len(set(shots)) == 1 else shots,
        "steps": outcome.steps[outcome.at],
        "accuracy": accuracy,
        "error": {"mean": 1 - accuracy["mean"], "ci95": accuracy["ci95"]},
        "per_task": outcome.per_task.tolist(),
        "curve": curve(outcome, "accuracy"),
        "by_region": measure.by_region(chosen, outcome),
        "transductive": learner.transductive,
        "skipped": list(chosen.region_set.skipped),
        "baselines": {},
    }
    if counts is not None:
        report["confusion"] = {"classes": list(chosen.region_set.classes), "counts": counts.tolist()}
        report["by_class"] = by_class(chosen.region_set.classes, counts)
    return report


def curve(outcome: Outcome, figure: str) -> Report:
    """Return the figure after each number of inner steps, with its interval."""
    points = [mean_and_interval(scores) for scores in outcome.scores]
    return {
        "steps": list(outcome.steps),
        figure: [point["mean"] for point in points],
        "ci95": [point["ci95"] for point in points],
    }


def by_class(classes: Sequence[str], counts: np.ndarray) -> Report:
    """Return recall and precision of each class that occurs."""
    table = {}
    for i, name in enumerate(classes):
        true, predicted = int(counts[i].sum()), int(counts[:, i].sum())
        if true:
            table[name] = {
                "recall": counts[i, i] / true,
                "precision": counts[i, i] / predicted if predicted else float("nan"),
                "queries": true,
            }
    return table


def compared(ours: Outcome, other: Outcome) -> Report:
    """Return a baseline's figures and the mean difference of ours to it, task by task."""
    return {
        "accuracy": mean_and_interval(other.per_task),
        "steps": other.steps[other.at],
        "ours_minus_it": mean_and_interval(ours.per_task - other.per_task),
        "per_task": other.per_task.tolist(),
    }


def accuracy_by_shots(recipe: Recipe, learner: MetaLearner, region_set: RegionSet, request: Request) -> Report:
    """Return the accuracy with each number of shots."""
    own = int(learner.evaluation_steps)
    table = {}
    for shots in request.shots:
        chosen = measure.choose_tasks(recipe, region_set, request, shots)
        outcome = measure.measure(measure.learner_predict(learner, [own]), chosen, [own], 0)
        table[str(shots)] = mean_and_interval(outcome.per_task)
    return table


def baseline_outcomes(folder: RunFolder, recipe: Recipe, chosen: TestTasks, *, minutes: float) -> dict[str, Outcome]:
    """Let every baseline predict the same tasks, with labels local to each task."""
    own = [Path(path) for path in folder.read_json("run.json")["data"]]
    parts = build.split_data(build.read_data(recipe.data, own), recipe.data)
    local = replace(chosen, labels="task")
    tuning = TestTasks(parts["validation"], validation_tasks(recipe, parts["validation"]), "task", fixed=False)
    cache = folder.path / "baselines"
    cache.mkdir(exist_ok=True)
    keras.utils.set_random_seed(recipe.training.seed)
    fresh = build.build_body(recipe.network, chosen.region_set.store.shape)
    pretrained = pretrain.pretrained_body(recipe, parts["train"], cache / "pretrained.weights.h5", minutes=minutes)
    prototypical = pretrain.prototypical_network(recipe, parts, cache / "protonet.weights.h5", minutes=minutes)
    learners = {
        "random initialisation": pretrain.choose_rate(fresh, recipe, tuning),
        "pre-training + fine-tuning": pretrain.choose_rate(pretrained, recipe, tuning),
        "prototypical network": prototypical,
    }
    outcomes = {}
    for name, learner in learners.items():
        steps = [int(learner.evaluation_steps)]
        outcomes[name] = measure.measure(measure.learner_predict(learner, steps), local, steps, 0)

    def nearest(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        support_x, support_y, query_x = inputs
        return nearest_neighbour(support_x, support_y, query_x, int(tf.reduce_max(support_y)) + 1)[None]

    outcomes["nearest neighbour on pixels"] = measure.measure(nearest, local, [0], 0)
    return outcomes


def evaluate_sines(folder: RunFolder, recipe: Recipe, request: Request, *, baselines: bool, minutes: float) -> Report:
    """Evaluate a run on sine waves: mean squared error over waves, by shots and by steps."""
    _, learner = measure.load_run(folder, None)
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
            "random initialisation": build.build_body(recipe.network, (1,)),
            "pre-training + fine-tuning": pretrain.pretrained_body(
                recipe, None, cache / "pretrained.weights.h5", minutes=minutes
            ),
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
