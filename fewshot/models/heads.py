"""Heads: how a task's output layer starts, before adaptation moves it.

All but `cosine` and what reads (`matching` to `snail`) end in the same linear layer, `features @ kernel + bias`; they
differ in where kernel and bias come from.

| head | starts from | classes at request time |
|---|---|---|
| `fixed` | one meta-learned vector for each global class | those it was trained with |
| `shared` | one common vector for each class of the task | any number |
| `prototype` | the support set's weighted class means: kernel 2c, bias -|c|^2 (Proto-MAML) | any number |
| `cosine` | the support set's mean directions; a query's logit is a scaled cosine (Dynamic) | any number |
| `matching`, `siamese`, `relation`, `propagation` | what they read (`fewshot.models.reading`) | any number |
| `lstm`, `mann`, `snail` | a sequence that they read (`fewshot.models.sequences`) | those it was trained with |
| `ridge`, `logistic`, `svm` | the solution of a problem of the support set (`fewshot.models.solvers`) | any number |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from fewshot.errors import ShapeError

Count: TypeAlias = int | tf.Tensor
Given: TypeAlias = tf.Tensor | None

ABSENT = -1e4
"""Added to the bias of a class that the support set does not show; within float16's range."""


def ruled_out(labels: tf.Tensor, classes: int | tf.Tensor, dtype: Any) -> tf.Tensor:
    """Return `[classes]`: `ABSENT` for classes that no label shows, 0 for the others.

    Args:
        labels: [n] or [n, H, W] int32, class 0..classes-1; negative labels are ignored.
        classes: How many classes the task has.
        dtype: Of the result.
    """
    shown = tf.scatter_nd(tf.reshape(tf.maximum(labels, 0), [-1, 1]), tf.reshape(labels >= 0, [-1]), [classes])
    return tf.where(shown, tf.zeros([], dtype), tf.cast(ABSENT, dtype))


def counted(labels: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """Return the labels with -1, ignored, where the weight is 0.

    Args:
        labels: [n] or [n, H, W] int32.
        weight: Float, broadcastable to the labels; None where all count the same.
    """
    return labels if weight is None else tf.where(weight > 0, labels, -1)


def class_means(features: tf.Tensor, labels: tf.Tensor, classes: Count, weight: Given = None) -> tf.Tensor:
    """Return the weighted mean of each class's features, [classes, features]; 0 where nothing counts.

    Args:
        features: [n, features] or [n, H, W, features] float.
        labels: [n] or [n, H, W] int32; negative labels are ignored.
        classes: How many classes the task has.
        weight: Float, broadcastable to the labels; None where all count the same.
    """
    share = tf.one_hot(labels, classes, dtype=features.dtype)  # [n, ..., classes]; all zero where nothing counts
    if weight is not None:
        share *= tf.cast(weight, features.dtype)[..., None]
    # [n, H, W, features] -> [n*H*W, features]: where pixels are labelled, each is an example.
    features, share = tf.reshape(features, [-1, features.shape[-1]]), tf.reshape(share, [-1, tf.shape(share)[-1]])
    total = tf.reduce_sum(share, axis=0)[:, None]
    return tf.math.divide_no_nan(tf.matmul(share, features, transpose_a=True), total)


def of_support(features: Given) -> tf.Tensor:
    """Return the support set's features, which a head with `uses_support` starts from.

    Raises:
        ShapeError: if there are none.
    """
    if features is None:
        raise ShapeError("This head starts from the support set's features; none were given.")
    return features


class Head(keras.layers.Layer):
    """Where a task's linear output layer starts.

    Attributes:
        outputs: The number of outputs, or None where the task decides it.
        uses_support: Whether `start` reads the support set's features.
        adapts: Whether inner steps may follow.
        transductive: Whether one query's answer depends on the other queries.
        pictures_only: Why it cannot answer for pixels; empty if it can.
        reads_weights: Whether `read` has meta-learned weights of its own, beside a layer that may adapt.
    """

    outputs: int | None = None
    uses_support = False
    adapts = True
    transductive = False
    pictures_only = ""
    reads_weights = False

    @property
    def same_start(self) -> bool:
        """Whether all tasks start from one layer, which then answers without a support set too."""
        return self.outputs is not None and not self.uses_support

    def build_for(self, features: int) -> None:
        """Create the meta-learned weights for features of this many numbers."""
        raise NotImplementedError

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the layer that adaptation starts from: kernel `[features, classes]` and bias `[classes]`.

        Args:
            features: [n, features] or [n, H, W, features] float, the support set's; None unless `uses_support`.
            labels: [n] or [n, H, W] int32, class 0..classes-1; negative labels are ignored. Targets, for regression.
            classes: How many classes the task has.
            weight: Float, broadcastable to the labels: how much each counts; one of weight 0 shows no class. All the
                same if None.
        """
        raise NotImplementedError

    def read(self, features: tf.Tensor, layer: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return logits `[..., classes]` of features `[..., features]` under a layer that `start` gave."""
        kernel, bias = layer
        return tf.einsum("...f,fc->...c", features, kernel) + bias

    def column_shapes(self, features: int) -> list[tuple[int, ...]]:
        """Return the shapes of one class's part of the layer, whose last axis is that of the classes."""
        return [(features,), ()]

    def rate_shapes(self, features: int) -> list[tuple[int, ...]]:
        """Return shapes of per-parameter learning rates, broadcastable to kernel and bias for any number of classes."""
        return [(features, 1), (1,)]


class FixedHead(Head):
    """One output for each global class, or each number of a regression."""

    def __init__(self, outputs: int, *, restrict: bool = False, **kwargs: Any) -> None:
        """Make the head.

        Args:
            outputs: Number of classes or of regression targets.
            restrict: Rule out the classes that the support set does not show.
            **kwargs: Passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.outputs = outputs
        self.restrict = restrict

    def build_for(self, features: int) -> None:
        """Create kernel and bias."""
        self.kernel = self.add_weight(name="kernel", shape=(features, self.outputs), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros")
        self.built = True

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the meta-learned layer, with absent classes ruled out where `restrict` asks for it."""
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        if self.restrict:
            bias += ruled_out(counted(labels, weight), self.outputs or 1, bias.dtype)
        return [kernel, bias]

    def rate_shapes(self, features: int) -> list[tuple[int, ...]]:
        """Return one rate for each number of the layer."""
        return [(features, self.outputs or 1), (self.outputs or 1,)]


class SharedHead(Head):
    """One common start for every class, told apart by adaptation alone (UNICORN-MAML, Ye and Chao 2022).

    Whatever vector w the classes share, it adds the same f.w to every logit of an example, which the softmax takes
    away again in the loss and in all its derivatives. So w = 0 is not a special case but the whole family, and what
    is learned of this head are its rates.
    """

    def build_for(self, features: int) -> None:
        """Remember the size of the features."""
        self.features = features
        self.built = True

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return zeros, with classes that the support set does not show ruled out."""
        kernel = tf.zeros([self.features, classes], self.variable_dtype)
        return [kernel, ruled_out(counted(labels, weight), classes, self.variable_dtype)]


class PrototypeHead(Head):
    """The support set's class means as a linear layer (Proto-MAML, Triantafillou et al. 2020, sec. 3).

    With c the mean feature of a class, `-|f - c|^2 = 2 c.f - |c|^2 - |f|^2`, and the last term is the same for every
    class: kernel 2c and bias -|c|^2 give the predictions of a prototypical network before the first step. A learned
    temperature multiplies both, so that the size of the features does not set the size of the first gradient.
    """

    uses_support = True

    def build_for(self, features: int) -> None:
        """Create the temperature, started at 1 / sqrt(features) to keep the first logits within a few units."""
        start = keras.initializers.Constant(-0.5 * math.log(features))
        self.log_temperature = self.add_weight(name="log_temperature", shape=(), initializer=start)
        self.built = True

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the prototypes as a linear layer; a class without examples that count is ruled out.

        Raises:
            ShapeError: if there are no features.
        """
        features = of_support(features)
        means = class_means(features, labels, classes, weight)
        temperature = tf.exp(tf.cast(self.log_temperature, features.dtype))
        bias = ruled_out(counted(labels, weight), classes, features.dtype) - temperature * tf.reduce_sum(
            means**2, axis=1
        )
        return [2 * temperature * tf.transpose(means), bias]


class CosineHead(Head):
    """A query's logit is its scaled cosine with a class's vector, at first the class's mean direction, reweighted.

    The classifier of Gidaris and Komodakis (2018, eq. 3 and 9), whose scale and reweighting of features are learned.
    Their attention over the classes of training is left out: a region's labels need not be of those. Features keep the
    last ReLU of the network, which the paper takes away.
    """

    uses_support = True
    reads_weights = True

    def build_for(self, features: int) -> None:
        """Create the scale, from 10 as in the paper, and the weight of each feature."""
        start = keras.initializers.Constant(math.log(10.0))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=start)
        self.share = self.add_weight(name="feature_scale", shape=(features,), initializer="ones")
        self.built = True

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the reweighted mean directions, and what rules out classes without examples that count.

        Raises:
            ShapeError: if there are no features.
        """
        directions = tf.math.l2_normalize(of_support(features), -1)
        means = class_means(directions, labels, classes, weight) * tf.cast(self.share, directions.dtype)
        return [tf.transpose(means), ruled_out(counted(labels, weight), classes, directions.dtype)]

    def read(self, features: tf.Tensor, layer: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the scaled cosines of features with each class's vector."""
        kernel, bias = layer
        scale = tf.exp(tf.cast(self.log_scale, features.dtype))
        near = tf.einsum("...f,fc->...c", tf.math.l2_normalize(features, -1), tf.math.l2_normalize(kernel, 0))
        return scale * near + bias
