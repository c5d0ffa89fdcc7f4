"""A spread of starts: each task adapts from one drawn, and several that adapt apart tell how far the labels decide.

Probabilistic MAML (PLATIPUS, Finn, Xu and Levine 2018) has a normal distribution in the place of one start. With mu and
sigma meta-learned, and g the gradient of a loss at mu,

| distribution | mean | a task adapts from a draw of it |
|---|---|---|
| prior, of the support set | mu - a g(support) | outside training, as often as there are draws |
| posterior, of the queries | mu - b g(queries) | in training |

and the outer loss is that of the queries plus the divergence of the two, |their means' difference|^2 / (2 sigma^2) over
the number of labels. Without it sigma would shrink to nothing, for every draw away from the mean is a loss. Both have
one sigma, where the paper's posterior has its own; a and b are a learned number each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.batch import over_tasks
from fewshot.meta.descent import Parameters

RATE = 0.01
"""Where the rates of the two means start."""
MOST_DRAWS = 64


class Spread(keras.layers.Layer):
    """How far starts lie from their mean: a standard deviation for each number that adapts."""

    def __init__(self, initial: float, *, draws: int = 5, **kwargs: Any) -> None:
        """Make the layer.

        Args:
            initial: The standard deviation that all begin with.
            draws: Starts that a task adapts from outside training.
            **kwargs: Passed to `keras.layers.Layer`.

        Raises:
            RecipeError: if nothing is spread, or nothing drawn.
        """
        super().__init__(**kwargs)
        if initial <= 0 or not 1 <= draws <= MOST_DRAWS:
            raise RecipeError(
                f"A spread of starts is above 0 and drawn 1 to {MOST_DRAWS} times; received learner.spread = "
                f"{initial:g} and learner.draws = {draws}."
            )
        self.initial, self.draws = initial, draws

    def build_for(self, shapes: Sequence[tuple[int, ...]], moving: Sequence[bool]) -> None:
        """Create standard deviations and rates.

        Args:
            shapes: For each parameter, a shape that is broadcastable to it.
            moving: For each parameter, whether it adapts.
        """
        begin = keras.initializers.Constant(math.log(self.initial))
        self.log_spread = [
            self.add_weight(name=f"log_spread{index}", shape=shape, initializer=begin)
            for index, shape in enumerate(shapes)
            if moving[index]
        ]
        rate = keras.initializers.Constant(RATE)
        self.support_rate = self.add_weight(name="support_rate", shape=(1,), initializer=rate)
        self.query_rate = self.add_weight(name="query_rate", shape=(1,), initializer=rate)
        self.places = [index for index, moves in enumerate(moving) if moves]
        self.built = True

    def drawn(self, mean: Parameters, seed: tf.Tensor) -> list[tf.Tensor]:
        """Return parameters around `mean`, the same for the same whole number."""
        found = list(mean)
        for at, deviation in zip(self.places, self._deviations(mean), strict=True):
            noise = tf.random.stateless_normal(tf.shape(mean[at]), tf.stack([seed, at]), dtype=mean[at].dtype)
            found[at] += deviation * noise
        return found

    def divergence(self, posterior: Parameters, prior: Parameters) -> tf.Tensor:
        """Return the Kullback-Leibler divergence of two distributions, given their means."""
        terms = []
        for at, deviation in zip(self.places, self._deviations(prior), strict=True):
            terms.append(tf.reduce_sum(((posterior[at] - prior[at]) / deviation) ** 2) / 2)
        return tf.add_n(terms)

    def _deviations(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return the standard deviations of those that adapt, in their precision."""
        pairs = zip(self.places, self.log_spread, strict=True)
        return [tf.exp(tf.cast(log, parameters[at].dtype)) for at, log in pairs]

    def each(self, one: Callable[[tf.Tensor], Any]) -> Any:
        """Stack what `one` returns for each draw, [draws, ...], one after another, for each may take much memory.

        Args:
            one: Given the number of the draw, a scalar int32 tensor.
        """
        return over_tasks(lambda row: one(row[0]), [tf.range(self.draws)], side_by_side=1)


def mixed(logits: tf.Tensor) -> tf.Tensor:
    """Return the logarithm of the mean probability, of logits `[draws, ..., classes]` each of one draw."""
    draws = tf.math.log(tf.cast(tf.shape(logits)[0], logits.dtype))
    return tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=0) - draws


def require_spread(spread: Spread | None) -> Spread:
    """Return the spread of a learner that has one.

    Raises:
        RecipeError: if it has none.
    """
    if spread is None:
        raise RecipeError("This learner has one start, and draws none. Set learner.spread, such as 0.01.")
    return spread
