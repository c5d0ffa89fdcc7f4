"""A meta-batch: the same for each of its tasks, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fewshot.errors import ShapeError

MOST_SIDE_BY_SIDE = 8
"""More tasks than this in one meta-batch run in groups."""
IN_GROUP = 2
"""Tasks in a group; several groups run at a time."""


def over_tasks(one: Callable[..., Any], inputs: Sequence[tf.Tensor]) -> Any:
    """Apply `one` to each task of a meta-batch and stack what it returns.

    Up to `MOST_SIDE_BY_SIDE` tasks are independent calls of one traced function: the graph runs several at a time,
    each with ordinary convolutions, which is the fastest way on CPU (docs/results.md). TensorFlow optimises every
    call anew, so a larger or unknown number of tasks goes through `tf.map_fn` in groups, to keep the start short.
    """
    tasks = inputs[0].shape[0]

    def group(members: Sequence[tf.Tensor]) -> Any:
        results = [one([x[task] for x in members]) for task in range(members[0].shape[0])]
        return tf.nest.map_structure(lambda *parts: tf.stack(parts), *results)

    if tasks is not None and tasks <= MOST_SIDE_BY_SIDE:
        return group(inputs)
    size = 1 if tasks is None or tasks % IN_GROUP else IN_GROUP
    grouped = [tf.reshape(x, tf.concat([[-1, size], tf.shape(x)[1:]], 0)) for x in inputs]
    for x, original in zip(grouped, inputs, strict=True):
        x.set_shape([None, size, *original.shape[1:]])
    probe = tf.function(group).get_concrete_function([tf.TensorSpec(x.shape[1:], x.dtype) for x in grouped])
    outputs = tf.map_fn(
        group,
        grouped,
        fn_output_signature=tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), probe.structured_outputs),
    )
    return tf.nest.map_structure(lambda t: tf.reshape(t, tf.concat([[-1], tf.shape(t)[2:]], 0)), outputs)


def check_tasks(inputs: Sequence[tf.Tensor]) -> None:
    """Refuse inputs `[tasks, ...]` of different numbers of tasks.

    Raises:
        ShapeError: if they differ.
    """
    tasks = {x.shape[0] for x in inputs if x.shape[0] is not None}
    if len(tasks) > 1:
        raise ShapeError(f"Support and query must hold the same number of tasks; received {sorted(tasks)}.")
