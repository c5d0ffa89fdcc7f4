"""Gradient descent whose own rate learns while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


class HypergradientSGD(keras.optimizers.SGD):
    """Gradient descent whose rate grows by `hyper_rate` times the product of this gradient with the last.

    The derivative of an update's loss by the rate of the update before is minus that product (Baydin et al. 2018), and
    the rate follows it downhill; beside a learned inner rate, the outer loop of Alpha MAML (Behl et al. 2019). Products
    are of gradients before any clipping.
    """

    def __init__(self, learning_rate: float, *, hyper_rate: float, **kwargs: Any) -> None:
        """Make the optimizer; what else it takes is `keras.optimizers.SGD`'s.

        Args:
            learning_rate: The first rate.
            hyper_rate: Of the rate.
            **kwargs: Passed to `keras.optimizers.SGD`.
        """
        super().__init__(learning_rate, **kwargs)
        self.hyper_rate = hyper_rate

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Make the slots of the last gradients; variables are those to train."""
        made = not self.built
        super().build(variables)
        if made:
            self.last = [self.add_variable_from_reference(one, name="last") for one in variables]

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> keras.KerasTensor | None:
        """Move the rate, then the variables by it; Args and result are those of `keras.Optimizer.apply`."""
        if trainable_variables is not None and not self.built:
            self.build(trainable_variables)
        known = [keras.ops.zeros_like(last) if g is None else g for g, last in zip(grads, self.last, strict=True)]
        product = sum(keras.ops.sum(g * last) for g, last in zip(known, self.last, strict=True))
        own: Any = self  # Keras declares no type of its rate
        own.learning_rate = own.learning_rate + self.hyper_rate * product
        for last, gradient in zip(self.last, known, strict=True):
            last.assign(gradient)
        return super().apply(grads, trainable_variables)
