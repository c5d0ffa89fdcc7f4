"""Tasks of labelled pixels (segmentation), and their figures from the confusion matrix of each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.meta.nearest import nearest_neighbour
from fewshot.models import HEADS
from fewshot.tasks.sources import RegionTasks
from fewshot.tasks.task import PixelTaskSpec, TaskSource
from fewshot.training.kinds.figures import ACCURACY, Array, Column, Outcome, RegionFigures, Yardstick, mean_and_interval
from fewshot.training.kinds.kind import LabelledExamples, RegionKind, Size
from fewshot.training.kinds.losses import TaskMeanIoU
from fewshot.training.kinds.under_test import Predict, Request, TestTasks

PRETRAINING_BATCH = 16
NEIGHBOURS = 500
"""Labelled pixels of a support set among which a pixel looks for its nearest."""


class Pixels(RegionKind):
    """Tasks of labelled pixels, measured by the mean intersection over union of the classes of each task."""

    yardstick: ClassVar[Yardstick] = Yardstick(
        (Column("mean IoU %", "mean_iou"), ACCURACY, Column("kappa", "kappa", percent=False)), counted="pixels"
    )
    monitored: ClassVar[str] = "val_mean_iou"
    per_pixel: ClassVar[bool] = True

    def require_consistent(self, split: str, head: str) -> None:
        """Refuse to keep classes apart, and heads of a number of outputs that tasks have not."""
        if split == "classes":
            raise RecipeError(
                "data.split = 'classes' keeps classes apart, which pixels of one picture cannot be; use "
                "--set data.split=random or regions."
            )
        if head == "fixed" and self.tasks.labels == "task":
            raise RecipeError(
                "learner.head = 'fixed' has one output a class, but with tasks.labels = 'task' regions have as many "
                "classes as they have. Use --set learner.head=prototype or shared, or tasks.labels=global."
            )
        if why := HEADS[head].pictures_only:
            raise RecipeError(
                f"learner.head = {head!r} {why}. Use --set learner.head=prototype or shared for tasks of pixels."
            )
        if head == "svm" and not self.tasks.points:
            raise RecipeError(
                "learner.head = 'svm' solves for one number a class of each labelled pixel, too many where all pixels "
                "of a window are labelled. Use --set learner.head=logistic or ridge, or a few tasks.points."
            )

    def fit_metrics(self) -> list[keras.metrics.Metric]:
        """Return the accuracy, and the figure that chooses the best weights."""
        return [*super().fit_metrics(), TaskMeanIoU(name="mean_iou")]

    def evaluation_spec(self) -> PixelTaskSpec:
        """Return the specification of validation and test tasks."""
        tasks = self.tasks
        if not isinstance(tasks.shots, int) or tasks.fixed_share:
            raise RecipeError("Tasks of pixels have one number of shots, and no fixed tasks (tasks.fixed_share = 0).")
        return PixelTaskSpec(
            tasks.shots,
            tasks.validation_queries,
            labels=tasks.labels,
            points=tasks.points,
            disjoint_sources=tasks.disjoint_sources,
        )

    def choose(self, tested: RegionSet, request: Request, shots: int | None) -> TestTasks:
        """Choose the tasks; numbers of classes cannot be chosen."""
        if request.ways is not None and request.task_list is None:
            raise RecipeError("--ways does not apply where pixels are labelled: a region has the classes it has.")
        return super().choose(tested, request, shots)

    def training_source(self, train: RegionSet) -> TaskSource:
        """Return new tasks of the regions."""
        own = replace(self.evaluation_spec(), queries=self.tasks.queries, fewest_points=self.tasks.fewest_points)
        return RegionTasks(train, own)

    def labelled_examples(self, train: RegionSet) -> tuple[int, TaskSource]:
        """Return windows with all of their labelled pixels."""
        store, images = train.store, np.concatenate([region.images for region in train.regions])
        examples = LabelledExamples(store, images, lambda chosen: store.read_labels(images[chosen]), PRETRAINING_BATCH)
        return len(train.classes), examples

    def examples_a_task(self) -> int:
        """Return how many windows a training task has."""
        return int(np.max(self.tasks.shots)) + self.tasks.queries

    def nearest(self, inputs: Sequence[Any]) -> tf.Tensor:
        """Give each query pixel the class of the labelled support pixel whose bands are nearest."""
        support_x, support_y, query_x = inputs
        classes = int(tf.reduce_max(support_y)) + 1
        answers = []
        for x, y, queries in zip(support_x, support_y, query_x, strict=True):
            pixels, labels = x[y >= 0], y[y >= 0]
            chosen = np.random.default_rng(0).permutation(len(labels))[:NEIGHBOURS]
            flat = tf.reshape(queries, [1, -1, queries.shape[-1]])
            scores = nearest_neighbour(tf.gather(pixels, chosen)[None], tf.gather(labels, chosen)[None], flat, classes)
            # [1, m*H*W, classes] -> [m, H, W, classes]
            answers.append(tf.reshape(scores, [*queries.shape[:-1], classes]))
        return tf.stack(answers)[None]

    def measure(self, predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
        """Let one method predict every pixel of the queries of every task; scores are overall accuracies."""
        classes = len(chosen.region_set.classes)
        index = {name: i for i, name in enumerate(chosen.region_set.classes)}
        counts = np.zeros([len(steps), len(chosen), classes, classes], np.int64)
        for group, batch in chosen.batches():
            answers = tf.argmax(predict(batch[:3]), axis=-1).numpy()
            for position, number in enumerate(group):  # answers: [steps, tasks, m, H, W]
                true, predicted = batch.query_y[position], answers[:, position]
                if chosen.labels == "task":
                    names = np.array([index[name] for name in chosen.tasks[number].classes])
                    true, predicted = np.where(true >= 0, names[true], -1), names[predicted]
                for step in range(len(steps)):
                    counts[step, number] = task_confusion(true, predicted[step], classes)
        return Outcome(tuple(steps), overall_accuracy(counts), at, counts=counts)

    def scores(self, outcome: Outcome, at: int) -> dict[str, Array]:
        """Return accuracy, mean IoU and kappa of single tasks."""
        counts = np.asarray(outcome.counts)[at]
        further = {"mean_iou": mean_iou(counts), "kappa": kappa(counts)}
        return super().scores(outcome, at) | further

    def size(self, chosen: TestTasks) -> Size:
        """Return the classes of the set, and the support windows of the first task."""
        shots, points = len(chosen.tasks[0].support), points_of(chosen)
        labelled = f", {points} labelled pixels a class in each" if points else ""
        return f"tasks of {shots} labelled windows{labelled}", len(chosen.region_set.classes), shots

    def region_figures(self, chosen: TestTasks, outcome: Outcome) -> RegionFigures:
        """Return the scores by region, and by class also the intersection over union."""
        found = super().region_figures(chosen, outcome)
        scores = iou_by_class(found.classes, np.asarray(outcome.counts)[outcome.at])
        by_class = {
            name: replace(row, iou=mean_and_interval(scores[name]), tasks=len(scores[name]))
            for name, row in found.by_class.items()
        }
        return replace(found, by_class=by_class, points=points_of(chosen))

    def confusion(self, chosen: TestTasks, outcome: Outcome) -> Array:
        """Return the pixels [true class, predicted class] of all tasks."""
        return np.asarray(outcome.counts)[outcome.at].sum(axis=0)


def points_of(chosen: TestTasks) -> int:
    """Return the labelled pixels of each class in each support window of the first task; 0 for all."""
    pixels = chosen.tasks[0].pixels
    return pixels.points if pixels else 0


def task_confusion(true: Array, predicted: Array, classes: int) -> Array:
    """Count pixels by true and predicted class.

    Args:
        true: [...] int, negative where ignored.
        predicted: [...] int, class 0..classes-1.
        classes: Number of classes.

    Returns:
        [true class, predicted class] int64.
    """
    counted = true >= 0
    pairs = true[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def overall_accuracy(counts: Array) -> Array:
    """Return the share of right pixels, [...], from counts [..., true class, predicted class]; NaN without any."""
    return _share(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def class_iou(counts: Array) -> Array:
    """Return each class's intersection over union, [..., classes]; NaN where it is neither true nor predicted."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _share(hits, counts.sum(axis=-1) + counts.sum(axis=-2) - hits)


def mean_iou(counts: Array) -> Array:
    """Return the mean intersection over union, [...], over the classes that occur, true or predicted, in a task."""
    scores = class_iou(counts)
    return _share(np.nansum(scores, axis=-1), np.isfinite(scores).sum(axis=-1))


def kappa(counts: Array) -> Array:
    """Return Cohen's kappa, [...]; NaN where all pixels are, and are predicted as, one class."""
    total = counts.sum(axis=(-2, -1))
    chance = _share((counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1), total.astype(float) ** 2)
    return _share(overall_accuracy(counts) - chance, 1 - chance)


def iou_by_class(classes: Sequence[str], counts: Array) -> dict[str, Array]:
    """Return, for each class that is somewhere true in `counts` [tasks, true class, predicted class], its IoU there."""
    scores, true = class_iou(counts), counts.sum(axis=-1) > 0
    return {name: scores[true[:, i], i] for i, name in enumerate(classes) if true[:, i].any()}


def _share(part: Array, whole: Array) -> Array:
    """Divide, with NaN where there is nothing to divide by."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)
