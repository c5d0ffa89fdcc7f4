"""Multilayer perceptrons of MAML's experiments without convolutions (Finn et al. 2017, sec. 5)."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from fewshot.models.normalization import make_normalization


def mlp(
    input_shape: Sequence[int],
    *,
    units: Sequence[int],
    normalization: str = "none",
    context: keras.layers.Layer | None = None,
) -> keras.Model:
    """Build dense layers, each with normalisation and ReLU, ending in a feature vector.

    Args:
        input_shape: Shape of one example; images are flattened.
        units: Units of each hidden layer: (40, 40) for sine waves, (256, 128, 64, 64) for Omniglot.
        normalization: A kind of `fewshot.models.normalization`.
        context: A layer on the inputs, one of `fewshot.models.context`.

    Returns:
        A model from [n, *input_shape] to features [n, units[-1]].
    """
    x = inputs = keras.Input(tuple(input_shape), name="inputs")
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    x = x if context is None else context(x)
    for layer, width in enumerate(units, start=1):
        x = keras.layers.Dense(width, name=f"dense{layer}")(x)
        x = make_normalization(normalization, name=f"norm{layer}")(x)
        x = keras.layers.ReLU(name=f"relu{layer}")(x)
    return keras.Model(inputs, x, name="mlp")
