"""From the outcomes of methods to the figures of a report, each with its 95 % interval over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fewshot.meta import MetaLearner
from fewshot.training.evaluation import measure, segmentation
from fewshot.training.evaluation.measure import Outcome, TestTasks, mean_and_interval
from fewshot.training.recipe import Recipe

Report = dict[str, Any]


def image_report(recipe: Recipe, chosen: TestTasks, outcome: Outcome, learner: MetaLearner) -> Report:
    """Collect the figures of one method on tasks of labelled images."""
    task = chosen.tasks[0]
    shots = [int((task.support_y == label).sum()) for label in range(len(task.classes))]
    report = common_report(recipe, chosen, outcome, learner)
    report |= {"ways": len(task.classes), "shots": shots[0] if len(set(shots)) == 1 else shots}
    counts = measure.confusion(chosen, outcome)
    if counts is not None:
        report["confusion"] = {"classes": list(chosen.region_set.classes), "counts": counts.tolist()}
        report["by_class"] = by_class(chosen.region_set.classes, counts)
    return report


def pixel_report(recipe: Recipe, chosen: TestTasks, outcome: Outcome, learner: MetaLearner) -> Report:
    """Collect the figures of one method on tasks of labelled pixels."""
    task = chosen.tasks[0]
    counts = own_counts(outcome)
    classes = chosen.region_set.classes
    report = common_report(recipe, chosen, outcome, learner)
    points = task.pixels.points if task.pixels else 0
    report |= {"target": "pixels", "ways": len(classes), "shots": len(task.support), "points": points}
    report |= pixel_figures(outcome)
    means = [mean_and_interval(segmentation.mean_iou(step)) for step in np.asarray(outcome.counts)]
    report["curve"] |= {"mean_iou": [m["mean"] for m in means], "mean_iou_ci95": [m["ci95"] for m in means]}
    report["confusion"] = {"classes": list(classes), "counts": counts.sum(axis=0).tolist()}
    report["by_class"] = by_class(classes, counts.sum(axis=0))
    for name, scores in segmentation.iou_by_class(classes, counts).items():
        report["by_class"][name] |= {"iou": mean_and_interval(scores), "tasks": len(scores)}
    return report


def common_report(recipe: Recipe, chosen: TestTasks, outcome: Outcome, learner: MetaLearner) -> Report:
    """Collect what every report of accuracies holds."""
    accuracy = mean_and_interval(outcome.per_task)
    return {
        "recipe": recipe.name,
        "learner": recipe.learner_name,
        "data": chosen.region_set.name,
        "fixed_tasks": chosen.fixed,
        "tasks": len(chosen.tasks),
        "steps": outcome.steps[outcome.at],
        "accuracy": accuracy,
        "error": {"mean": 1 - accuracy["mean"], "ci95": accuracy["ci95"]},
        "per_task": outcome.per_task.tolist(),
        "curve": curve(outcome, "accuracy"),
        "by_region": measure.by_region(chosen, outcome),
        "transductive": learner.transductive,
        "views": learner.views.count,
        "skipped": list(chosen.region_set.skipped),
        "baselines": {},
    }


def own_counts(outcome: Outcome) -> np.ndarray:
    """Return the confusion matrices [tasks, true class, predicted class] at the method's own number of steps."""
    return np.asarray(outcome.counts)[outcome.at]


def pixel_figures(outcome: Outcome) -> Report:
    """Return mean IoU and kappa, each the mean over tasks."""
    counts = own_counts(outcome)
    return {
        "mean_iou": mean_and_interval(segmentation.mean_iou(counts)),
        "kappa": mean_and_interval(segmentation.kappa(counts)),
    }


def shots_row(outcome: Outcome) -> Report:
    """Return the main figures of one method: those of the accuracy at the top, as every report has them."""
    row: Report = mean_and_interval(outcome.per_task)
    return row | pixel_figures(outcome) if outcome.counts is not None else row


def compared(ours: Outcome, other: Outcome, steps: int, *, per_task: bool = True) -> Report:
    """Return a baseline's figures and the mean difference of ours to it, task by task."""
    row: Report = {
        "accuracy": mean_and_interval(other.per_task),
        "steps": steps,
        "ours_minus_it": mean_and_interval(ours.per_task - other.per_task),
    }
    if ours.counts is not None and other.counts is not None:
        row |= pixel_figures(other)
        difference = segmentation.mean_iou(own_counts(ours)) - segmentation.mean_iou(own_counts(other))
        row["ours_minus_it_mean_iou"] = mean_and_interval(difference)
    if per_task:
        row["per_task"] = other.per_task.tolist()
    return row


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
