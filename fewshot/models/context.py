"""Context: a few numbers that stand for a task, inside a network (CAVIA, Zintgraf et al. 2019).

| kind | what the numbers do | known as |
|---|---|---|
| `film` | scale and shift each channel | CAVIA for images |
| `join` | come beside the channels of every pixel | CAVIA for sine waves; bias transformation (Finn et al. 2017) |

With adapts = "context" they start at 0 in every task and are all that adapts: an adapted model is then some hundred
numbers. Otherwise they are parameters like others: meta-learned, and adapted with the rest.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError


class Context(keras.layers.Layer):
    """A layer whose `context` [size] is a task's own.

    Attributes:
        size: How many numbers stand for a task.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        """Make the layer.

        Args:
            size: How many numbers stand for a task.
            **kwargs: Passed to `keras.layers.Layer`.

        Raises:
            RecipeError: if there are none.
        """
        super().__init__(**kwargs)
        if size < 1:
            raise RecipeError(f"A context has at least one number; received network.context = {size}.")
        self.size = size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the context."""
        del input_shape
        self.context = self.add_weight(name="context", shape=(self.size,), initializer="zeros")

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "size": self.size}


class FilmContext(Context):
    """x (1 + gamma) + beta for each channel, gamma and beta linear in the context.

    The matrix starts away from zero: beside a context of zeros, a matrix of zeros would never move.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the context, and what turns it into gamma and beta."""
        super().build(input_shape)
        terms = 2 * (input_shape[-1] or 1)
        self.matrix = self.add_weight(name="film_kernel", shape=(self.size, terms), initializer="glorot_uniform")
        self.offset = self.add_weight(name="film_bias", shape=(terms,), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scale and shift the channels of `inputs` [n, ..., channels]."""
        context, matrix = tf.convert_to_tensor(self.context), tf.convert_to_tensor(self.matrix)
        gamma, beta = tf.split(tf.linalg.matvec(matrix, context, transpose_a=True) + self.offset, 2)
        return inputs * (1 + tf.cast(gamma, inputs.dtype)) + tf.cast(beta, inputs.dtype)


class JoinedContext(Context):
    """The context beside the channels of every pixel."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return `inputs` [n, ..., channels] with the context, [n, ..., channels + size]."""
        context = tf.cast(tf.convert_to_tensor(self.context), inputs.dtype)
        shape = tf.concat([tf.shape(inputs)[:-1], [self.size]], axis=0)
        return tf.concat([inputs, tf.broadcast_to(context, shape)], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape, with more channels."""
        *rest, channels = input_shape
        return (*rest, channels and channels + self.size)


CONTEXTS: dict[str, type[Context]] = {"film": FilmContext, "join": JoinedContext}


def make_context(kind: str, size: int) -> Context:
    """Make a context of so many numbers.

    Raises:
        RecipeError: if there is no such kind.
    """
    if kind not in CONTEXTS:
        raise RecipeError(f"Unknown context {kind!r}; expected one of {', '.join(CONTEXTS)}.")
    return CONTEXTS[kind](size, name="context")
