"""Bilinear enlargement that is exact to the second derivative and keeps its input's precision."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class BilinearEnlargement(keras.layers.Layer):
    """Enlarge [n, h, w, channels] to [n, factor*h, factor*w, channels].

    Interpolation is a linear map along each axis, so it is written as two matrix products. `tf.image.resize` computes
    in float32 whatever it is given, which neither second derivatives in float64 nor a check of them survive.
    """

    def __init__(self, factor: int, **kwargs: Any) -> None:
        """Make the layer."""
        super().__init__(**kwargs)
        self.factor = factor

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the enlarged shape."""
        n, h, w, channels = input_shape
        return n, None if h is None else h * self.factor, None if w is None else w * self.factor, channels

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Enlarge `inputs`, whose height and width are known."""
        rows, columns = (interpolation(side, self.factor) for side in inputs.shape[1:3])
        x = tf.einsum("Hh,nhwc->nHwc", tf.constant(rows, inputs.dtype), inputs)
        return tf.einsum("Ww,nHwc->nHWc", tf.constant(columns, inputs.dtype), x)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "factor": self.factor}


def interpolation(side: int, factor: int) -> np.ndarray:
    """Return [factor*side, side], the weights of the old pixels in each new one; pixel centres are half-way points."""
    place = np.clip((np.arange(factor * side) + 0.5) / factor - 0.5, 0, side - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side)))
