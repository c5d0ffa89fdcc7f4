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
from fewshot.models.pooling import MaxPooling, max_pooled


class Normalization(keras.layers.Layer):
    """Scale and shift `(x - mean) / sqrt(variance + epsilon)`; subclasses say where the statistics come from.

    Inputs are `[n, ..., channels]`. The affine terms `gamma` and `beta`, `[channels]`, are the only trainable weights.
    Statistics are taken in float32 or better whatever the compute dtype. With `pool`, squares of pixels `[n, H, W,
    channels]` are max-pooled in between: the statistics are those of all pixels, and scaling the few that are left
    gives the same as pooling after it, in fewer passes over `x`.
    """

    def __init__(self, *, epsilon: float = 1e-3, pool: int = 1, **kwargs: Any) -> None:
        """Make the layer; `epsilon` is added to the variance, `pool` is the side of a pooled square in pixels."""
        super().__init__(**kwargs)
        self.epsilon, self.pool = epsilon, pool

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the affine terms."""
        channels = input_shape[-1]
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape, pooled."""
        if self.pool == 1:
            return input_shape
        samples, *sides, channels = input_shape
        return (samples, *(side and side // self.pool for side in sides), channels)

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean and the variance to normalise `x` with, of shapes that broadcast against it."""
        raise NotImplementedError

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:  # noqa: FBT001, FBT002 (Keras's signature)
        """Normalise `inputs`; `training=True` marks the pass over a support set."""
        x = tf.cast(inputs, "float32") if inputs.dtype in (tf.float16, tf.bfloat16) else inputs
        gamma, beta = tf.cast(self.gamma, x.dtype), tf.cast(self.beta, x.dtype)
        mean, variance = self.statistics(x, training=bool(training))
        scale = gamma * tf.math.rsqrt(variance + self.epsilon)
        if self.pool > 1:
            # The greatest pixel is the greatest after scaling too, but the least one where gamma is negative.
            sign = tf.where(gamma < 0, -tf.ones_like(gamma), tf.ones_like(gamma))
            x = sign * max_pooled(sign * x, self.pool)
        return tf.cast(x * scale + (beta - mean * scale), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "epsilon": self.epsilon, "pool": self.pool}


def _moments(x: tf.Tensor, axes: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over `axes`, kept as axes of length 1, with every gradient intact.

    The first derivative is written out, which spares TensorFlow half the passes over `x`; the second derivative is
    TensorFlow's own, taken through the formula below.
    """

    @tf.custom_gradient
    def moments(x: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Any]:
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)

        def gradient(of_mean: tf.Tensor, of_variance: tf.Tensor) -> tf.Tensor:
            count = tf.cast(tf.size(x) // tf.size(mean), x.dtype)
            slope = 2 * of_variance / count
            return x * slope + (of_mean / count - mean * slope)

        return (mean, variance), gradient

    return moments(x)


def _fused(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalise images [n, H, W, channels] of float32 by their own statistics, with TensorFlow's fused operations.

    They pass over `x` once, there and back. Theirs is the first derivative; they have no second one, which is that of
    the formula they compute.
    """
    nothing = tf.zeros([0])

    def formula(slope: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        axes = [0, 1, 2]
        mean = tf.reduce_mean(x, axes)
        inverse = tf.math.rsqrt(tf.reduce_mean(tf.math.squared_difference(x, mean), axes) + epsilon)
        normal = (x - mean) * inverse
        of_gamma = tf.reduce_mean(slope * normal, axes)
        of_x = gamma * inverse * (slope - tf.reduce_mean(slope, axes) - normal * of_gamma)
        return of_x, tf.reduce_sum(slope * normal, axes), tf.reduce_sum(slope, axes)

    @tf.custom_gradient
    def normalised(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y, _, _, *kept = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=nothing, variance=nothing, epsilon=epsilon, is_training=True
        )
        kept = {f"reserve_space_{place}": tf.stop_gradient(value) for place, value in enumerate(kept, 1)}

        @tf.custom_gradient
        def back(slope: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor) -> tuple[Any, Any]:
            found = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=slope, x=x, scale=gamma, epsilon=epsilon, is_training=True, **kept
            )

            def second(*upstream: tf.Tensor) -> list[tf.Tensor]:
                given = [tf.identity(slope), tf.identity(x), tf.identity(gamma)]
                with tf.GradientTape() as tape:
                    tape.watch(given)
                    again = formula(*given)
                return tape.gradient(again, given, list(upstream), unconnected_gradients="zero")

            return tuple(found[:3]), second

        return y, lambda slope: back(slope, x, gamma)

    return normalised(x, gamma, beta)


class BatchNormalization(Normalization):
    """Statistics of whatever batch the input arrives in, always (MAML's own choice; transductive for queries)."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:  # noqa: FBT001, FBT002 (Keras's signature)
        """Normalise `inputs`; those of queries, whose second derivative no meta-update asks for, the quickest way."""
        if training or inputs.dtype != tf.float32 or inputs.shape.rank != 4:  # noqa: PLR2004 (images)
            return super().call(inputs, training)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        y = _fused(inputs, gamma, beta, self.epsilon)
        return max_pooled(y, self.pool) if self.pool > 1 else y

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean and the variance of each channel, over all but the channels."""
        del training
        return _moments(x, list(range(x.shape.rank - 1)))


class InstanceNormalization(Normalization):
    """Statistics of one image, each channel on its own (Ulyanov et al. 2016); of vectors, over their features."""

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean and the variance of each image."""
        del training
        return _moments(x, _own_axes(x))


class SupportNormalization(Normalization):
    """Statistics of the support set: measured and kept when `training`, used when not.

    The kept values are non-trainable weights, so `stateless_call` hands them back and gradients flow through them.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the affine terms and the kept statistics."""
        super().build(input_shape)
        channels = input_shape[-1]
        self.mean = self.add_weight(name="mean", shape=(channels,), initializer="zeros", trainable=False)
        self.variance = self.add_weight(name="variance", shape=(channels,), initializer="ones", trainable=False)

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the support set's statistics, which are `x`'s own, and kept, when `training`."""
        if not training:
            return tf.cast(self.mean, x.dtype), tf.cast(self.variance, x.dtype)
        mean, variance = _moments(x, list(range(x.shape.rank - 1)))
        self.mean.assign(tf.reshape(mean, [-1]))
        self.variance.assign(tf.reshape(variance, [-1]))
        return mean, variance


class Standardization(SupportNormalization):
    """Support statistics of a network's inputs, whatever their unit: any scale and offset of a band cancels out.

    A band that is the same everywhere, as a missing one is, becomes `beta`. What counts as the same is measured by the
    band's own size, not in a unit: a deviation of a thousandth of the mean is already halved in variance.
    """

    def __init__(self, *, epsilon: float = 1e-10, **kwargs: Any) -> None:
        """Make the layer; `epsilon` is added to the variance of bands whose mean is 0."""
        super().__init__(epsilon=epsilon, **kwargs)

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the support set's statistics, the variance never below a millionth of the mean's square."""
        mean, variance = super().statistics(x, training=training)
        return mean, variance + 1e-6 * mean**2


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

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the blend of the support set's statistics and each image's own."""
        support_mean, support_variance = super().statistics(x, training=training)
        if training:
            self.images.assign(tf.cast(tf.shape(x)[0], self.images.dtype))
        count = tf.cast(self.images, x.dtype)
        share = tf.sigmoid(tf.cast(self.share_scale, x.dtype) * count + tf.cast(self.share_offset, x.dtype))
        own_mean, own_variance = _moments(x, _own_axes(x))
        mean = share * support_mean + (1 - share) * own_mean
        variance = share * (support_variance + (support_mean - mean) ** 2)
        return mean, variance + (1 - share) * (own_variance + (own_mean - mean) ** 2)


class GroupNormalization(Normalization):
    """Statistics of one image over groups of channels (Wu and He 2018)."""

    def __init__(self, *, groups: int = 8, **kwargs: Any) -> None:
        """Make the layer; `groups` falls to the largest divisor of the channels that does not exceed it."""
        super().__init__(**kwargs)
        self.groups = groups

    def statistics(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean and the variance of each group of each image, repeated for each of its channels."""
        del training
        channels = x.shape[-1]
        most = max(min(self.groups, channels // 2), 1)  # a group of one channel of a vector would always be zero
        groups = next(g for g in range(most, 0, -1) if channels % g == 0)
        # [n, ..., channels] -> [n, pixels, groups, channels of a group] -> [n, 1, groups, 1] -> [n, 1, ..., channels]
        found = _moments(tf.reshape(x, [tf.shape(x)[0], -1, groups, channels // groups]), [1, 3])
        shape = [-1, *[1] * (x.shape.rank - 2), channels]
        mean, variance = (tf.reshape(tf.repeat(part, channels // groups, axis=2), shape) for part in found)
        return mean, variance

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "groups": self.groups}


def _own_axes(x: tf.Tensor) -> list[int]:
    """Return the axes of one image's pixels; of vectors, that of their features."""
    return list(range(1, x.shape.rank - 1)) or [1]


_KINDS: dict[str, type[Normalization]] = {
    "batch": BatchNormalization,
    "support": SupportNormalization,
    "task": TaskNormalization,
    "instance": InstanceNormalization,
    "group": GroupNormalization,
}
NORMALIZATIONS = (*_KINDS, "none")


def standardised(body: keras.Model) -> keras.Model:
    """Return a network that standardises its inputs `[n, ..., bands]` before all else; its weights are the body's."""
    inputs = keras.Input(body.input_shape[1:], name="inputs")
    return keras.Model(inputs, body(Standardization(name="standardise")(inputs)), name=body.name)


def is_transductive(layer: keras.layers.Layer) -> bool:
    """Whether, through this layer, one query's prediction depends on the other queries it arrives with."""
    return type(layer) is BatchNormalization or isinstance(layer, keras.layers.BatchNormalization)


def make_normalization(kind: str, name: str | None = None, *, pool: int = 1) -> keras.layers.Layer:
    """Make one normalisation layer of the given kind.

    Args:
        kind: One of `NORMALIZATIONS`.
        name: Of the layer.
        pool: Side of the squares of pixels that are max-pooled too, whatever the kind; 1 for none.

    Raises:
        RecipeError: if the kind is unknown.
    """
    if kind == "none":
        return keras.layers.Identity(name=name) if pool == 1 else MaxPooling(pool, name=name)
    if kind not in _KINDS:
        raise RecipeError(f"Unknown normalization {kind!r}; expected one of {', '.join(NORMALIZATIONS)}.")
    return _KINDS[kind](name=name, pool=pool)
