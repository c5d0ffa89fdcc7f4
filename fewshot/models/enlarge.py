"""Bilinear enlargement that is exact to the second derivative and keeps its input's precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class BilinearEnlargement(keras.layers.Layer):
    """Bring [n, h, w, channels] to [n, factor*h, factor*w, channels], or to given sides.

    Interpolation is a linear map along each axis, so it is written as two matrix products. `tf.image.resize` computes
    in float32 whatever it is given, which neither second derivatives in float64 nor a check of them survive.
    """

    def __init__(self, factor: int = 1, *, sides: Sequence[int] | None = None, **kwargs: Any) -> None:
        """Make the layer.

        Args:
            factor: Of both sides.
            sides: Rows and columns to bring any picture to, in place of a factor; a larger one is averaged down.
            **kwargs: Passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.factor, self.sides = factor, None if sides is None else (int(sides[0]), int(sides[1]))

    def call(self, inputs: tf.Tensor, like: tf.Tensor | None = None) -> tf.Tensor:
        """Enlarge `inputs`; where pictures `like` them [n, H, W, ...] are given, to their sides."""
        old = _sides(inputs)
        new = self.sides or ([side * self.factor for side in old] if like is None else _sides(like))
        rows, columns = (interpolation(*pair, inputs.dtype) for pair in zip(old, new, strict=True))
        x = tf.einsum("Ww,nHwc->nHWc", columns, tf.einsum("Hh,nhwc->nHwc", rows, inputs))
        known = [side if isinstance(side, int) else None for side in new]
        return tf.ensure_shape(x, [inputs.shape[0], *known, inputs.shape[-1]])

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "factor": self.factor, "sides": self.sides}


def _sides(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Return rows and columns of [n, H, W, ...]: numbers where they are known."""
    return [x.shape[axis] or tf.shape(x)[axis] for axis in (1, 2)]


def interpolation(old: int | tf.Tensor, new: int | tf.Tensor, dtype: Any = tf.float32) -> tf.Tensor:
    """Return [new, old], the weights of the old pixels in each new one; pixel centres are half-way points.

    Args:
        old: Pixels along the side.
        new: Pixels wanted; where they are fewer, each is a mean of the pixels that it covers.
        dtype: Of the weights.
    """
    coarser = tf.cast(old, dtype) / tf.cast(new, dtype)
    place = (tf.cast(tf.range(new), dtype) + 0.5) * coarser - 0.5
    distance = tf.abs(place[:, None] - tf.cast(tf.range(old), dtype))
    weights = tf.maximum(tf.zeros([], dtype), 1 - distance / tf.maximum(coarser, 1))
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
