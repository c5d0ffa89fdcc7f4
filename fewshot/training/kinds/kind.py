"""What a kind of task is: everything that training and evaluation do differently for images, pixels and waves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.bands import StoredBand
from fewshot.data.region import ImageStore, KeptBands, RegionSet, Task
from fewshot.data.source import Source
from fewshot.tasks.sampler import AnySpec, sample_tasks
from fewshot.tasks.stream import batches
from fewshot.tasks.task import TaskBatch, TaskSource, read_tasks, write_tasks
from fewshot.training.kinds.figures import (
    Array,
    ClassRow,
    Compared,
    Interval,
    Outcome,
    RegionFigures,
    Yardstick,
    mean_and_interval,
)
from fewshot.training.kinds.losses import LabelledAccuracy, task_loss
from fewshot.training.kinds.under_test import TEST_SEED, Predict, Request, TestTasks, fewer_shots
from fewshot.training.recipe_tables import TasksTable, TrainingTable

VALIDATION_SEED = 1_000_003
"""Seeds the tasks of validation, apart from those of training."""
TUNING_TASKS = 100
"""Validation tasks, at most, that choose a baseline's fine-tuning rate."""

Size = tuple[str, int | None, int | list[int]]
"""The size of tasks under test: in words, and the classes and support examples of the first."""


@dataclass(frozen=True)
class Problem:
    """What the learner has to fit.

    Attributes:
        input_shape: Of one example.
        outputs: Classes, or targets of regression.
        shots: Support examples of a class, at most.
        loss: Of the inner loop.
        per_pixel: Each pixel has a class of its own.
        bands: Of a picture, as far as they are named.
    """

    input_shape: tuple[int, ...]
    outputs: int
    shots: int = 1
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    per_pixel: bool = False
    bands: tuple[StoredBand, ...] = ()


@dataclass(frozen=True)
class LabelledExamples:
    """Draws examples with their labels as the queries of tasks, so that `stream` serves classification too.

    Attributes:
        store: Of the examples.
        images: Their numbers in it.
        labels_of: From positions in `images` to labels.
        size: Examples drawn for a task.
    """

    store: ImageStore
    images: Array
    labels_of: Callable[[Array], Array]
    size: int

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `tasks` tasks."""
        chosen = rng.integers(len(self.images), size=(tasks, self.size))
        pixels = np.stack([self.store.read(self.images[row]) for row in chosen])
        labels = np.stack([self.labels_of(row) for row in chosen])
        return TaskBatch(pixels[:, :1], labels[:, :1], pixels, labels)


@dataclass(frozen=True)
class Kind(ABC):
    """A kind of task, of one recipe.

    Attributes:
        tasks: The recipe's.
        yardstick: What the tasks are measured by.
        monitored: The figure of `fit` that chooses the best weights; a loss is better when smaller.
        targets: Numbers that a query asks for; 0 where it asks for a class.
        made_up: Parts that stand for regions, of tasks that no data is read for; empty where data is read.
        baselines_by_shots: Whether baselines are measured with every number of shots.
    """

    tasks: TasksTable
    yardstick: ClassVar[Yardstick]
    monitored: ClassVar[str]
    targets: ClassVar[int] = 0
    made_up: ClassVar[Mapping[str, RegionSet]] = {}
    baselines_by_shots: ClassVar[bool] = True

    @classmethod
    def of(cls, tasks: TasksTable, source: Source) -> Self:
        """Return the kind of a recipe's tasks; most need nothing of their source."""
        del source
        return cls(tasks)

    # What is trained.

    @abstractmethod
    def problem(self, region_set: RegionSet) -> Problem:
        """Return what there is to fit in tasks of these regions."""

    @abstractmethod
    def training_source(self, train: RegionSet) -> TaskSource:
        """Return what training draws its tasks from.

        Raises:
            RecipeError: if the recipe asks for tasks that this kind has not.
            TaskError: if the regions are too small.
        """

    @abstractmethod
    def validation(self, part: RegionSet, training: TrainingTable, file: Path) -> tf.data.Dataset:
        """Return the frozen tasks of every validation, in meta-batches.

        Args:
            part: Regions to validate on.
            training: How many tasks, in meta-batches of which size.
            file: Holds the frozen list; written the first time.
        """

    def require_consistent(self, split: str, head: str) -> None:  # noqa: B027 (most kinds refuse nothing)
        """Refuse a split of the data, or a head, that tasks of this kind cannot have.

        Raises:
            RecipeError: if they cannot.
        """

    def outer_loss(self, training: TrainingTable) -> keras.losses.Loss:
        """Return the loss of the queries."""
        return task_loss(training.objective, label_smoothing=training.label_smoothing, balanced=training.balanced)

    def fit_metrics(self) -> list[keras.metrics.Metric]:
        """Return what `fit` shows beside the loss."""
        return [LabelledAccuracy(name="accuracy")]

    # What is pre-trained, as a baseline.

    @abstractmethod
    def labelled_examples(self, train: RegionSet) -> tuple[int, TaskSource]:
        """Return the outputs of pre-training, and a source of its examples: the queries of tasks of one batch each."""

    @abstractmethod
    def tuning_tasks(self, part: RegionSet, training: TrainingTable) -> TestTasks:
        """Return the validation tasks that choose a baseline's fine-tuning rate."""

    def examples_a_task(self) -> int:
        """Return how many examples a training task has."""
        return self.tasks.ways * (int(np.max(self.tasks.shots)) + self.tasks.queries)

    def nearest(self, inputs: Sequence[Any]) -> tf.Tensor:
        """Predict by the nearest neighbour among the support's pixels; only where tasks ask for classes."""
        raise NotImplementedError

    # What is measured.

    @abstractmethod
    def choose(self, tested: RegionSet, request: Request, shots: int | None) -> TestTasks:
        """Choose the tasks of an evaluation.

        Args:
            tested: Their regions.
            request: What was asked for.
            shots: One number of it; the recipe's if None.
        """

    def require_ways(self, outputs: int | None, ways: int | None) -> None:  # noqa: B027 (most heads take any number)
        """Refuse numbers of classes that a head of so many outputs (None for any) cannot tell apart.

        Raises:
            RecipeError: if it cannot.
        """

    def shots_in_table(self, asked: tuple[int, ...]) -> tuple[int, ...]:
        """Return the numbers of shots that the table by shots shows."""
        return asked if len(asked) > 1 else ()

    @abstractmethod
    def measure(self, predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
        """Let one method predict every task.

        Args:
            predict: The method.
            chosen: The tasks.
            steps: The numbers of inner steps that it predicts after.
            at: Index in `steps` of its own.
        """

    def scores(self, outcome: Outcome, at: int) -> dict[str, Array]:
        """Return the figures [tasks] of single tasks, by key, after `outcome.steps[at]` inner steps."""
        return {self.yardstick.score: outcome.scores[at]}

    def figures(self, outcome: Outcome) -> dict[str, Interval]:
        """Return the figures at the method's own number of steps."""
        return {key: mean_and_interval(values) for key, values in self.scores(outcome, outcome.at).items()}

    def compare(self, ours: Outcome, other: Outcome) -> Compared:
        """Return a baseline's figures, and the mean difference of ours to it, task by task."""
        left, right = self.scores(ours, ours.at), self.scores(other, other.at)
        return Compared(
            self.figures(other),
            other.steps[other.at],
            {key: mean_and_interval(left[key] - right[key]) for key in self.yardstick.compared},
            other.per_task.tolist(),
        )

    @abstractmethod
    def size(self, chosen: TestTasks) -> Size:
        """Return the size of the tasks."""

    def region_figures(self, chosen: TestTasks, outcome: Outcome) -> RegionFigures | None:
        """Return what only tasks of regions have."""
        return None


class RegionKind(Kind):
    """A kind whose tasks are drawn from regions of data; `per_pixel` says whether each pixel has a class of its own."""

    per_pixel: ClassVar[bool] = False

    def problem(self, region_set: RegionSet) -> Problem:
        """Return what there is to fit in tasks of these regions."""
        outputs = len(region_set.classes) if self.tasks.labels == "global" else self.tasks.ways
        store = region_set.store
        shots = int(np.max(self.tasks.shots))
        return Problem(store.shape, outputs, shots, per_pixel=self.per_pixel, bands=tuple(store.bands))

    @abstractmethod
    def evaluation_spec(self) -> AnySpec:
        """Return the specification of validation and test tasks.

        Raises:
            RecipeError: if the recipe asks for tasks that this kind has not.
        """

    def validation(self, part: RegionSet, training: TrainingTable, file: Path) -> tf.data.Dataset:
        """Return the frozen tasks of every validation, as `Kind.validation` says."""
        if file.exists():
            tasks = read_tasks(file, part)
        else:
            tasks = self.validation_tasks(part, training)
            write_tasks(file, part, tasks)
        size = training.meta_batch_size
        whole = max(len(tasks) // size, 1) * size
        return batches(part, tasks[:whole], meta_batch_size=size, labels=self.tasks.labels).cache()

    def validation_tasks(self, part: RegionSet, training: TrainingTable) -> tuple[Task, ...]:
        """Choose the validation tasks: the source's own where training uses those, else drawn; of all regions."""
        wanted = max(training.validation_tasks, training.meta_batch_size)
        if self.tasks.fixed_share > 0 and part.fixed_tasks:
            order = np.random.default_rng(VALIDATION_SEED).permutation(len(part.fixed_tasks))
            return tuple(part.fixed_tasks[i] for i in order[:wanted])
        return sample_tasks(part, self.evaluation_spec(), wanted, seed=VALIDATION_SEED)

    def tuning_tasks(self, part: RegionSet, training: TrainingTable) -> TestTasks:
        """Return the first of the validation tasks."""
        return TestTasks(part, self.validation_tasks(part, training)[:TUNING_TASKS])

    def choose(self, tested: RegionSet, request: Request, shots: int | None) -> TestTasks:
        """Choose the tasks: a frozen list, the data's own fixed tasks, or tasks drawn by seed."""
        labels = self.tasks.labels
        if request.bands:
            tested = replace(tested, store=KeptBands(tested.store, request.bands))
        if request.task_list is not None:
            return TestTasks(tested, read_tasks(request.task_list, tested), labels, fixed=True)
        if tested.fixed_tasks and request.ways is None:
            tasks = tested.fixed_tasks
            if shots is not None:
                tasks = tuple(fewer_shots(task, shots) for task in tasks)
            return TestTasks(tested, tasks, labels, fixed=True)
        asked: dict[str, Any] = {key: number for key, number in (("ways", request.ways), ("shots", shots)) if number}
        spec = replace(self.evaluation_spec(), **asked)
        return TestTasks(tested, sample_tasks(tested, spec, request.tasks, seed=TEST_SEED + request.seed), labels)

    def region_figures(self, chosen: TestTasks, outcome: Outcome) -> RegionFigures:
        """Return the scores by region, and by class where the classes are few."""
        names = np.array([task.region for task in chosen.tasks])
        by_region = {
            name: (mean_and_interval(outcome.per_task[names == name]), int((names == name).sum()))
            for name in sorted(set(names))
        }
        classes, counts = chosen.region_set.classes, self.confusion(chosen, outcome)
        by_class = {} if counts is None else _by_class(classes, counts)
        return RegionFigures(chosen.fixed, chosen.region_set.skipped, by_region, classes, counts, by_class)

    @abstractmethod
    def confusion(self, chosen: TestTasks, outcome: Outcome) -> Array | None:
        """Return counts [true class, predicted class], or None where the classes are too many to show."""


def _by_class(classes: Sequence[str], counts: Array) -> dict[str, ClassRow]:
    """Return recall and precision of each class that occurs."""
    table = {}
    for i, name in enumerate(classes):
        true, predicted = int(counts[i].sum()), int(counts[:, i].sum())
        if true:
            precision = counts[i, i] / predicted if predicted else float("nan")
            table[name] = ClassRow(counts[i, i] / true, precision, true)
    return table
