"""Inner learning rates as weights of the meta-learner, and which parameters they leave alone.

| kind | one number for | learned | known as |
|---|---|---|---|
| `constant` | everything | no | MAML, FOMAML, ANIL |
| `scalar` | everything | yes | the inner rate of AlphaMAML |
| `per_tensor` | each parameter tensor and step | yes | MAML++ (LSLR) |
| `per_parameter` | each number of each parameter | yes | Meta-SGD |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError

RATES = ("constant", "scalar", "per_tensor", "per_parameter")


class InnerRates(keras.layers.Layer):
    """The rates that `adapt` takes: one tensor `[rate_steps, ...]` a parameter, None for those that stay."""

    def __init__(
        self, kind: str = "constant", *, initial: float = 0.01, least: float = 0.0, steps: int = 1, **kwargs: Any
    ) -> None:
        """Make the layer.

        Args:
            kind: One of `RATES`.
            initial: The rate every entry starts from.
            least: Learned rates start at random between this and `initial`, as Li et al. (2017) have them; 0 for
                `initial` itself.
            steps: Inner steps in training; `per_tensor` learns a rate for each.
            **kwargs: Passed to `keras.layers.Layer`.

        Raises:
            RecipeError: if the kind is unknown, or no rates can start between `least` and `initial`.
        """
        super().__init__(**kwargs)
        if kind not in RATES:
            raise RecipeError(f"Unknown inner rates {kind!r}; expected one of {', '.join(RATES)}.")
        if least and (kind == "constant" or not 0 < least <= initial):
            raise RecipeError(
                f"Learned rates start between learner.least_rate and learner.rate; received {least:g} and {initial:g} "
                f"with learner.rates = {kind!r}. Use a smaller least_rate with rates that are learned, or 0."
            )
        self.kind, self.initial, self.least, self.steps = kind, initial, least, max(steps, 1)

    def build_for(self, shapes: Sequence[tuple[int, ...]], moving: Sequence[bool]) -> None:
        """Create the learned rates.

        Args:
            shapes: For each parameter, the shape of its per-parameter rate.
            moving: For each parameter, whether it adapts.
        """
        self.entries: list[Any] = []
        if self.kind == "scalar":
            every = self.add_weight(name="rate", shape=(1,), initializer=self._start())
        for index, (shape, moves) in enumerate(zip(shapes, moving, strict=True)):
            if not moves:
                self.entries.append(None)
            elif self.kind == "scalar":
                self.entries.append(every)
            elif self.kind == "constant":
                self.entries.append(tf.constant(self.initial, self.variable_dtype, shape=(1,)))
            else:
                rows = (1, *shape) if self.kind == "per_parameter" else (self.steps,)
                self.entries.append(self.add_weight(name=f"rate{index}", shape=rows, initializer=self._start()))
        self.built = True

    def _start(self) -> keras.initializers.Initializer:
        """Return where learned rates start; of random ones, each tensor has its own."""
        if self.least:
            return keras.initializers.RandomUniform(self.least, self.initial)
        return keras.initializers.Constant(self.initial)

    def values(self) -> list[tf.Tensor | None]:
        """Return the rates as tensors, in the order of the parameters."""
        return [None if entry is None else tf.convert_to_tensor(entry) for entry in self.entries]
