"""Tasks of labelled images: each image has one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.meta.nearest import nearest_neighbour
from fewshot.tasks.sources import FixedTasks, Mixture, RegionTasks
from fewshot.tasks.task import TaskSource, TaskSpec
from fewshot.training.kinds.figures import Array, Outcome, Yardstick
from fewshot.training.kinds.kind import LabelledExamples, RegionKind, Size
from fewshot.training.kinds.under_test import Predict, TestTasks

PRETRAINING_BATCH = 64
CLASSES_SHOWN = 30
"""More classes than this have no confusion matrix and no table."""


class Images(RegionKind):
    """Tasks of labelled images, measured by the share of queries that are right."""

    yardstick: ClassVar[Yardstick] = Yardstick()
    monitored: ClassVar[str] = "val_accuracy"

    def evaluation_spec(self) -> TaskSpec:
        """Return the specification of validation and test tasks."""
        return TaskSpec(
            self.tasks.ways,
            self.tasks.shots,
            self.tasks.validation_queries,
            labels=self.tasks.labels,
            disjoint_sources=self.tasks.disjoint_sources,
            within_region=self.tasks.evaluation_within_region,
        )

    def require_ways(self, outputs: int | None, ways: int | None) -> None:
        """Refuse other ways where a head numbers a task's classes."""
        own = self.tasks.ways
        if outputs is not None and self.tasks.labels == "task" and ways not in (None, own):
            raise RecipeError(
                f"The run's head knows {own} classes a task; --ways {ways} needs a head for any number of "
                "classes. Train with --set learner.head=prototype or --set learner.head=shared."
            )

    def training_source(self, train: RegionSet) -> TaskSource:
        """Return new tasks, the source's own, or a mixture of both."""
        tasks = self.tasks
        spec = replace(self.evaluation_spec(), queries=tasks.queries, within_region=tasks.within_region)
        if tasks.fixed_share == 0:
            return RegionTasks(train, spec)
        fixed = FixedTasks(train, swap=tasks.swap, labels=tasks.labels)
        if tasks.fixed_share >= 1:
            return fixed
        return Mixture([(fixed, tasks.fixed_share), (RegionTasks(train, spec), 1 - tasks.fixed_share)])

    def labelled_examples(self, train: RegionSet) -> tuple[int, TaskSource]:
        """Return images with the number of their class: in the whole set where that means the same everywhere."""
        names: Sequence[str] = train.classes
        if self.tasks.labels == "task":
            names = sorted({name for region in train.regions for name in region.class_names})
        number = {name: i for i, name in enumerate(names)}
        labels = [np.array([number[name] for name in region.class_names])[region.labels] for region in train.regions]
        images = np.concatenate([region.images for region in train.regions])
        of_images = np.concatenate(labels).astype(np.int32)
        return len(names), LabelledExamples(train.store, images, lambda chosen: of_images[chosen], PRETRAINING_BATCH)

    def nearest(self, inputs: Sequence[Any]) -> tf.Tensor:
        """Give each query image the class of the support image whose pixels are nearest."""
        support_x, support_y, query_x = inputs
        return nearest_neighbour(support_x, support_y, query_x, int(tf.reduce_max(support_y)) + 1)[None]

    def measure(self, predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
        """Let one method predict every task."""
        scores = np.zeros([len(steps), len(chosen)])
        predictions: list[Array] = [np.zeros(0)] * len(chosen)
        for group, batch in chosen.batches():
            answers = tf.argmax(predict(batch[:3]), axis=-1).numpy()  # [steps, tasks, m]
            scores[:, group] = (answers == batch.query_y[None]).mean(axis=-1)
            for position, number in enumerate(group):
                predictions[number] = answers[at, position]
        return Outcome(tuple(steps), scores, at, predictions)

    def size(self, chosen: TestTasks) -> Size:
        """Return the classes of the first task and the support images of each."""
        task = chosen.tasks[0]
        counts = [int((task.support_y == label).sum()) for label in range(len(task.classes))]
        shots = counts[0] if len(set(counts)) == 1 else counts
        return f"{len(task.classes)}-way {shots}-shot tasks", len(task.classes), shots

    def confusion(self, chosen: TestTasks, outcome: Outcome) -> Array | None:
        """Return counts [true class, predicted class], or None where the classes are too many to show."""
        classes = chosen.region_set.classes
        if len(classes) > CLASSES_SHOWN:
            return None
        index = {name: i for i, name in enumerate(classes)}
        counts = np.zeros([len(classes), len(classes)], int)
        for task, answers in zip(chosen.tasks, outcome.predictions, strict=True):
            names = np.array([index[name] for name in task.classes])
            predicted = answers if chosen.labels == "global" else names[answers]
            np.add.at(counts, (names[task.query_y], predicted), 1)
        return counts
