"""The nearest labelled example: a plain method without parameters, which every meta-learner has to beat."""

from __future__ import annotations

import tensorflow as tf


def nearest_neighbour(support_x: tf.Tensor, support_y: tf.Tensor, query_x: tf.Tensor, classes: int) -> tf.Tensor:
    """Give each query the class of the support example whose pixels are nearest.

    Args:
        support_x: [tasks, n, ...] float.
        support_y: [tasks, n] int32, 0..classes-1.
        query_x: [tasks, m, ...] float.
        classes: Number of classes.

    Returns:
        [tasks, m, classes] float, minus the squared distance to the nearest example of each class.
    """
    support = tf.reshape(support_x, [tf.shape(support_x)[0], tf.shape(support_x)[1], -1])
    query = tf.reshape(query_x, [tf.shape(query_x)[0], tf.shape(query_x)[1], -1])
    distance = tf.reduce_sum(query**2, axis=2)[:, :, None] + tf.reduce_sum(support**2, axis=2)[:, None, :]
    distance -= 2 * tf.matmul(query, support, transpose_b=True)  # [tasks, m, n]
    other = tf.one_hot(support_y, classes, on_value=0.0, off_value=float("inf"))  # [tasks, n, classes]
    return -tf.reduce_min(distance[:, :, :, None] + other[:, None, :, :], axis=2)
