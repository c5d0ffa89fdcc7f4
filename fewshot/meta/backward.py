"""How the meta-gradient passes through the inner loop, from the adapted parameters back to where they started.

| choice | what is differentiated | memory for activations | known as |
|---|---|---|---|
| `exact` | every step | all steps | MAML |
| `checkpointed` | every step, each computed once more on the way back | one step, and every step's parameters | |
| `first_order` | no step: inner gradients are constants | one step | FOMAML |
| `truncated` | the last `backward_steps` steps | those steps | truncated backpropagation (Shaban et al. 2019) |
| `implicit` | the minimum itself, by `backward_steps` conjugate gradients | one step | iMAML (Rajeswaran et al. 2019) |
| `neumann` | the minimum itself, by `backward_steps` terms of a series | one step | Lorraine et al. 2020 |

The last two take the adapted parameters for the minimum of support loss + proximity / 2 |adapted - start|^2, whose
derivative needs no step: with H the support loss's Hessian there, (H + proximity I) u = v and proximity u is the
gradient of the start where v is that of the adapted parameters. Where the network has kinks H is not positive, and with
a weak pull the sum may be nearly singular: conjugate gradients then answer with gradients many times too large.
`damping` takes the way back, not the steps, for that of a stronger pull; iMAML's own code solves with
2 I + H / (proximity + 10), which is the direction of damping = 22 with its proximity of 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.descent import Adapted, Count, Descent, InnerLoop, Parameters

Product = Callable[[tf.Tensor], tf.Tensor]


def held(value: tf.Tensor) -> tf.Tensor:
    """Return a value that is a constant to the meta-gradient."""
    return tf.stop_gradient(value)


def exact(descent: Descent, parameters: Parameters) -> Adapted:
    """Differentiate every step."""
    return descent.run(parameters, descent.inner.steps)


def checkpointed(descent: Descent, parameters: Parameters) -> Adapted:
    """Differentiate every step, computing its activations anew when the way back comes to it.

    Not by `tf.recompute_grad`, whose forward pass records nothing, not even for the tape inside a step.
    """
    own, weights = descent.tensors(), descent.weights()  # it has a derivative in arguments alone
    given = [*own, *map(tf.convert_to_tensor, weights)]

    def step(index: Count, current: Parameters) -> tuple[list[tf.Tensor], tf.Tensor]:
        def outputs(values: Parameters) -> list[tf.Tensor]:
            with keras.StatelessScope(state_mapping=zip(weights, values[len(own) : len(given)], strict=True)):
                moved, loss = descent.given(values[: len(own)]).step(index, values[len(given) :])
            return [*moved, loss]

        @tf.custom_gradient
        def once(*values: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., Any]]:
            def gradient(*upstream: tf.Tensor, variables: Sequence[Any] | None = None) -> Any:
                with tf.control_dependencies(upstream):  # or TensorFlow would find that it has computed this before
                    fresh = [tf.identity(value) for value in values]
                learned = list(variables or ())
                with tf.GradientTape() as tape:
                    tape.watch(fresh)
                    again = outputs(fresh)
                back = tape.gradient(again, [*fresh, *learned], list(upstream), unconnected_gradients="zero")
                return (back[: len(fresh)], back[len(fresh) :]) if variables is not None else back

            return outputs(values), gradient

        *moved, loss = once(*given, *current)
        return moved, loss

    return descent.run(parameters, descent.inner.steps, step=step)


def first_order(descent: Descent, parameters: Parameters) -> Adapted:
    """Take each inner gradient for a constant; learned rates still learn."""
    return descent.run(parameters, descent.inner.steps, step=lambda index, now: descent.step(index, now, through=held))


def truncated(descent: Descent, parameters: Parameters) -> Adapted:
    """Differentiate the last steps; how far those before them came is a constant."""
    steps, last = descent.inner.steps, descent.inner.backward_steps
    last = min(last, steps) if isinstance(steps, int) else tf.minimum(last, steps)
    early = descent.run(parameters, steps - last)
    begun = [start + held(moved - start) for start, moved in zip(parameters, early.parameters, strict=True)]
    late = descent.run(begun, last, first=steps - last)
    return Adapted(late.parameters, tf.concat([early.losses, late.losses], axis=0))


def at_the_minimum(solve: Callable[[Product, tf.Tensor, Descent], tf.Tensor]) -> Callable[..., Adapted]:
    """Return the way back that differentiates the minimum, given how to solve (H + proximity I) u = v."""

    def backward(descent: Descent, parameters: Parameters) -> Adapted:
        moving, given = descent.moving, descent.tensors()
        found, losses = descent.run(parameters, descent.inner.steps)
        found = [held(value) for value in found]

        @tf.custom_gradient
        def attached(*values: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., list[tf.Tensor]]]:
            start = values[len(given) :]
            minimum = [found[i] if i in moving else tf.identity(start[i]) for i in range(len(start))]

            def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
                curvature = _curvature(_damped(descent.given(values[: len(given)])), minimum)
                u = solve(curvature, _joined([upstream[i] for i in moving]), descent)
                # The slope stays 0 where what it depends on changes: the minimum moves by -u times the slope's change.
                fresh = [tf.identity(value) for value in values]  # the start is among them twice
                with tf.GradientTape() as tape:
                    tape.watch(fresh)
                    again = [found[i] if i in moving else fresh[len(given) + i] for i in range(len(start))]
                    slope, _ = _damped(descent.given(fresh[: len(given)])).slope(again)
                back = tape.gradient(slope, fresh, _split(-u, slope), unconnected_gradients="zero")
                ours = [part if i in moving else part + upstream[i] for i, part in enumerate(back[len(given) :])]
                return [*back[: len(given)], *ours]

            return minimum, gradient

        return Adapted(list(attached(*given, *parameters)), losses)

    return backward


def _damped(descent: Descent) -> Descent:
    """Return the same descent, pulled to its anchor as strongly as the way back takes it to be."""
    inner = descent.inner
    return replace(descent, inner=replace(inner, proximity=inner.proximity + inner.damping))


def _curvature(descent: Descent, minimum: Parameters) -> Product:
    """Return the product of a flat vector with the objective's Hessian in the moving parameters."""
    at = [minimum[i] for i in descent.moving]

    def product(vector: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(at)
            slope, _ = descent.slope(minimum)
        return _joined(tape.gradient(slope, at, _split(vector, at), unconnected_gradients="zero"))

    return product


def conjugate_gradients(product: Product, right: tf.Tensor, descent: Descent) -> tf.Tensor:
    """Solve product(u) = right; stop where the curvature is not positive.

    Args:
        product: Of a vector with a symmetric matrix.
        right: [n].
        descent: Says how many iterations.
    """

    def once(u: tf.Tensor, left: tf.Tensor, direction: tf.Tensor) -> tuple[tf.Tensor, ...]:
        turned, size = product(direction), tf.reduce_sum(left**2)
        curvature = tf.reduce_sum(direction * turned)
        along = tf.where(curvature > 0, tf.math.divide_no_nan(size, curvature), 0)
        rest = left - along * turned
        onward = rest + tf.math.divide_no_nan(tf.reduce_sum(rest**2), size) * direction
        return u + along * direction, rest, tf.where(curvature > 0, onward, tf.zeros_like(onward))

    begin = (tf.zeros_like(right), right, right)
    u, *_ = tf.while_loop(lambda *_: True, once, begin, maximum_iterations=descent.inner.backward_steps)
    return u


def neumann_series(product: Product, right: tf.Tensor, descent: Descent) -> tf.Tensor:
    """Sum rate (I - rate product)^j right, which tends to the solution of product(u) = right.

    Args:
        product: Of a vector with a symmetric matrix.
        right: [n].
        descent: Says how many terms, and its rate.
    """
    rate = next(tf.cast(rate[0], right.dtype) for rate in descent.rates if rate is not None)  # the same for all

    def once(total: tf.Tensor, term: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return total + term, term - rate * product(term)

    begin = (tf.zeros_like(right), right)
    total, _ = tf.while_loop(lambda *_: True, once, begin, maximum_iterations=descent.inner.backward_steps)
    return rate * total


def _joined(parts: Parameters) -> tf.Tensor:
    return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)


def _split(vector: tf.Tensor, like: Parameters) -> list[tf.Tensor]:
    parts = tf.split(vector, [tf.size(part) for part in like])
    return [tf.reshape(part, tf.shape(other)) for part, other in zip(parts, like, strict=True)]


BACKWARDS: dict[str, Callable[[Descent, Parameters], Adapted]] = {
    "exact": exact,
    "checkpointed": checkpointed,
    "first_order": first_order,
    "truncated": truncated,
    "implicit": at_the_minimum(conjugate_gradients),
    "neumann": at_the_minimum(neumann_series),
}
OF_THE_MINIMUM = ("implicit", "neumann")
FEWEST_STEPS = 10
"""Fewer inner steps than this are too far from the minimum for a derivative of the minimum."""


def require_way_back(inner: InnerLoop, *, learned_rates: bool, every_step: bool) -> None:
    """Refuse ways back that would be wrong for what is learned.

    Args:
        inner: The inner loop of training.
        learned_rates: Whether rates are learned.
        every_step: Whether training answers after other numbers of steps than the last.

    Raises:
        RecipeError: if one would be.
    """
    name = inner.backward
    if every_step and name in ("truncated", *OF_THE_MINIMUM):
        raise RecipeError(f"learner.backward = {name!r} differentiates the answer after the last inner step alone.")
    if inner.damping and name != "implicit":
        raise RecipeError(f"learner.damping is of learner.backward = 'implicit' alone; received backward {name!r}.")
    if name not in OF_THE_MINIMUM:
        return
    if not inner.proximity:
        raise RecipeError(
            f"learner.backward = {name!r} differentiates the minimum of the support loss and a pull to the start, and "
            "there is no pull: set learner.proximity above 0 (iMAML has 2)."
        )
    if learned_rates:
        raise RecipeError(
            f"The minimum that learner.backward = {name!r} differentiates does not depend on rates, so that they would "
            "never learn: use learner.rates = 'constant'."
        )
    if isinstance(inner.steps, int) and inner.steps < FEWEST_STEPS:
        raise RecipeError(
            f"learner.backward = {name!r} takes the adapted parameters for the minimum, which {inner.steps} inner "
            f"steps do not reach: use {FEWEST_STEPS} or more (iMAML takes 16), or learner.backward = 'exact'."
        )
