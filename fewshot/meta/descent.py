"""The inner loop's parts: what a task's support set is, its loss, and gradient steps down it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeAlias

import tensorflow as tf

from fewshot.errors import RecipeError

Parameters = Sequence[tf.Tensor]
Rates = Sequence[tf.Tensor | None]
Count: TypeAlias = int | tf.Tensor
ORDER = (3, 1)
"""Seeds the order in which the steps of a mini-batch see the support set."""
Moved = tuple[list[tf.Tensor], list[tf.Tensor]]
Step = Callable[[Count, Parameters], tuple[list[tf.Tensor], tf.Tensor]]


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


class Rule(Protocol):
    """How a gradient moves parameters."""

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return what a task remembers before its first step."""
        ...

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return the parameters and the memory after a step.

        Args:
            parameters: Those that move.
            gradients: Of each.
            rates: Of each, for this step.
            loss: Of the support set, before the step.
            memory: After the step before.
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

    def counted(self) -> Support:
        """Return the examples of which a label counts; all of them where none does.

        An example that teaches nothing then has no part in statistics of the support set either. A picture whose
        pixels are labelled stays whole if any of them counts.
        """
        y = tf.convert_to_tensor(self.y)
        labelled = y >= 0 if y.dtype.is_integer else tf.ones(tf.shape(y)[:1], tf.bool)
        if self.weight is not None:
            labelled &= self.weight > 0
        each = tf.reduce_any(tf.reshape(labelled, [tf.shape(self.x)[0], -1]), axis=1)
        each |= ~tf.reduce_any(each)
        x, y, *weight = (tf.boolean_mask(part, each) for part in self if part is not None)
        return Support(x, y, *weight)


@dataclass(frozen=True)
class InnerLoop:
    """How to adapt.

    Attributes:
        steps: Gradient steps; a Python number is unrolled, a scalar int32 tensor becomes a `tf.while_loop`.
        loss: `cross_entropy` over the outputs' last axis, or `squared_error`.
        balanced: Let each class of the support count equally in the cross-entropy, however many its labels.
        backward: How the meta-gradient passes through the steps, one of `fewshot.meta.backward`.
        backward_steps: Steps that `truncated` differentiates, iterations of `implicit`, terms of `neumann`.
        proximity: Add this half times the squared distance from the start to the objective of the steps.
        damping: Add this to the proximity on the way back of `implicit` alone.
        batch: Examples of one step, drawn in turn by a fixed order; 0 for all of them.
        clip_value: Clip each element of the inner gradient to +-clip_value.
        clip_norm: Scale the inner gradient down to at most this global norm.
        first_step: Steps taken before this call; learned rates go on from that row.
    """

    steps: Count = 1
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    balanced: bool = False
    backward: str = "exact"
    backward_steps: int = 5
    proximity: float = 0.0
    damping: float = 0.0
    batch: int = 0
    clip_value: float | None = None
    clip_norm: float | None = None
    first_step: Count = 0

    def __post_init__(self) -> None:
        """Refuse settings that would silently mean something else."""
        if self.loss not in ("cross_entropy", "squared_error"):
            raise RecipeError(f"Unknown inner loss {self.loss!r}; expected 'cross_entropy' or 'squared_error'.")
        if isinstance(self.steps, int) and self.steps < 0:
            raise RecipeError(f"Inner steps must be 0 or more; received {self.steps}.")
        for name, least in (("backward_steps", 1), ("proximity", 0), ("damping", 0), ("batch", 0)):
            value = getattr(self, name)
            if isinstance(value, int | float) and value < least:
                raise RecipeError(f"{name} must be {least} or more; received {value}.")
        for name in ("clip_value", "clip_norm"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise RecipeError(f"{name} must be above 0; received {limit}.")


class Adapted(NamedTuple):
    """What adaptation leaves.

    Attributes:
        parameters: The adapted parameters, in order and shape those given; behind them what the rule remembers.
        losses: [steps] float, the support loss before each step.
    """

    parameters: list[tf.Tensor]
    losses: tf.Tensor


@dataclass(frozen=True)
class Descent:
    """Gradient steps down one task's objective: the support loss, and the pull back to the start.

    Attributes:
        network: Whose loss it is.
        rates: Of each parameter; None where it stays.
        support: The labelled examples.
        inner: Loss, proximity and clipping.
        state: Of the network.
        anchor: The parameters that the proximal term pulls to.
        rule: How a gradient moves parameters; its memory comes behind them.
    """

    network: Network
    rates: Rates
    support: Support
    inner: InnerLoop
    state: Parameters
    anchor: Parameters
    rule: Rule

    @property
    def moving(self) -> list[int]:
        """Which parameters move."""
        return [i for i, rate in enumerate(self.rates) if rate is not None]

    def tensors(self) -> list[tf.Tensor]:
        """Return all that the steps depend on, and the meta-gradient may pass to, besides the parameters."""
        return [self.support.x, *self.anchor, *(rate for rate in self.rates if rate is not None)]

    def weights(self) -> list[Any]:
        """Return the variables that a step reads besides: a learned rule's, and those of a head that reads."""
        parts = (self.rule, getattr(self.network, "head", None))
        return [variable for part in parts for variable in getattr(part, "trainable_variables", ())]

    def given(self, tensors: Sequence[tf.Tensor]) -> Self:
        """Return the same descent with other values of `tensors()`."""
        x, *rest = tensors
        rates = iter(rest[len(self.anchor) :])
        return replace(
            self,
            support=self.support._replace(x=x),
            anchor=rest[: len(self.anchor)],
            rates=[None if rate is None else next(rates) for rate in self.rates],
        )

    def shown(self, index: Count) -> Descent:
        """Return the descent of the examples that step number `index` sees."""
        if not self.inner.batch:
            return self
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(self.support.x)[0]), ORDER)
        place = (index * self.inner.batch + tf.range(self.inner.batch)) % tf.size(order)
        shown = [None if part is None else tf.gather(part, tf.gather(order, place)) for part in self.support]
        return replace(self, support=Support(*shown))

    def slope(self, current: Parameters) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Return the objective's gradient in the moving parameters, and the support loss."""
        moving = [current[i] for i in self.moving]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(moving)
            outputs, _ = self.network.stateless_call(current, self.state, self.support.x, training=True)
            loss = support_loss(outputs, self.support, self.inner.loss, balanced=self.inner.balanced)
        gradients = tape.gradient(loss, moving, unconnected_gradients="zero")
        if self.inner.proximity:
            anchor = [self.anchor[i] for i in self.moving]
            pulls = [self.inner.proximity * (now - start) for now, start in zip(moving, anchor, strict=True)]
            gradients = [gradient + pull for gradient, pull in zip(gradients, pulls, strict=True)]
        return gradients, tf.cast(loss, tf.float64 if loss.dtype == tf.float64 else tf.float32)

    def step(
        self, index: Count, current: Parameters, through: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Take one step.

        Args:
            index: Its number in this call.
            current: The parameters before it, and the rule's memory.
            through: What the gradient passes through first.

        Returns:
            The same after it, and the support loss before it.
        """
        row = index + self.inner.first_step
        parameters, memory = list(current[: len(self.rates)]), current[len(self.rates) :]
        gradients, loss = self.shown(row).slope(parameters)
        gradients = _clipped([through(gradient) for gradient in gradients], self.inner)
        rates = [rate[tf.minimum(row, rate.shape[0] - 1)] for rate in self.rates if rate is not None]
        rates = [tf.cast(rate, gradient.dtype) for rate, gradient in zip(rates, gradients, strict=True)]
        moved, memory = self.rule.move([parameters[i] for i in self.moving], gradients, rates, loss, memory)
        for i, value in zip(self.moving, moved, strict=True):
            parameters[i] = value
        # A loop of the graph has a way back from all that it returns, and would keep activations for its losses' too.
        return [*parameters, *memory], tf.stop_gradient(loss)

    def run(self, parameters: Parameters, steps: Count, *, first: Count = 0, step: Step | None = None) -> Adapted:
        """Take several steps, unrolled where their number is a Python number.

        Args:
            parameters: Before them.
            steps: How many.
            first: The number of the first.
            step: How to take one; `self.step` if None.
        """
        take: Step = step or self.step
        if not isinstance(steps, int):
            return _while_steps(lambda index, current: take(index + first, current), list(parameters), steps)
        if steps > 1 and not tf.executing_eagerly():
            take, first = tf.function(take, autograph=False), tf.convert_to_tensor(first)  # traced once for all
        current, losses = list(parameters), []
        for index in range(steps):
            current, loss = take(index + first, current)
            losses.append(loss)
        dtype = tf.float64 if current[0].dtype == tf.float64 else tf.float32
        return Adapted(current, tf.stack(losses) if losses else tf.zeros([0], dtype))


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


def _clipped(gradients: list[tf.Tensor], inner: InnerLoop) -> list[tf.Tensor]:
    """Apply the clipping."""
    if inner.clip_value is not None:
        gradients = [tf.clip_by_value(gradient, -inner.clip_value, inner.clip_value) for gradient in gradients]
    if inner.clip_norm is not None:
        # The small number under the root keeps the second derivative finite where the gradient is zero.
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(gradient**2) for gradient in gradients]) + 1e-24)
        scale = inner.clip_norm / tf.maximum(norm, inner.clip_norm)
        gradients = [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]
    return gradients
