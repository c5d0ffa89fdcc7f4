"""Max-pooling whose second derivative is as quick as its first."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class MaxPooling(keras.layers.MaxPooling2D):
    """Keras's layer, for squares that do not overlap."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the greatest pixel of each square, [n, H / side, W / side, channels]."""
        return max_pooled(inputs, self.pool_size[0])


def max_pooled(x: tf.Tensor, side: int) -> tf.Tensor:
    """Max-pool squares of `side` pixels; as TensorFlow does, but for the second derivative, whose operation is slow.

    That passes from where each square's maximum is to the square: the mean of what is left there, times its pixels.
    """
    square = {"ksize": [1, side, side, 1], "strides": [1, side, side, 1], "padding": "VALID"}

    @tf.custom_gradient
    def pooled(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y = tf.nn.max_pool2d(x, side, side, "VALID")

        @tf.custom_gradient
        def back(slope: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def second(upstream: tf.Tensor) -> tf.Tensor:
                chosen = tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=tf.ones_like(y), **square)
                return side**2 * tf.nn.avg_pool2d(chosen * upstream, side, side, "VALID")

            return tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=slope, **square), second

        return y, back

    return pooled(x)
