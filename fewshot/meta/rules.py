"""Inner rules: how a gradient moves parameters, and what a task remembers from step to step.

| rule | a step | memory | known as |
|---|---|---|---|
| `gradient` | p - rate g | none | MAML, Meta-SGD ... |
| `momentum` | v = decay v + g; p - rate v | v | |
| `adam` | p - rate m / sqrt(s), of running means m of g and s of g^2 | m, s, steps | Reptile's, with decay 0 |
| `meta_lstm` | forget p - input g, gates learned | an LSTM's states, both gates | Meta-LSTM |
| `lstm` | p + 0.01 times what a learned LSTM says | an LSTM's states | learned optimiser |
| `hierarchical` | p - a rate of its own times a direction, learned | states on three levels | learned optimiser |

The learned ones treat every number of every parameter alike, each with a state of its own, and have no rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.descent import Moved, Parameters, Rule


class GradientRule:
    """Gradient descent."""

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Remember nothing."""
        del parameters
        return []

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return parameter - rate * gradient; Args and results are those of `Rule.move`."""
        del loss, memory
        return [p - rate * g for p, g, rate in zip(parameters, gradients, rates, strict=True)], []


class MomentumRule:
    """Gradient descent with momentum."""

    def __init__(self, decay: float = 0.9) -> None:
        """Make the rule; `decay` is what is left of the velocity after a step."""
        self.decay = decay

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return velocities of zero."""
        return [tf.zeros_like(p) for p in parameters]

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return parameter - rate * velocity; Args and results are those of `Rule.move`."""
        del loss
        velocities = [self.decay * v + g for v, g in zip(memory, gradients, strict=True)]
        return [p - rate * v for p, rate, v in zip(parameters, rates, velocities, strict=True)], velocities


class AdamRule:
    """Adam (Kingma and Ba 2015, alg. 1), its memory begun anew in every task."""

    def __init__(self, decay: float = 0.9, square_decay: float = 0.999, epsilon: float = 1e-8) -> None:
        """Make the rule.

        Args:
            decay: Of the running mean of gradients.
            square_decay: Of the running mean of their squares.
            epsilon: Squared and added to the latter, under the root: the root of zero has no derivative.
        """
        self.decay, self.square_decay, self.epsilon = decay, square_decay, epsilon

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return means of zero, and that no step was taken."""
        return [*(tf.zeros_like(p) for p in (*parameters, *parameters)), tf.zeros([], parameters[0].dtype)]

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return parameter - rate * mean / root of square, both unbiased; Args and results are those of `Rule.move`."""
        del loss
        *running, taken = memory
        means, squares = running[: len(parameters)], running[len(parameters) :]
        means = [self.decay * m + (1 - self.decay) * g for m, g in zip(means, gradients, strict=True)]
        squares = [
            self.square_decay * s + (1 - self.square_decay) * g**2 for s, g in zip(squares, gradients, strict=True)
        ]
        taken += 1
        of_mean, of_square = (1 - tf.cast(decay, taken.dtype) ** taken for decay in (self.decay, self.square_decay))
        steps = [
            m / of_mean * tf.math.rsqrt(s / of_square + self.epsilon**2) for m, s in zip(means, squares, strict=True)
        ]
        moved = [p - rate * step for p, rate, step in zip(parameters, rates, steps, strict=True)]
        return moved, [*means, *squares, taken]


class LearnedRule(keras.layers.Layer):
    """A rule that is a small recurrent network, the same for every number of every parameter."""

    units = 20

    def flat(self, parts: Parameters) -> tf.Tensor:
        """Return all numbers of all parts, [numbers, 1]."""
        return tf.concat([tf.reshape(part, [-1, 1]) for part in parts], axis=0)

    def apart(self, flat: tf.Tensor, like: Parameters) -> list[tf.Tensor]:
        """Return what `flat` joined."""
        parts = tf.split(tf.reshape(flat, [-1]), [tf.size(part) for part in like])
        return [tf.reshape(part, tf.shape(other)) for part, other in zip(parts, like, strict=True)]

    def zeros(self, parameters: Parameters, count: int) -> list[tf.Tensor]:
        """Return `count` states of zero, [numbers, units]."""
        return [tf.zeros_like(self.flat(parameters)) * tf.ones([self.units], parameters[0].dtype)] * count


class LstmRule(LearnedRule):
    """Learning to learn by gradient descent by gradient descent (Andrychowicz et al. 2016): two layers of 20."""

    def __init__(self, **kwargs: Any) -> None:
        """Make the two layers, and the one number that comes of them."""
        super().__init__(**kwargs)
        self.cells = [keras.layers.LSTMCell(self.units, name=f"cell{layer}") for layer in (1, 2)]
        self.cells[0].build((None, 2))
        self.cells[1].build((None, self.units))
        self.out = keras.layers.Dense(1, use_bias=False, name="out")
        self.out.build((None, self.units))
        self.built = True

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return both layers' states."""
        return self.zeros(parameters, 4)

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return parameter + 0.01 * output; Args and results are those of `Rule.move`."""
        del rates, loss
        first, upper = self.cells[0](logarithmic(self.flat(gradients)), list(memory[:2]))
        second, lower = self.cells[1](first, list(memory[2:]))
        moved = self.flat(parameters) + 0.01 * self.out(second)
        return self.apart(moved, parameters), [*upper, *lower]


class MetaLstmRule(LearnedRule):
    """The parameters as the cell of an LSTM, its gates learned (Meta-LSTM, Ravi and Larochelle 2017).

    At first nearly nothing is forgotten, and gradients enter at a rate of about a hundredth.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Make the network that sees loss and gradients, and the two gates on it."""
        super().__init__(**kwargs)
        self.cell = keras.layers.LSTMCell(self.units, name="cell")
        self.cell.build((None, 4))
        small = keras.initializers.RandomUniform(-0.01, 0.01, seed=1)
        biases = {"forget": keras.initializers.RandomUniform(4, 5, seed=2)}
        biases["input"] = keras.initializers.RandomUniform(-5, -4, seed=3)
        self.gates = [
            keras.layers.Dense(1, "sigmoid", kernel_initializer=small, bias_initializer=bias, name=name)
            for name, bias in biases.items()
        ]
        for gate in self.gates:
            gate.build((None, self.units + 2))
        self.built = True

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return the network's states, and both gates shut."""
        shut = tf.zeros_like(self.flat(parameters))
        return [*self.zeros(parameters, 2), shut, shut]

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return forget * parameter - input * gradient; Args and results are those of `Rule.move`."""
        del rates
        now, slope = self.flat(parameters), self.flat(gradients)
        losses = tf.zeros_like(slope) + tf.cast(loss, slope.dtype)
        seen = tf.concat([logarithmic(losses), logarithmic(slope)], axis=1)
        hidden, states = self.cell(seen, list(memory[:2]))
        forget, enter = (
            gate(tf.concat([hidden, now, before], axis=1)) for gate, before in zip(self.gates, memory[2:], strict=True)
        )
        return self.apart(forget * now - enter * slope, parameters), [*states, forget, enter]


class HierarchicalRule(LearnedRule):
    """Learned optimizers that scale and generalize (Wichrowska et al. 2017): recurrent networks on three levels.

    One of 10 for every number sees its gradients' running means, over their size, at several time scales; one of 20
    for every parameter sees the mean of these; one of 20 sees all parameters. What the upper ones say enters the lower
    ones at the next step. At first a number goes against the fastest of its means, a hundredth at a time. Of the paper,
    attention to where gradients are taken and learned scales of time are left out.
    """

    decays = (0.5, 0.9, 0.99)
    units, upper_units = 10, 20
    first_rate = 0.01

    def __init__(self, **kwargs: Any) -> None:
        """Make the three networks, and the two numbers that come of the lowest."""
        super().__init__(**kwargs)
        seen = 2 * len(self.decays)
        inputs = {
            "number": seen + self.upper_units,
            "parameter": self.units + self.upper_units,
            "all": self.upper_units,
        }
        units = {"number": self.units, "parameter": self.upper_units, "all": self.upper_units}
        self.cells = [keras.layers.GRUCell(units[level], name=level) for level in inputs]
        for cell, count in zip(self.cells, inputs.values(), strict=True):
            cell.build((None, count))
        small = keras.initializers.RandomUniform(-0.01, 0.01, seed=1)
        self.out = keras.layers.Dense(2, kernel_initializer=small, name="out")
        self.out.build((None, self.units))
        self.built = True

    def memory(self, parameters: Parameters) -> list[tf.Tensor]:
        """Return means and squares of zero, the first rate's logarithm, and states of zero on the three levels."""
        nothing, like = tf.zeros_like(self.flat(parameters)), parameters[0].dtype
        means = nothing * tf.ones([len(self.decays)], like)
        states = [tf.zeros([count, self.upper_units], like) for count in (len(parameters), 1)]
        return [means, means, nothing + math.log(self.first_rate), *self.zeros(parameters, 1), *states]

    def move(
        self, parameters: Parameters, gradients: Parameters, rates: Parameters, loss: tf.Tensor, memory: Parameters
    ) -> Moved:
        """Return parameter - exp(its rate) * its direction; Args and results are those of `Rule.move`."""
        del rates, loss
        means, squares, log_rate, *states = memory
        slope, decays = self.flat(gradients), tf.constant([self.decays], gradients[0].dtype)
        means = decays * means + (1 - decays) * slope
        squares = decays * squares + (1 - decays) * slope**2
        owner = tf.repeat(tf.range(len(parameters)), [tf.size(part) for part in parameters])

        number, parameter, whole = self.cells
        scaled, sizes = means * tf.math.rsqrt(squares + 1e-16), tf.math.log(squares + 1e-16)
        seen = tf.concat([scaled, sizes - tf.reduce_mean(sizes, axis=1, keepdims=True)], axis=1)
        hidden, _ = number(tf.concat([seen, tf.gather(states[1], owner)], axis=1), [states[0]])
        above = tf.concat(
            [self._mean_of_each(hidden, owner, parameters), tf.repeat(states[2], len(parameters), axis=0)], 1
        )
        middle, _ = parameter(above, [states[1]])
        top, _ = whole(tf.reduce_mean(middle, axis=0, keepdims=True), [states[2]])

        direction, faster = tf.split(self.out(hidden), 2, axis=1)
        log_rate += faster
        moved = self.flat(parameters) - tf.exp(log_rate) * (scaled[:, :1] + direction)
        return self.apart(moved, parameters), [means, squares, log_rate, hidden, middle, top]

    def _mean_of_each(self, values: tf.Tensor, owner: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        """Return the mean of each parameter's rows of values [numbers, k], [parameters, k]."""
        counts = tf.cast([[tf.size(part)] for part in parameters], values.dtype)
        return tf.math.unsorted_segment_sum(values, owner, len(parameters)) / counts


def logarithmic(values: tf.Tensor, *, floor: float = 10.0) -> tf.Tensor:
    """Return size and sign of values [numbers, 1] as two numbers of about 1, [numbers, 2] (Andrychowicz et al. 2016).

    Args:
        values: Gradients or losses, of any size.
        floor: Values below exp(-floor) are not told apart by their logarithm, but by themselves.
    """
    size = tf.abs(values)
    large = size >= math.exp(-floor)
    logarithm = tf.math.log(tf.where(large, size, 1)) / floor
    return tf.concat(
        [tf.where(large, logarithm, -1), tf.where(large, tf.sign(values), math.exp(floor) * values)], axis=1
    )


RULES: dict[str, Callable[[float], Rule]] = {
    "gradient": lambda _: GradientRule(),
    "momentum": MomentumRule,
    "adam": AdamRule,
    "meta_lstm": lambda _: MetaLstmRule(name="rule"),
    "lstm": lambda _: LstmRule(name="rule"),
    "hierarchical": lambda _: HierarchicalRule(name="rule"),
}
"""By name; what they take is how much of a running mean is left after a step."""


def make_rule(kind: str, *, decay: float = 0.9) -> Rule:
    """Make a rule by name.

    Args:
        kind: One of `RULES`.
        decay: Of momentum, and of Adam's running mean of gradients.

    Raises:
        RecipeError: if there is no such rule, or `decay` is none.
    """
    if kind not in RULES:
        raise RecipeError(f"Unknown rule {kind!r}; expected one of {', '.join(RULES)}.")
    if not 0 <= decay < 1:
        raise RecipeError(f"learner.decay lies from 0 to below 1; received {decay}.")
    return RULES[kind](decay)
