"""A head on a body's features, under Keras's stateless protocol: the network that adapts.

The head's layer is no variable, so that its width may differ from task to task.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from fewshot.models.heads import Head

Tensors = Sequence[tf.Tensor]


class HeadAlone:
    """A head, on features."""

    def __init__(self, head: Head) -> None:
        """Take the head that reads."""
        self.head = head

    def stateless_call(
        self,
        parameters: Tensors,
        state: Tensors,
        x: tf.Tensor,
        training: bool,  # noqa: FBT001 (Keras's signature)
    ) -> tuple[tf.Tensor, Tensors]:
        """Return logits `[n, ..., classes]`, and the state as it was.

        Args:
            parameters: The head's layer.
            state: Handed back.
            x: [n, ..., F] features.
            training: Makes no difference.
        """
        del training
        return self.head.read(tf.cast(x, parameters[0].dtype), parameters), state


class HeadedNetwork:
    """A body and a head on its features; the head's layer comes after the body's parameters."""

    def __init__(self, body: keras.Model, head: Head) -> None:
        """Join `head` to `body`, a model from images to features `[n, ..., F]`."""
        self.body, self.head, self.alone = body, head, HeadAlone(head)

    def stateless_call(
        self,
        parameters: Tensors,
        state: Tensors,
        x: tf.Tensor,
        training: bool,  # noqa: FBT001 (Keras's signature)
    ) -> tuple[tf.Tensor, Tensors]:
        """Return logits `[n, ..., classes]` and the state the call leaves behind.

        Args:
            parameters: Of the body, then the head's layer.
            state: The body's non-trainable values.
            x: [n, ...] float, as the body takes it.
            training: Whether the body takes statistics of `x`, rather than uses those of `state`.
        """
        own = len(self.body.trainable_variables)
        features, state = self.body.stateless_call(parameters[:own], state, x, training=training)
        return self.alone.stateless_call(parameters[own:], state, features, training=training)
