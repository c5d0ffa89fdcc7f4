"""The outer objective: what of a task's adaptation the meta-gradient is taken of.

| objective | loss of a task | known as |
|---|---|---|
| `queries` | the queries' loss after the last inner step | MAML |
| `queries` with `fading` | of all inner steps, fading to that of the last | multi-step loss (MAML++) |
| `reptile` | half the squared distance from the start to the adapted parameters | Reptile |
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.descent import Parameters

LEAST_SHARE = 0.03
"""Of an equal share: what steps before the last keep in the end."""


@dataclass(frozen=True)
class Outer:
    """What the meta-gradient is taken of.

    Attributes:
        objective: `queries` or `reptile`.
        fading: Updates over which the loss of every step fades to that of the last; 0 for the last alone.
        first_order_updates: Updates before inner gradients are differentiated (derivative-order annealing).
    """

    objective: str = "queries"
    fading: int = 0
    first_order_updates: int = 0

    def __post_init__(self) -> None:
        """Refuse what would mean nothing.

        Raises:
            RecipeError: if there is no such objective, or it has no steps to weight.
        """
        if self.objective not in ("queries", "reptile"):
            raise RecipeError(f"Unknown outer objective {self.objective!r}; expected 'queries' or 'reptile'.")
        if self.objective == "reptile" and (self.fading or self.first_order_updates):
            raise RecipeError("Reptile looks at the last step alone and has no second derivatives: nothing can fade.")

    def step_weights(self, steps: int, updates: tf.Tensor) -> tf.Tensor:
        """Return the weights [steps] of the losses that are asked for (MAML++, Antoniou et al. 2019).

        Args:
            steps: How many there are; one, where nothing fades.
            updates: Of the outer loop so far.
        """
        if not self.fading:
            return tf.ones([steps])
        left = tf.maximum(1 - tf.cast(updates, tf.float32) / self.fading, LEAST_SHARE)
        early = tf.fill([steps - 1], left / steps)
        return tf.concat([early, [1 - tf.reduce_sum(early)]], axis=0)


def distance(start: Parameters, adapted: Parameters) -> tf.Tensor:
    """Return half the squared distance, whose gradient is `start` - `adapted` (Reptile, Nichol et al. 2018, alg. 2)."""
    moves = [begin - tf.stop_gradient(end) for begin, end in zip(start, adapted, strict=True)]
    return tf.add_n([tf.reduce_sum(move**2) for move in moves]) / 2
