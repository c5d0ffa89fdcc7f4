"""The inner loop: fit a copy of the parameters to one task's support set. The only one in the program.

Training, evaluation, the exported SavedModel and the mapper all call `adapt`. It is a pure function of tensors: it
assigns nothing, so the tape of the outer loop differentiates through every step of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import tensorflow as tf

from fewshot.errors import DivergedError, RecipeError, ShapeError

Parameters = Sequence[tf.Tensor]
Rates = Sequence[tf.Tensor | None]
Step = Callable[[tf.Tensor, Parameters], tuple[list[tf.Tensor], tf.Tensor]]


class Network(Protocol):
    """What `adapt` needs of a network: Keras's own stateless protocol."""

    def stateless_call(
        self,
        trainable_variables: Parameters,
        non_trainable_variables: Parameters,
        x: tf.Tensor,
        training: bool,  # noqa: FBT001 (Keras's signature)
    ) -> tuple[tf.Tensor, Parameters]:
        """Return outputs `[n, ...]` and the non-trainable values the call leaves behind.

        Args:
            trainable_variables: Values to use in place of the variables, in their order.
            non_trainable_variables: The same for statistics that a call may change.
            x: [n, ...] float.
            training: Whether the call takes statistics, rather than uses those it is given.
        """
        ...


class Support(NamedTuple):
    """One task's labelled examples.

    Attributes:
        x: [n, ...] float, as the network takes it.
        y: [n] or [n, H, W] int32 class 0..classes-1, negative where it is to be ignored; targets `[n, outputs]` float
            for the squared error.
        weight: [n] or [n, H, W] float, how much each label counts; None for equal weights.
    """

    x: tf.Tensor
    y: tf.Tensor
    weight: tf.Tensor | None = None


@dataclass(frozen=True)
class InnerLoop:
    """How to adapt.

    Attributes:
        steps: Gradient steps; a Python number is unrolled, a scalar int32 tensor becomes a `tf.while_loop`.
        loss: `cross_entropy` over the outputs' last axis, or `squared_error`.
        balanced: Let each class of the support count equally in the cross-entropy, however many its labels.
        first_order: Treat the inner gradient as a constant of the outer one (FOMAML).
        clip_value: Clip each element of the inner gradient to +-clip_value.
        clip_norm: Scale the inner gradient down to at most this global norm.
        first_step: Steps taken before this call; learned rates go on from that row.
    """

    steps: int | tf.Tensor = 1
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    balanced: bool = False
    first_order: bool = False
    clip_value: float | None = None
    clip_norm: float | None = None
    first_step: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that would silently mean something else."""
        if self.loss not in ("cross_entropy", "squared_error"):
            raise RecipeError(f"Unknown inner loss {self.loss!r}; expected 'cross_entropy' or 'squared_error'.")
        if isinstance(self.steps, int) and self.steps < 0:
            raise RecipeError(f"Inner steps must be 0 or more; received {self.steps}.")
        for name in ("clip_value", "clip_norm"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise RecipeError(f"{name} must be above 0; received {limit}.")


class Adapted(NamedTuple):
    """What adaptation leaves.

    Attributes:
        parameters: The adapted parameters, in order and shape those given.
        losses: [steps] float, the support loss before each step.
    """

    parameters: list[tf.Tensor]
    losses: tf.Tensor


def adapt(
    network: Network,
    parameters: Parameters,
    rates: Rates,
    support: Support,
    inner: InnerLoop,
    *,
    state: Parameters = (),
) -> Adapted:
    """Fit a copy of `parameters` to one task's support set (MAML, Finn et al. 2017, eq. 1; Meta-SGD, Li et al. 2017).

    Each step is `parameter - rate * gradient of the support loss`, differentiable in parameters, rates and support.

    Args:
        network: A Keras model, or anything with its `stateless_call`.
        parameters: The values adaptation starts from, in the order of the network's trainable variables.
        rates: One tensor a parameter, `[rate_steps, ...]` with the rest broadcastable to the parameter: step k uses
            row k, and steps past the last row use the last. None leaves that parameter as it is.
        support: The labelled examples.
        inner: Steps, loss, order and clipping.
        state: Values of the network's non-trainable variables at the start.

    Returns:
        Adapted parameters and the support loss before each step.

    Raises:
        ShapeError: if support x and y differ in their first axis, or rates and parameters in number.
        DivergedError: outside a graph, if a support loss is not finite. In a graph see `require_finite`.
    """
    _check_lengths(parameters, rates, support)

    def step(index: int | tf.Tensor, current: Parameters) -> tuple[list[tf.Tensor], tf.Tensor]:
        rows = {i: rate for i, rate in enumerate(rates) if rate is not None}
        moving = list(rows)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([current[i] for i in moving])
            outputs, _ = network.stateless_call(current, state, support.x, training=True)
            loss = support_loss(outputs, support, inner.loss, balanced=inner.balanced)
        gradients = _limited(tape.gradient(loss, [current[i] for i in moving], unconnected_gradients="zero"), inner)
        moved = list(current)
        for i, gradient in zip(moving, gradients, strict=True):
            rate = rows[i][tf.minimum(index + inner.first_step, rows[i].shape[0] - 1)]
            moved[i] = current[i] - tf.cast(rate, gradient.dtype) * gradient
        return moved, tf.cast(loss, tf.float64 if loss.dtype == tf.float64 else tf.float32)

    if isinstance(inner.steps, int):
        current, losses = list(parameters), []
        for index in range(inner.steps):
            current, loss = step(index, current)
            losses.append(loss)
        adapted = Adapted(current, tf.stack(losses) if losses else tf.zeros([0]))
    else:
        adapted = _while_steps(step, list(parameters), inner.steps)
    if tf.executing_eagerly():
        require_finite(adapted.losses)
    return adapted


def _while_steps(step: Step, parameters: list[tf.Tensor], steps: tf.Tensor) -> Adapted:
    """Take a number of steps that only the running graph knows."""
    dtype = tf.float64 if parameters[0].dtype == tf.float64 else tf.float32

    def body(index: tf.Tensor, current: list[tf.Tensor], losses: tf.TensorArray) -> tuple[Any, ...]:
        moved, loss = step(index, current)
        return index + 1, moved, losses.write(index, loss)

    losses = tf.TensorArray(dtype, size=steps, element_shape=())
    _, adapted, losses = tf.while_loop(lambda i, *_: i < steps, body, (tf.constant(0), parameters, losses))
    return Adapted(adapted, losses.stack())


def support_loss(outputs: tf.Tensor, support: Support, kind: str, *, balanced: bool = False) -> tf.Tensor:
    """Weighted mean loss over the labels that count.

    Args:
        outputs: Logits `[n, classes]` or `[n, H, W, classes]`, or predictions `[n, outputs]` for the squared error.
        support: Labels and weights; negative class labels do not count.
        kind: `cross_entropy` or `squared_error`.
        balanced: Weight each label by one over the labels of its class.

    Returns:
        A scalar; 0 where no label counts.
    """
    if outputs.dtype in (tf.float16, tf.bfloat16):
        outputs = tf.cast(outputs, tf.float32)
    if kind == "squared_error":
        losses = tf.reduce_mean(tf.math.squared_difference(outputs, tf.cast(support.y, outputs.dtype)), axis=-1)
        weight = tf.ones_like(losses)
    else:
        shown = tf.one_hot(support.y, tf.shape(outputs)[-1], dtype=outputs.dtype)  # all zero where ignored
        losses = -tf.reduce_sum(shown * tf.nn.log_softmax(outputs), axis=-1)
        weight = label_weights(shown[None], balanced=balanced)[0]
    if support.weight is not None:
        weight *= tf.cast(support.weight, outputs.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(weight * losses), tf.reduce_sum(weight))


def label_weights(shown: tf.Tensor, *, balanced: bool) -> tf.Tensor:
    """Return how much each label counts in a loss: nothing where it is ignored.

    Args:
        shown: [tasks, ..., classes] one-hot labels, all zero where ignored.
        balanced: Let each class of a task count equally, or else each label.

    Returns:
        [tasks, ...], not normalised.
    """
    if balanced:
        labels = tf.reduce_sum(shown, list(range(1, shown.shape.rank - 1)), keepdims=True)
        shown *= tf.math.divide_no_nan(tf.ones_like(labels), labels)
    return tf.reduce_sum(shown, axis=-1)


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


def _limited(gradients: list[tf.Tensor], inner: InnerLoop) -> list[tf.Tensor]:
    """Apply the clipping and the order of the meta-gradient."""
    if inner.first_order:
        gradients = [tf.stop_gradient(gradient) for gradient in gradients]
    if inner.clip_value is not None:
        gradients = [tf.clip_by_value(gradient, -inner.clip_value, inner.clip_value) for gradient in gradients]
    if inner.clip_norm is not None:
        # The small number under the root keeps the second derivative finite where the gradient is zero.
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(gradient**2) for gradient in gradients]) + 1e-24)
        scale = inner.clip_norm / tf.maximum(norm, inner.clip_norm)
        gradients = [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]
    return gradients


def _check_lengths(parameters: Parameters, rates: Rates, support: Support) -> None:
    if len(parameters) != len(rates):
        raise ShapeError(f"adapt expects one rate a parameter: {len(parameters)} parameters, {len(rates)} rates.")
    for name, other in (("support_y", support.y), ("support_weight", support.weight)):
        if other is not None and support.x.shape[:1] != other.shape[:1]:
            if support.x.shape[0] is not None and other.shape[0] is not None:
                raise ShapeError(
                    f"support_x has {support.x.shape[0]} examples and {name} has {other.shape[0]}; they must agree."
                )
