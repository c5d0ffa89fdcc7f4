"""Heads that read: a query's answer comes from comparing it with the support set, not from a layer that adapts.

| head | compares a query with | by | known as |
|---|---|---|---|
| `matching` | each labelled example | scaled cosine, summed by class | Matching networks |
| `siamese` | each labelled example | a weighted absolute difference | Siamese networks |
| `relation` | each class's mean | a small learned network | Relation networks |
| `propagation` | all examples, and the other queries | labels spread over a graph | TPN; transductive |

What they read is all that a task leaves, so that they take no inner steps; those that read it as a sequence are in
`fewshot.models.sequences`. A memory holds some examples of each class, drawn by a fixed seed where there are more:
classes then count the same, and an adapted model has a known size.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError, ShapeError
from fewshot.models.heads import ABSENT, Count, Given, Head, class_means, counted, of_support, ruled_out

KEPT = 16
"""Examples of a class in a memory, at most, where nobody says how many."""
SEED = (5, 7)
NEIGHBOURS, ALPHA = 20, 0.99
"""Of label propagation: edges of each node, and how far labels spread, as in TPN."""
START = 0.3
"""The scale that propagation begins with, in roots of the number of features: theirs vary by some tenths."""


class ReadingHead(Head):
    """What a task leaves is read, and does not adapt."""

    uses_support = True
    adapts = False

    def require_pictures(self, features: tf.Tensor) -> None:
        """Refuse features of pixels.

        Raises:
            ShapeError: if they are.
        """
        if features.shape.rank != 2:
            raise ShapeError(f"This head {self.pictures_only}: it takes features [n, features] of pictures alone.")


class MemoryHead(ReadingHead):
    """Keeps examples of each class, and their weights as shares of their class."""

    def __init__(self, *, kept: int = KEPT, **kwargs: Any) -> None:
        """Make the head.

        Args:
            kept: Examples of a class, at most.
            **kwargs: Passed to `keras.layers.Layer`.

        Raises:
            RecipeError: if it would keep none.
        """
        super().__init__(**kwargs)
        if kept < 1:
            raise RecipeError(f"A head that reads keeps 1 example of a class or more; received learner.kept = {kept}.")
        self.kept = kept

    def column_shapes(self, features: int) -> list[tuple[int, ...]]:
        """Return the shapes of a class's examples and of their shares."""
        return [(self.kept, features), (self.kept,)]

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the examples [kept, features, classes] and their shares [kept, classes]; 0 where there is none.

        Raises:
            ShapeError: if there are no features.
        """
        features = of_support(features)
        labels = counted(labels, weight)
        each = tf.ones_like(labels, features.dtype)
        if weight is not None:
            each *= tf.cast(weight, features.dtype)
        y = tf.reshape(labels, [-1])
        order = tf.random.experimental.stateless_shuffle(tf.where(y >= 0)[:, 0], SEED)
        x = tf.gather(tf.reshape(features, [-1, features.shape[-1]]), order)
        y, each = tf.gather(y, order), tf.gather(tf.reshape(each, [-1]), order)
        shown = tf.one_hot(y, classes, dtype=tf.int32)
        place = tf.reduce_sum(shown * tf.cumsum(shown, exclusive=True), axis=1)  # among those of its class
        kept = place < self.kept
        where = tf.boolean_mask(tf.stack([place, y], axis=1), kept)
        shares = tf.scatter_nd(where, tf.boolean_mask(each, kept), [self.kept, classes])
        shares = tf.math.divide_no_nan(shares, tf.reduce_sum(shares, axis=0))
        memory = tf.scatter_nd(where, tf.boolean_mask(x, kept), [self.kept, classes, features.shape[-1]])
        return [tf.transpose(memory, [0, 2, 1]), shares]


def shut(shares: tf.Tensor) -> tf.Tensor:
    """Return `[classes]`: `ABSENT` for classes that a memory has no examples of, 0 for the others."""
    return tf.where(tf.reduce_sum(shares, axis=0) > 0, tf.zeros([], shares.dtype), tf.cast(ABSENT, shares.dtype))


class MatchingHead(MemoryHead):
    """p(class) is the attention on its examples: the softmax of scaled cosines (Vinyals et al. 2016, eq. 1).

    Each class's examples share one part, so that larger classes are not favoured. The scale is learned; the paper has
    none. Contextual embeddings of support and queries are left out.
    """

    def build_for(self, features: int) -> None:
        """Create the scale."""
        start = keras.initializers.Constant(math.log(10.0))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=start)
        self.built = True

    def read(self, features: tf.Tensor, layer: Any) -> tf.Tensor:
        """Return the logarithm of the attention on each class, but for a term that all have in common."""
        memory, shares = layer
        near = tf.einsum("...f,kfc->...kc", tf.math.l2_normalize(features, -1), tf.math.l2_normalize(memory, 1))
        scale = tf.exp(tf.cast(self.log_scale, near.dtype))
        there = shares > 0
        share = tf.where(there, tf.math.log(tf.where(there, shares, 1)), ABSENT)
        return tf.reduce_logsumexp(scale * near + share, axis=-2) + shut(shares)


class SiameseHead(MemoryHead):
    """Whether two examples are of one class: sigmoid(w |f - x| + b) (Koch et al. 2015).

    The logit of a class is the mean of its pairs. For the paper's loss of pairs take training.objective = "pairs".
    """

    def build_for(self, features: int) -> None:
        """Create the weight of each feature's difference, and the bias."""
        start = keras.initializers.Constant(-1.0 / math.sqrt(features))
        self.difference = self.add_weight(name="difference_kernel", shape=(features,), initializer=start)
        self.same = self.add_weight(name="same_bias", shape=(), initializer="zeros")
        self.built = True

    def read(self, features: tf.Tensor, layer: Any) -> tf.Tensor:
        """Return each class's mean logit of being the same."""
        memory, shares = layer
        weight = tf.cast(self.difference, features.dtype)[:, None]
        # One example of each class at a time, for [n, kept, features, classes] would be large.
        pairs = [tf.reduce_sum(weight * tf.abs(features[..., None] - x), axis=-2) for x in tf.unstack(memory)]
        logits = tf.reduce_sum(tf.stack(pairs, axis=-2) * shares, axis=-2)
        return logits + tf.cast(self.same, logits.dtype) + shut(shares)


class RelationHead(ReadingHead):
    """A learned network compares a query with each class's mean (Sung et al. 2018, eq. 1).

    One hidden layer on vectors, where the paper has convolutions of maps; means, where it has sums, for unequal shots.
    """

    hidden = 64

    def build_for(self, features: int) -> None:
        """Create the comparing network."""
        for name in ("query_kernel", "class_kernel"):
            setattr(self, name, self.add_weight(name=name, shape=(features, self.hidden), initializer="he_normal"))
        self.hidden_bias = self.add_weight(name="hidden_bias", shape=(self.hidden,), initializer="zeros")
        self.relation = self.add_weight(name="relation_kernel", shape=(self.hidden, 1), initializer="glorot_uniform")
        self.built = True

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the class means [features, classes], and what rules classes out.

        Raises:
            ShapeError: if there are no features.
        """
        features = of_support(features)
        means = class_means(features, labels, classes, weight)
        return [tf.transpose(means), ruled_out(counted(labels, weight), classes, features.dtype)]

    def read(self, features: tf.Tensor, layer: Any) -> tf.Tensor:
        """Return the relation of each query to each class, before the paper's sigmoid."""
        means, shut_out = layer
        query, own = (tf.cast(kernel, features.dtype) for kernel in (self.query_kernel, self.class_kernel))
        queries = tf.einsum("...f,fh->...h", features, query) + tf.cast(self.hidden_bias, features.dtype)
        hidden = tf.nn.relu(queries[..., None, :] + tf.matmul(means, own, transpose_a=True))  # [..., classes, hidden]
        return tf.squeeze(hidden @ tf.cast(self.relation, features.dtype), axis=-1) + shut_out


class PropagationHead(MemoryHead):
    """Labels spread over a graph of support and queries (TPN, Liu et al. 2019); answers depend on all queries.

    Edges are exp(-|f / s - f' / s'|^2 / 2) between nearest neighbours, the scale s of each example learned.
    """

    transductive = True
    pictures_only = "joins each example with every other, which pixels are too many for"
    hidden = 8

    def build_for(self, features: int) -> None:
        """Create the network that gives each example its scale."""
        self.scale_kernel = self.add_weight(
            name="scale_kernel", shape=(features, self.hidden), initializer="glorot_uniform"
        )
        self.scale_out = self.add_weight(name="out_kernel", shape=(self.hidden, 1), initializer="glorot_uniform")
        # Edges that are all near 1 tell no neighbours apart, and the way out of there is long: begin well below.
        begin = keras.initializers.Constant(math.log(math.expm1(START * math.sqrt(features))))
        self.scale_bias = self.add_weight(name="scale_bias", shape=(), initializer=begin)
        self.built = True

    def read(self, features: tf.Tensor, layer: Any) -> tf.Tensor:
        """Return the labels that reach each query [n, classes]."""
        self.require_pictures(features)
        memory, shares = layer
        classes = tf.shape(shares)[1]
        nodes = tf.concat([tf.reshape(tf.transpose(memory, [0, 2, 1]), [-1, features.shape[-1]]), features], axis=0)
        given = tf.concat([tf.reshape(shares, [-1]), tf.zeros_like(features[:, 0])], axis=0)
        known = tf.size(shares)
        there = (given > 0) | (tf.range(tf.shape(nodes)[0]) >= known)
        edges = self._edges(nodes, there)
        degree = tf.math.rsqrt(tf.reduce_sum(edges, axis=1) + 1e-20)
        spread = ALPHA * degree[:, None] * edges * degree[None]
        label = given[:, None] * tf.one_hot(tf.range(tf.shape(nodes)[0]) % classes, classes, dtype=nodes.dtype)
        reached = tf.linalg.solve(tf.eye(tf.shape(nodes)[0], dtype=nodes.dtype) - spread, label)
        return reached[known:] + shut(shares)

    def _edges(self, nodes: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
        """Return the weights [n, n] of edges between nearest neighbours, 0 elsewhere and where no example is."""
        hidden = tf.nn.relu(nodes @ tf.cast(self.scale_kernel, nodes.dtype))
        scale = hidden @ tf.cast(self.scale_out, nodes.dtype) + tf.cast(self.scale_bias, nodes.dtype)
        scaled = nodes / (tf.nn.softplus(scale) + 1e-6)
        size = tf.reduce_sum(scaled**2, axis=1)
        distance = size[:, None] + size[None] - 2 * tf.matmul(scaled, scaled, transpose_b=True)
        both = there[:, None] & there[None] & ~tf.eye(tf.shape(nodes)[0], dtype=tf.bool)
        # Relative to the shortest edge, which changes no answer, or where all are long none would be left in float32.
        shortest = tf.stop_gradient(tf.reduce_min(tf.where(both, distance, distance.dtype.max)))
        edges = tf.where(both, tf.exp(-tf.maximum(distance - shortest, 0) / 2), 0)
        least = tf.math.top_k(edges, tf.minimum(NEIGHBOURS, tf.shape(nodes)[0])).values[:, -1:]
        near = edges >= tf.stop_gradient(least)
        return tf.where(near | tf.transpose(near), edges, 0)
