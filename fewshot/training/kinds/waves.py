"""Tasks of sine waves: numbers are predicted, and no data is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import ArrayStore, RegionSet
from fewshot.data.source import Source
from fewshot.data.sources.sine import Sine
from fewshot.errors import RecipeError
from fewshot.tasks.sources import SineTasks
from fewshot.tasks.stream import stream
from fewshot.tasks.task import TaskBatch, TaskSource
from fewshot.training.kinds.figures import Column, Outcome, Yardstick
from fewshot.training.kinds.kind import TUNING_TASKS, VALIDATION_SEED, Kind, Problem, Size
from fewshot.training.kinds.under_test import TASKS_AT_ONCE, TEST_SEED, Predict, Request, TestTasks
from fewshot.training.recipe_tables import TasksTable, TrainingTable

PRETRAINING_BATCH = 64
TUNING_QUERIES, TUNING_SEED = 50, 7
NO_REGIONS = RegionSet("sine waves", ArrayStore((), np.zeros([0, 1, 1, 1], np.float32)), (), ())


@dataclass(frozen=True)
class TestWaves(TestTasks):
    """Waves under test, drawn by seed when they are needed."""

    shots: int = 1
    queries: int = 1
    count: int = 0
    seed: int = 0
    waves: Sine = field(default_factory=Sine)

    def __len__(self) -> int:
        """Return the number of waves."""
        return self.count

    def save(self, path: Path) -> None:
        """Write nothing: the seed gives the same waves again."""

    def batches(self) -> Iterator[tuple[list[int], TaskBatch]]:
        """Yield waves to predict together: their numbers and their values."""
        source = SineTasks(self.shots, self.queries, self.waves)
        for first in range(0, self.count, TASKS_AT_ONCE):
            numbers = list(range(first, min(first + TASKS_AT_ONCE, self.count)))
            yield numbers, source.draw(np.random.default_rng([TEST_SEED + self.seed, first]), len(numbers))


@dataclass(frozen=True)
class Waves(Kind):
    """Tasks of sine waves, measured by the mean squared error of the queries.

    Attributes:
        waves: Their ranges.
    """

    waves: Sine = field(default_factory=Sine)

    yardstick: ClassVar[Yardstick] = Yardstick(
        (Column("mean squared error", "loss", percent=False),), score="loss", smaller_is_better=True
    )
    monitored: ClassVar[str] = "val_loss"
    targets: ClassVar[int] = 1
    made_up: ClassVar[Mapping[str, RegionSet]] = dict.fromkeys(("train", "validation", "test"), NO_REGIONS)
    baselines_by_shots: ClassVar[bool] = False

    @classmethod
    def of(cls, tasks: TasksTable, source: Source) -> Self:
        """Return the kind of waves that the source describes."""
        return cls(tasks, source if isinstance(source, Sine) else Sine())

    @property
    def shots(self) -> int:
        """Support points of a wave, as trained."""
        return int(np.max(self.tasks.shots))

    def problem(self, region_set: RegionSet) -> Problem:
        """Return what there is to fit: one number for one number."""
        return Problem((self.waves.inputs,), self.targets, loss="squared_error")

    def training_source(self, train: RegionSet) -> TaskSource:
        """Return new waves."""
        if not isinstance(self.tasks.shots, int):
            raise RecipeError("Sine tasks have one number of shots.")
        return SineTasks(self.tasks.shots, self.tasks.queries, self.waves)

    def validation(self, part: RegionSet, training: TrainingTable, file: Path) -> tf.data.Dataset:
        """Return waves drawn by a seed of their own; no file is needed."""
        size = training.meta_batch_size
        count = max(training.validation_tasks // size, 1)
        source = SineTasks(self.shots, self.tasks.validation_queries, self.waves)
        return stream(source, meta_batch_size=size, seed=VALIDATION_SEED).take(count).cache()

    def outer_loss(self, training: TrainingTable) -> keras.losses.Loss:
        """Return the mean squared error of the queries."""
        return keras.losses.MeanSquaredError()

    def fit_metrics(self) -> list[keras.metrics.Metric]:
        """Return nothing: the loss says it all."""
        return []

    def labelled_examples(self, train: RegionSet) -> tuple[int, TaskSource]:
        """Return points of waves mixed together."""
        return self.targets, SineTasks(1, PRETRAINING_BATCH, self.waves)

    def tuning_tasks(self, part: RegionSet, training: TrainingTable) -> TestTasks:
        """Return waves drawn by a seed of their own."""
        return self._drawn(part, self.shots, TUNING_QUERIES, TUNING_TASKS, TUNING_SEED)

    def choose(self, tested: RegionSet, request: Request, shots: int | None) -> TestTasks:
        """Draw waves by seed; there are no bands, ways or lists to choose."""
        return self._drawn(tested, shots or self.shots, self.tasks.validation_queries, request.tasks, request.seed)

    def _drawn(self, part: RegionSet, shots: int, queries: int, count: int, seed: int) -> TestWaves:
        return TestWaves(part, shots=shots, queries=queries, count=count, seed=seed, waves=self.waves)

    def shots_in_table(self, asked: tuple[int, ...]) -> tuple[int, ...]:
        """Return all numbers of shots, the one trained with if none was asked for."""
        return asked or (self.shots,)

    def measure(self, predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
        """Let one method predict every wave; scores are mean squared errors."""
        errors = []
        for _, batch in chosen.batches():
            outputs = predict(batch[:3]).numpy()  # [steps, tasks, m, 1]
            errors.append(((outputs - batch.query_y[None]) ** 2).mean(axis=(2, 3)))
        return Outcome(tuple(steps), np.concatenate(errors, axis=1), at)

    def size(self, chosen: TestTasks) -> Size:
        """Return the support points of the waves."""
        _, batch = next(chosen.batches())
        shots = batch.support_x.shape[1]
        return f"{shots}-shot tasks", None, shots
