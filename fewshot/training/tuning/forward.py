"""Which way the numbers of the inner loop should go: derivatives of the validation loss, in forward mode.

Reverse mode keeps what every inner step computed. Forward mode takes a pass for each number instead and carries its
tangent along, in the memory of one pass, which suits a handful of numbers. The weights are those that training has
reached, and count as constants: how other numbers would have trained them is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import MetaLearner
from fewshot.training.tuning.space import Value, Varied

RATE, PROXIMITY = "learner.rate", "learner.proximity"


def require_numbers(varied: Sequence[Varied], rates: str) -> None:
    """Refuse settings that the validation loss has no derivative by, or none that says anything.

    Args:
        varied: The settings.
        rates: The recipe's kind of inner rates; of learned ones, the setting is but where they start.

    Raises:
        RecipeError: if there are some.
    """
    others = [one.key for one in varied if one.key not in (RATE, PROXIMITY) or one.choices or one.whole]
    if others:
        raise RecipeError(
            f"--method forward follows derivatives through the inner loop, by {RATE} and {PROXIMITY} in ranges such as "
            f"1e-3..1:log; {', '.join(others)} is none of them. Use --method evolution."
        )
    if rates != "constant":
        raise RecipeError(
            f"--method forward follows the derivative by a rate that stays, and learner.rates = {rates!r} learn. Use "
            "--set learner.rates=constant, or --method evolution."
        )


def uphill(
    learner: MetaLearner, mean_loss: Callable[[], tf.Tensor], varied: Sequence[Varied], values: Mapping[str, Value]
) -> list[float]:
    """Return the direction in which a trained learner's validation loss falls, in places of the settings.

    Args:
        learner: With constant rates; tensors take the place of its numbers.
        mean_loss: Computes the loss with the learner.
        varied: The settings.
        values: That it was trained with.
    """
    numbers = [tf.constant(values[one.key], keras.config.floatx()) for one in varied]
    by_key = {one.key: number for one, number in zip(varied, numbers, strict=True)}

    def loss() -> tf.Tensor:
        put_numbers(learner, by_key)
        return mean_loss()

    found = zip(slopes(loss, numbers), varied, numbers, strict=True)
    return [-float(slope) * one.stretch(float(number)) for slope, one, number in found]


def put_numbers(learner: MetaLearner, numbers: Mapping[str, tf.Tensor]) -> None:
    """Put tensors in the place of numbers of a learner's inner loop, where derivatives by them are recorded.

    Args:
        learner: With constant rates; it is changed.
        numbers: Scalars by their settings.
    """
    if RATE in numbers:
        rates = learner.inner_rates
        rates.entries = [None if entry is None else numbers[RATE][None] for entry in rates.entries]
    if PROXIMITY in numbers:
        learner.inner = replace(learner.inner, proximity=numbers[PROXIMITY])


def slopes(loss: Callable[[], tf.Tensor], numbers: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the derivative of a loss by each number, by one pass in forward mode for each.

    Args:
        loss: Computes it, from these very tensors.
        numbers: Scalars.
    """
    found = []
    for number in numbers:
        with tf.autodiff.ForwardAccumulator(number, tf.ones_like(number)) as forward:
            value = loss()
        found.append(forward.jvp(value, unconnected_gradients=tf.UnconnectedGradients.ZERO))
    return found
