"""Normalisation layers that are right to the second derivative.

Keras's own layers call `tf.nn.moments`, which stops the gradient through the mean: harmless for first
derivatives, wrong for the second ones that MAML needs. Here mean and variance are plain reductions.

| kind | statistics over | a query's prediction depends on |
|---|---|---|
| `batch` | the whole batch it arrives in | the other queries (transductive: reports must say so) |
| `support` | the task's support set | the support set alone |
| `task` | the support set, blended with the image itself (TaskNorm-I) | the support set and itself |
| `instance` | one image, each channel | itself |
| `group` | one image, groups of channels | itself |
| `none` | nothing | itself |
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError


class Normalization(keras.layers.Layer):
    """Scale and shift `(x - mean) / sqrt(variance + epsilon)`; subclasses say where the statistics come from.

    Inputs are `[n, ..., channels]`; outputs have the same shape. The affine terms `gamma` and `beta`, `[channels]`,
    are the only trainable weights. Statistics are taken in float32 or better whatever the compute dtype.
    """

    def __init__(self, *, epsilon: float = 1e-3, **kwargs: Any) -> None:
        """Make the layer; `epsilon` is added to the variance."""
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the affine terms."""
        channels = input_shape[-1]
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def axes(self, rank: int) -> list[int]:
        """Return the axes that statistics are taken over, for kinds that normalise with their input's own."""
        raise NotImplementedError

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Return `x` normalised, scaled and shifted."""
        return _own_statistics(x, gamma, beta, axes=self.axes(x.shape.rank), epsilon=self.epsilon)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:  # noqa: FBT001, FBT002 (Keras's signature)
        """Normalise `inputs`; `training=True` marks the pass over a support set."""
        x = tf.cast(inputs, "float32") if inputs.dtype in (tf.float16, tf.bfloat16) else inputs
        gamma, beta = tf.cast(self.gamma, x.dtype), tf.cast(self.beta, x.dtype)
        return tf.cast(self.normalize(x, gamma, beta, training=bool(training)), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "epsilon": self.epsilon}


def _moments(x: tf.Tensor, axes: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over `axes`, kept as axes of length 1, with every gradient intact."""
    mean = tf.reduce_mean(x, axes, keepdims=True)
    return mean, tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)


def _own_statistics(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, axes: list[int], epsilon: float) -> tf.Tensor:
    """Normalise `x` by its own mean and variance over `axes`.

    The first derivative is written out (Ioffe and Szegedy 2015, sec. 3), which spares TensorFlow half the passes over
    `x`; the second derivative is TensorFlow's own, taken through the formula below.
    """

    @tf.custom_gradient
    def normalized(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Any]:
        mean = tf.reduce_mean(x, axes, keepdims=True)
        centered = x - mean
        root = tf.math.rsqrt(tf.reduce_mean(centered**2, axes, keepdims=True) + epsilon)
        unit = centered * root
        outer = list(range(x.shape.rank - 1))

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            scaled = upstream * gamma
            along = tf.reduce_mean(scaled * unit, axes, keepdims=True)
            x_gradient = root * (scaled - tf.reduce_mean(scaled, axes, keepdims=True) - unit * along)
            return x_gradient, tf.reduce_sum(upstream * unit, outer), tf.reduce_sum(upstream, outer)

        return unit * gamma + beta, gradient

    return normalized(x, gamma, beta)


class BatchNormalization(Normalization):
    """Statistics of whatever batch the input arrives in, always (MAML's own choice; transductive for queries)."""

    def axes(self, rank: int) -> list[int]:
        """Return every axis but the channels."""
        return list(range(rank - 1))


class InstanceNormalization(Normalization):
    """Statistics of one image, each channel on its own (Ulyanov et al. 2016); of vectors, over their features."""

    def axes(self, rank: int) -> list[int]:
        """Return the pixel axes."""
        return list(range(1, rank - 1)) or [1]


class SupportNormalization(BatchNormalization):
    """Statistics of the support set: measured and kept when `training`, used when not.

    The kept values are non-trainable weights, so `stateless_call` hands them back and gradients flow through them.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the affine terms and the kept statistics."""
        super().build(input_shape)
        channels = input_shape[-1]
        self.mean = self.add_weight(name="mean", shape=(channels,), initializer="zeros", trainable=False)
        self.variance = self.add_weight(name="variance", shape=(channels,), initializer="ones", trainable=False)

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Normalise by the support set's statistics, which are `x`'s own when `training`."""
        if training:
            self.keep(x)
            return super().normalize(x, gamma, beta, training=training)
        scale = gamma * tf.math.rsqrt(tf.cast(self.variance, x.dtype) + self.epsilon)
        return x * scale + (beta - tf.cast(self.mean, x.dtype) * scale)

    def keep(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Measure and keep the statistics of a support set; return mean and variance."""
        mean, variance = _moments(x, self.axes(x.shape.rank))
        self.mean.assign(tf.reshape(mean, [-1]))
        self.variance.assign(tf.reshape(variance, [-1]))
        return mean, variance


class TaskNormalization(SupportNormalization):
    """Support statistics blended with the image's own by a learned share (TaskNorm-I, Bronskill et al. 2020, eq. 7-9).

    share = sigmoid(scale * support images + offset); mean = share * support + (1 - share) * image, and the variance
    is that of the blend. Inductive: a query meets its own statistics and the support set's.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the affine terms, the kept statistics and the learned share."""
        super().build(input_shape)
        self.share_scale = self.add_weight(name="share_scale", shape=(), initializer="zeros")
        self.share_offset = self.add_weight(name="share_offset", shape=(), initializer="zeros")
        self.images = self.add_weight(name="images", shape=(), initializer="ones", trainable=False)

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Normalise by the blend of the support set's statistics and each image's own."""
        if training:
            support_mean, support_variance = self.keep(x)
            self.images.assign(tf.cast(tf.shape(x)[0], self.images.dtype))
        else:
            support_mean, support_variance = tf.cast(self.mean, x.dtype), tf.cast(self.variance, x.dtype)
        count = tf.cast(self.images, x.dtype)
        share = tf.sigmoid(tf.cast(self.share_scale, x.dtype) * count + tf.cast(self.share_offset, x.dtype))
        own_mean, own_variance = _moments(x, list(range(1, x.shape.rank - 1)) or [1])
        mean = share * support_mean + (1 - share) * own_mean
        variance = share * (support_variance + (support_mean - mean) ** 2)
        variance += (1 - share) * (own_variance + (own_mean - mean) ** 2)
        scale = gamma * tf.math.rsqrt(variance + self.epsilon)
        return x * scale + (beta - mean * scale)


class GroupNormalization(Normalization):
    """Statistics of one image over groups of channels (Wu and He 2018)."""

    def __init__(self, *, groups: int = 8, **kwargs: Any) -> None:
        """Make the layer; `groups` falls to the largest divisor of the channels that does not exceed it."""
        super().__init__(**kwargs)
        self.groups = groups

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Normalise each group of each image; the groups become an axis of their own meanwhile."""
        channels = x.shape[-1]
        most = max(min(self.groups, channels // 2), 1)  # a group of one channel of a vector would always be zero
        groups = next(g for g in range(most, 0, -1) if channels % g == 0)
        apart = tf.reshape(x, [tf.shape(x)[0], -1, groups, channels // groups])
        one, zero = tf.ones([channels // groups], x.dtype), tf.zeros([channels // groups], x.dtype)
        unit = _own_statistics(apart, one, zero, axes=[1, 3], epsilon=self.epsilon)
        return tf.reshape(unit, tf.shape(x)) * gamma + beta

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "groups": self.groups}


_KINDS: dict[str, type[Normalization]] = {
    "batch": BatchNormalization,
    "support": SupportNormalization,
    "task": TaskNormalization,
    "instance": InstanceNormalization,
    "group": GroupNormalization,
}
NORMALIZATIONS = (*_KINDS, "none")


def is_transductive(layer: keras.layers.Layer) -> bool:
    """Whether, through this layer, one query's prediction depends on the other queries it arrives with."""
    return type(layer) is BatchNormalization or isinstance(layer, keras.layers.BatchNormalization)


def make_normalization(kind: str, name: str | None = None) -> keras.layers.Layer:
    """Make one normalisation layer of the given kind.

    Raises:
        RecipeError: if the kind is unknown.
    """
    if kind == "none":
        return keras.layers.Identity(name=name)
    if kind not in _KINDS:
        raise RecipeError(f"Unknown normalization {kind!r}; expected one of {', '.join(NORMALIZATIONS)}.")
    return _KINDS[kind](name=name)
