"""A meta-batch: the same for each of its tasks, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fewshot.errors import ShapeError

MOST_SIDE_BY_SIDE = 8
"""More tasks than this in one meta-batch run in a loop of the graph, whose turns may overlap."""


def over_tasks(one: Callable[..., Any], inputs: Sequence[tf.Tensor]) -> Any:
    """Apply `one` to each task of a meta-batch and stack what it returns.

    Up to `MOST_SIDE_BY_SIDE` tasks are independent calls of one traced function: the graph runs several at a time,
    each with ordinary convolutions, which is the fastest way on CPU (docs/results.md). TensorFlow prepares every
    call anew, so a larger or unknown number of tasks is one call in a loop, to keep the start short.
    """
    tasks = inputs[0].shape[0]
    if tasks is not None and tasks <= MOST_SIDE_BY_SIDE:
        results = [one([x[task] for x in inputs]) for task in range(tasks)]
        return tf.nest.map_structure(lambda *parts: tf.stack(parts), *results)
    return in_a_loop(one, inputs)


def in_a_loop(one: Callable[..., Any], inputs: Sequence[tf.Tensor], *, side_by_side: int = 10) -> Any:
    """Apply `one` to each row of the inputs in a loop of the graph, and stack what it returns.

    Args:
        one: Given one row of each input.
        inputs: Of as many rows each.
        side_by_side: Turns of the loop that may run at a time.
    """
    probe = tf.function(one).get_concrete_function([tf.TensorSpec(x.shape[1:], x.dtype) for x in inputs])
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), probe.structured_outputs)
    return tf.map_fn(one, list(inputs), fn_output_signature=specs, parallel_iterations=side_by_side)


def check_tasks(inputs: Sequence[tf.Tensor]) -> None:
    """Refuse inputs `[tasks, ...]` of different numbers of tasks.

    Raises:
        ShapeError: if they differ.
    """
    tasks = {x.shape[0] for x in inputs if x.shape[0] is not None}
    if len(tasks) > 1:
        raise ShapeError(f"Support and query must hold the same number of tasks; received {sorted(tasks)}.")
