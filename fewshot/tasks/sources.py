"""Sources of meta-batches: where a stream's tasks come from."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fewshot.data.region import RegionSet, Task
from fewshot.data.sources.sine import Sine, draw_sines
from fewshot.errors import ShapeError, TaskError
from fewshot.tasks.sampler import AnySpec, make_sampler
from fewshot.tasks.task import Labels, TaskBatch, TaskSource, gather


class RegionTasks:
    """New tasks, drawn from the images of the regions."""

    def __init__(self, region_set: RegionSet, spec: AnySpec) -> None:
        """Prepare to draw.

        Raises:
            TaskError: if no region is large enough for `spec`.
        """
        self._set = region_set
        self._sampler = make_sampler(region_set, spec)

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `tasks` tasks."""
        drawn = [self._sampler.sample(rng) for _ in range(tasks)]
        return gather(self._set, drawn, labels=self._sampler.spec.labels)


class FixedTasks:
    """The tasks that the source itself defines, in random order, for training.

    To evaluate them as they are, in their order, use `fewshot.tasks.stream.batches`.
    """

    def __init__(self, region_set: RegionSet, *, swap: bool = False, labels: Labels = "task") -> None:
        """Prepare to draw.

        Args:
            region_set: With fixed tasks of one shape.
            swap: Let support and query change places in half of the draws.
            labels: "task" gives a task's classes new labels in every draw, "global" the set's own.

        Raises:
            TaskError: if there are no fixed tasks, they differ in shape, or cannot be swapped.
        """
        sizes = {(len(task.support), len(task.query)) for task in region_set.fixed_tasks}
        if not sizes:
            raise TaskError(f"{region_set.name} defines no tasks of its own; draw new ones from its regions")
        if len(sizes) > 1:
            raise TaskError(f"the fixed tasks of {region_set.name} differ in (support, query) size: {sorted(sizes)}")
        support, query = next(iter(sizes))
        if swap and support != query:
            raise TaskError(f"cannot swap {support} support images with {query} queries: set swap = false")
        self._set, self._swap, self._labels = region_set, swap, labels

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `tasks` of the fixed tasks, with replacement."""
        fixed = self._set.fixed_tasks
        drawn = [self._vary(fixed[i], rng) for i in rng.integers(len(fixed), size=tasks)]
        return gather(self._set, drawn, labels=self._labels)

    def _vary(self, task: Task, rng: np.random.Generator) -> Task:
        """Swap support and query, and renumber the classes, at random."""
        if self._swap and rng.random() < 0.5:
            task = replace(task, support=task.query, support_y=task.query_y, query=task.support, query_y=task.support_y)
        if self._labels == "global":
            return task
        number = rng.permutation(len(task.classes)).astype(np.int32)
        classes = tuple(task.classes[old] for old in np.argsort(number))
        return replace(task, classes=classes, support_y=number[task.support_y], query_y=number[task.query_y])


class Mixture:
    """Tasks of several sources, each task's source drawn by weight."""

    def __init__(self, parts: Sequence[tuple[TaskSource, float]]) -> None:
        """Mix (source, weight) pairs; weights need not sum to one.

        Raises:
            TaskError: if there is no part, or a weight is negative or all are zero.
        """
        weights = np.array([weight for _, weight in parts], np.float64)
        if not len(parts) or weights.min() < 0 or weights.sum() <= 0:
            raise TaskError(f"a mixture needs weights >= 0 with a positive sum, received {weights.tolist()}")
        self._sources = [source for source, _ in parts]
        self._shares = weights / weights.sum()

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `tasks` tasks.

        Raises:
            ShapeError: if the sources' tasks differ in shape.
        """
        counts = rng.multinomial(tasks, self._shares)
        drawn = [source.draw(rng, int(n)) for source, n in zip(self._sources, counts, strict=True) if n]
        shapes = {tuple(part.shape[1:] for part in batch) for batch in drawn}
        if len(shapes) > 1:
            raise ShapeError(f"the sources of a mixture draw tasks of different shapes: {sorted(shapes)}")
        order = rng.permutation(tasks)
        return TaskBatch(*(np.concatenate(part)[order] for part in zip(*drawn, strict=True)))


class SineTasks:
    """Sine waves; targets are float32 [tasks, n, 1]."""

    def __init__(self, shots: int, queries: int, waves: Sine | None = None) -> None:
        """Prepare to draw waves.

        Args:
            shots: Support examples of each.
            queries: Query examples of each.
            waves: Their ranges; those of Meta-SGD's table 1 if None.

        Raises:
            TaskError: if either is less than one.
        """
        if shots < 1 or queries < 1:
            raise TaskError(f"a sine task needs at least 1 shot and 1 query, received {shots} and {queries}")
        self._shots, self._queries, self._waves = shots, queries, waves

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `tasks` waves."""
        return TaskBatch(*draw_sines(rng, tasks, self._shots, self._queries, waves=self._waves))
