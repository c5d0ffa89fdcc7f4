"""Meta-batches as `tf.data`.

Batch `i` depends on the seed and on `i` only, so that an interrupted stream continues exactly.
"""

import atexit
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet, Task
from fewshot.errors import ShapeError, TaskError
from fewshot.tasks.task import Labels, TaskBatch, TaskSource, gather

Augment = Callable[[TaskBatch, Any], TaskBatch]
"""From a batch of tensors and a seed [2] int64 to a batch of the same shapes."""

Parts = tuple[Any, ...]


class _Exit:
    """Lets the draws that run ahead of their use finish before the interpreter goes.

    A `tf.data` pipeline that is in the middle of a Python function when Python shuts down waits for the
    interpreter lock for ever, and the program never ends.
    """

    def __init__(self) -> None:
        self._closing = False
        self._running: set[int] = set()
        self._last = -math.inf
        atexit.register(self._settle)

    def guard(self, draw: Callable[[np.int64], Parts], stand_in: Parts) -> Callable[[np.int64], Parts]:
        """Return `draw`, which at exit gives `stand_in` at once: nobody will see it."""

        def guarded(number: np.int64) -> Parts:
            thread = threading.get_ident()
            self._running.add(thread)
            try:
                return stand_in if self._closing else draw(number)
            finally:
                self._last = time.monotonic()
                self._running.discard(thread)

        return guarded

    def _settle(self, quiet: float = 0.5, longest: float = 30.0) -> None:
        """Wait until no draw has run for `quiet` seconds, `longest` seconds at most."""
        self._closing = True
        deadline = time.monotonic() + longest
        while time.monotonic() < deadline and (self._running or time.monotonic() < self._last + quiet):
            time.sleep(0.02)


_EXIT = _Exit()


def stream(  # noqa: PLR0913  the interface of every training job
    source: TaskSource,
    *,
    meta_batch_size: int,
    seed: int,
    start: int = 0,
    augment: Augment | None = None,
    prefetch: int = 2,
) -> tf.data.Dataset:
    """Stream meta-batches without end.

    Args:
        source: Draws the tasks.
        meta_batch_size: Tasks in a meta-batch.
        seed: Of every draw. Batch `i` is drawn from `default_rng([seed, i])` and augmented with seed [seed, i].
        start: Number of the first batch: a stream interrupted after `k` batches continues with `start=k`.
        augment: Changes the images, for training.
        prefetch: Batches made ahead of their use.

    Returns:
        Elements ((support_x, support_y, query_x), query_y), all axes known.

    Raises:
        TaskError: if a number is out of range, or no task can be drawn.
    """
    if meta_batch_size < 1 or start < 0 or seed < 0:
        raise TaskError(
            "a stream needs meta_batch_size >= 1, seed >= 0 and start >= 0; received"
            f" {meta_batch_size}, {seed} and {start}"
        )

    def draw(number: np.int64) -> Parts:
        return tuple(source.draw(np.random.default_rng([seed, int(number)]), meta_batch_size))

    def change(batch: TaskBatch, number: tf.Tensor) -> TaskBatch:
        return batch if augment is None else augment(batch, tf.stack([tf.constant(seed, tf.int64), number]))

    numbers = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
    return _map(numbers, draw, draw(np.int64(start)), meta_batch_size, change).prefetch(prefetch)


def batches(
    region_set: RegionSet, tasks: Sequence[Task], *, meta_batch_size: int, labels: Labels = "task"
) -> tf.data.Dataset:
    """Stream a given list of tasks once, in order, unchanged; the last meta-batch may be smaller than the others.

    Args:
        region_set: Whose images the tasks refer to.
        tasks: Of one support size and one query size.
        meta_batch_size: Tasks in a meta-batch.
        labels: "task" or "global".

    Returns:
        Elements ((support_x, support_y, query_x), query_y); the first axis is known if all meta-batches are whole.

    Raises:
        ShapeError: if the tasks differ in size, or there is none.
        TaskError: if a task has a class that the set has not.
    """
    sizes = {(len(task.support), len(task.query)) for task in tasks}
    if len(sizes) != 1:
        raise ShapeError(f"a list of tasks to stream needs one support and one query size, received {sorted(sizes)}")

    def read(first: np.int64) -> Parts:
        return tuple(gather(region_set, tasks[int(first) : int(first) + meta_batch_size], labels=labels))

    firsts = tf.data.Dataset.range(0, len(tasks), meta_batch_size)
    size = None if len(tasks) % meta_batch_size else meta_batch_size
    return _map(firsts, read, tuple(gather(region_set, tasks[:1], labels=labels)), size).prefetch(2)


def _map(
    numbers: tf.data.Dataset,
    draw: Callable[[np.int64], Parts],
    probe: Parts,
    size: int | None,
    change: Callable[[TaskBatch, tf.Tensor], TaskBatch] = lambda batch, _: batch,
) -> tf.data.Dataset:
    """Map numbers to what `draw` makes of them, in order: parts like `probe`, of `size` tasks, changed by `change`."""
    types = [tf.as_dtype(part.dtype) for part in probe]
    guarded = _EXIT.guard(draw, probe)

    def element(number: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
        parts = tf.numpy_function(guarded, [number], types, stateful=False)
        for part, known in zip(parts, probe, strict=True):
            part.set_shape([size, *known.shape[1:]])
        batch = change(TaskBatch(*parts), number)
        return (batch.support_x, batch.support_y, batch.query_x), batch.query_y

    # No part of it branches on a tensor in Python, so there is nothing to convert, which would take seconds.
    plain = tf.autograph.experimental.do_not_convert(element)
    return numbers.map(plain, num_parallel_calls=2, deterministic=True)
