"""The inner loop: fit a copy of the parameters to one task's support set. The only one in the program.

Training, evaluation, the exported SavedModel and the mapper all call `adapt`. It is a pure function of tensors: it
assigns nothing, so the tape of the outer loop differentiates through every step of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from fewshot.errors import DivergedError, RecipeError, ShapeError
from fewshot.meta.backward import BACKWARDS
from fewshot.meta.descent import Adapted, Descent, InnerLoop, Network, Parameters, Rates, Rule, Support
from fewshot.meta.rules import GradientRule


def adapt(  # noqa: PLR0913  what is fitted, to what, and how
    network: Network,
    parameters: Parameters,
    rates: Rates,
    support: Support,
    inner: InnerLoop,
    *,
    state: Parameters = (),
    anchor: Parameters | None = None,
    rule: Rule | None = None,
) -> Adapted:
    """Fit a copy of `parameters` to one task's support set (MAML, Finn et al. 2017, eq. 1; Meta-SGD, Li et al. 2017).

    Each step is `parameter - rate * gradient of the support loss`, differentiable in parameters, rates and support.

    Args:
        network: A Keras model, or anything with its `stateless_call`.
        parameters: The values adaptation starts from, in the order of the network's trainable variables.
        rates: One tensor a parameter, `[rate_steps, ...]` with the rest broadcastable to the parameter: step k uses
            row k, and steps past the last row use the last. None leaves that parameter as it is.
        support: The labelled examples.
        inner: Steps, loss, clipping, and how the meta-gradient passes through them.
        state: Values of the network's non-trainable variables at the start.
        anchor: Where the proximal term pulls to, if adaptation began before this call; `parameters` if None.
        rule: How a gradient moves parameters; gradient descent if None. What it remembers of steps before this call
            comes behind `parameters`, as they left it.

    Returns:
        Adapted parameters and the support loss before each step, which is a constant to the meta-gradient.

    Raises:
        RecipeError: if there is no such way back.
        ShapeError: if support x and y differ in their first axis, or rates and parameters in number.
        DivergedError: outside a graph, if a support loss is not finite. In a graph see `require_finite`.
    """
    _check_lengths(support)
    if inner.backward not in BACKWARDS:
        raise RecipeError(f"Unknown backward {inner.backward!r}; expected one of {', '.join(BACKWARDS)}.")
    anchor = parameters if anchor is None else anchor
    descent = Descent(network, rates, support, inner, state, list(anchor[: len(rates)]), rule or GradientRule())
    begin, memory = list(parameters), descent.rule.memory([parameters[i] for i in descent.moving])
    if len(begin) == len(rates):
        begin += memory
    if len(begin) != len(rates) + len(memory):
        raise ShapeError(f"adapt expects one rate a parameter: {len(begin)} parameters, {len(rates)} rates.")
    adapted = BACKWARDS[inner.backward](descent, begin)
    if tf.executing_eagerly():
        require_finite(adapted.losses)
    # Or a way back would be computed through steps that lead to their losses alone.
    return Adapted(adapted.parameters, tf.stop_gradient(adapted.losses))


def require_finite(losses: tf.Tensor) -> None:
    """Stop where a support loss is infinite or not a number, naming the first step where one is.

    In a graph this becomes an assertion of the graph; run it inside `divergence_as_error` to meet the same error.

    Args:
        losses: [..., steps] float.

    Raises:
        DivergedError: if not finite, outside a graph.
    """
    if losses.shape[-1] == 0:
        return
    flat = tf.reshape(losses, [-1, tf.shape(losses)[-1]])
    broken = tf.logical_not(tf.math.is_finite(flat))
    step = tf.argmax(tf.cast(tf.reduce_any(broken, axis=0), tf.int32))
    tasks = tf.reduce_sum(tf.cast(tf.reduce_any(broken, axis=1), tf.int32))
    message = tf.strings.format(
        "The support loss is not finite at inner step {} ({} of {} tasks).", (step, tasks, tf.shape(flat)[0])
    )
    with divergence_as_error("Lower the inner rate, or clip inner gradients."):
        tf.debugging.Assert(tf.logical_not(tf.reduce_any(broken)), [message])


@contextmanager
def divergence_as_error(remedy: str) -> Iterator[None]:
    """Turn the assertion of `require_finite` into an error with a remedy.

    Raises:
        DivergedError: in place of TensorFlow's own error.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = re.search(r"The support loss is not finite[^)]*\)\.", str(error))
        if found is None:
            raise
        raise DivergedError(f"{found.group()} {remedy}") from None


def _check_lengths(support: Support) -> None:
    for name, other in (("support_y", support.y), ("support_weight", support.weight)):
        if other is not None and support.x.shape[:1] != other.shape[:1]:
            if support.x.shape[0] is not None and other.shape[0] is not None:
                raise ShapeError(
                    f"support_x has {support.x.shape[0]} examples and {name} has {other.shape[0]}; they must agree."
                )
