"""The tasks of an evaluation: what was asked for, and what is drawn for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet, Task
from fewshot.errors import TaskError
from fewshot.tasks.task import Labels, TaskBatch, gather, write_tasks

TEST_SEED = 2_000_003
"""Seeds the test tasks, apart from those of training and validation."""
TASKS_AT_ONCE = 4

Predict = Callable[[Sequence[Any]], tf.Tensor]
"""From the arrays support_x, support_y, query_x to logits `[steps, tasks, m, ..., classes]`."""


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        split: Part of the recipe's own split to draw from when no other data is named.
        tasks: How many tasks to draw; fixed tasks are all used.
        ways: Classes a task; the recipe's if None.
        shots: Support examples a class, several for a table by shots; the recipe's if empty.
        steps: Inner steps of the curve.
        seed: Of the drawn tasks.
        bands: Bands that the test regions have; the others are missing there. All of them if empty.
        task_list: A frozen task list to use instead of drawing.
        save_tasks: Where to write the tasks as a frozen list.
        settings: Changes of the run's recipe, as `change_after_training` takes them.
    """

    split: str = "test"
    tasks: int = 600
    ways: int | None = None
    shots: tuple[int, ...] = ()
    steps: tuple[int, ...] = (0, 1, 2, 5, 10)
    seed: int = 0
    bands: tuple[str, ...] = ()
    task_list: Path | None = None
    save_tasks: Path | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestTasks:
    """The tasks of an evaluation and the images they are made of."""

    region_set: RegionSet
    tasks: tuple[Task, ...] = ()
    labels: Labels = "task"
    fixed: bool = False

    __test__ = False  # not a test class, whatever its name begins with

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.tasks)

    def save(self, path: Path) -> None:
        """Freeze the tasks in a list."""
        write_tasks(path, self.region_set, self.tasks)

    def batches(self) -> Iterator[tuple[list[int], TaskBatch]]:
        """Yield tasks to predict together, of equal shape and a few at a time: their numbers and their arrays."""
        order: dict[tuple[int, ...], list[int]] = {}
        for number, task in enumerate(self.tasks):
            order.setdefault((len(task.support), len(task.query), len(task.classes)), []).append(number)
        for numbers in order.values():
            for first in range(0, len(numbers), TASKS_AT_ONCE):
                group = numbers[first : first + TASKS_AT_ONCE]
                yield group, gather(self.region_set, [self.tasks[i] for i in group], labels=self.labels)


def fewer_shots(task: Task, shots: int) -> Task:
    """Keep the first examples of each class of a fixed task.

    Raises:
        TaskError: if the task has fewer.
    """
    members = [np.flatnonzero(task.support_y == label) for label in range(len(task.classes))]
    most = min(map(len, members))
    if most < shots:
        raise TaskError(f"Fixed task {task.name or task.region} has {most} shots a class; {shots} were asked for.")
    chosen = np.sort(np.concatenate([part[:shots] for part in members]))
    return replace(task, support=task.support[chosen], support_y=task.support_y[chosen])
