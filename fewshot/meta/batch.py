"""A meta-batch: the same for each of its tasks, several at a time.

Of answers alone (`over_tasks`), or of a loss with its derivative (`mean_over_tasks`), which is taken of each task where
its loss is computed: a meta-update needs the memory of the few tasks that overlap and the graph of one task, there and
back, however many tasks a meta-batch has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import ShapeError

SIDE_BY_SIDE = 10
"""Turns of a loop over tasks that may overlap."""


def over_tasks(
    one: Callable[[list[tf.Tensor]], Any], inputs: Sequence[tf.Tensor], *, side_by_side: int = SIDE_BY_SIDE
) -> Any:
    """Apply `one` to each task of a meta-batch, or to each row of whatever else, and stack what it returns.

    Args:
        one: Given one row of each input.
        inputs: Of as many rows each.
        side_by_side: Turns of the loop that may run at a time.
    """
    if tf.executing_eagerly():
        results = [one([x[row] for x in inputs]) for row in range(inputs[0].shape[0])]
        return tf.nest.map_structure(lambda *parts: tf.stack(parts), *results)
    probe = tf.function(one).get_concrete_function([tf.TensorSpec(x.shape[1:], x.dtype) for x in inputs])
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), probe.structured_outputs)
    return tf.map_fn(one, list(inputs), fn_output_signature=specs, parallel_iterations=side_by_side)


def mean_over_tasks(
    one: Callable[[Any], tuple[tf.Tensor, list[tf.Tensor]]],
    inputs: Any,
    variables: Sequence[Any],
    *,
    kept: int,
    dtype: str,
    scale: tf.Tensor,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the mean over tasks of what `one` returns first, and what else it returns, stacked.

    The mean has a derivative in `variables` alone, the mean of each task's, which its own turn of the loop computes.

    Args:
        one: Given one task of `inputs`, returns a scalar and `kept` tensors that need no derivative.
        inputs: A nest of tensors [tasks, ...], or None.
        variables: What is meta-learned.
        kept: How many tensors `one` returns behind its scalar.
        dtype: Of the variables and of all that `one` returns.
        scale: Each derivative is computed of so many times the scalar: where half precision would lose small ones.
    """
    tasks = tf.shape(tf.nest.flatten(inputs)[0])[0]
    share, reached, shapes = 1 / tf.cast(tasks, dtype), [True] * len(variables), [tf.TensorShape(None)] * kept
    # No tape but the loop's own may see what they become, or TensorFlow would keep all that a second derivative needs.
    values = [tf.stop_gradient(tf.convert_to_tensor(variable)) for variable in variables]

    def turn(task: tf.Tensor, mean: tf.Tensor, sums: list[tf.Tensor], stacks: list[tf.TensorArray]) -> tuple[Any, ...]:
        begin = [tf.identity(value) for value in values]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(begin)
            with keras.StatelessScope(state_mapping=zip(variables, begin, strict=True)):
                loss, more = one(tf.nest.map_structure(lambda part: None if part is None else part[task], inputs))
            loss = share * tf.cast(loss, dtype)
            scaled = scale * loss
        found = tape.gradient(scaled, begin)
        reached[:] = [gradient is not None for gradient in found]
        shapes[:] = [value.shape for value in more]
        sums = [so_far if gradient is None else so_far + gradient for so_far, gradient in zip(sums, found, strict=True)]
        return task + 1, mean + loss, sums, [stack.write(task, x) for stack, x in zip(stacks, more, strict=True)]

    zeros = [tf.zeros(variable.shape, dtype) for variable in variables]
    begin = (tf.constant(0), tf.zeros([], dtype), zeros, [tf.TensorArray(dtype, size=tasks) for _ in range(kept)])
    _, mean, sums, stacks = tf.while_loop(lambda task, *_: task < tasks, turn, begin, parallel_iterations=SIDE_BY_SIDE)
    stacked = [tf.ensure_shape(stack.stack(), [None, *shape]) for stack, shape in zip(stacks, shapes, strict=True)]
    gradients = [total / scale if is_of else None for total, is_of in zip(sums, reached, strict=True)]
    return with_derivative(mean, variables, gradients), [tf.stop_gradient(value) for value in stacked]


def with_derivative(value: tf.Tensor, variables: Sequence[Any], gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """Return a scalar as it is, with a derivative in `variables` and in nothing else.

    Args:
        value: The scalar.
        variables: Of any shapes.
        gradients: Of the same shapes; None where there is none.
    """
    parts = [tf.stop_gradient(value)]
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            now = tf.convert_to_tensor(variable)
            move = now - tf.stop_gradient(now)  # 0, with a derivative of 1; times what is infinite it stays 0
            parts.append(tf.reduce_sum(tf.math.multiply_no_nan(tf.stop_gradient(gradient), move)))
    return tf.add_n(parts)


def check_tasks(inputs: Sequence[tf.Tensor]) -> None:
    """Refuse inputs `[tasks, ...]` of different numbers of tasks.

    Raises:
        ShapeError: if they differ.
    """
    tasks = {x.shape[0] for x in inputs if x.shape[0] is not None}
    if len(tasks) > 1:
        raise ShapeError(f"Support and query must hold the same number of tasks; received {sorted(tasks)}.")
