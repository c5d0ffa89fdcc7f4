"""The outer loss, and the figures beside it: all pass over labels that are to be ignored."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fewshot.meta.descent import label_weights
from fewshot.models.heads import ABSENT

RULED_OUT = -ABSENT / 2
"""Logits so far below the greatest belong to classes that a head has ruled out."""


class TaskCrossEntropy(keras.losses.Loss):
    """Cross-entropy of a task's queries, averaged over the labels that count (0 or more); every task counts equally.

    Labels of classes that the head has ruled out, because the support does not show them, do not count: no answer
    could be right, and their loss would be that of the constant that rules them out.
    """

    def __init__(self, *, label_smoothing: float = 0.0, balanced: bool = False, name: str = "cross_entropy") -> None:
        """Make the loss.

        Args:
            label_smoothing: Share of the target spread over the classes that the task can answer with.
            balanced: Let each class of a task count equally, however many its labels.
            name: Shown by `fit`.
        """
        super().__init__(name=name)
        self.label_smoothing, self.balanced = label_smoothing, balanced

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss of each task, `[tasks]`, of labels [tasks, m, ...] and logits [tasks, m, ..., classes]."""
        labels, classes = tf.cast(y_true, tf.int32), tf.shape(y_pred)[-1]
        possible = tf.cast(y_pred > tf.reduce_max(y_pred, axis=-1, keepdims=True) - RULED_OUT, y_pred.dtype)
        target = possible * tf.one_hot(labels, classes, dtype=y_pred.dtype)  # all zero where a label does not count
        weight = label_weights(target, balanced=self.balanced)
        if self.label_smoothing:
            spread = possible / tf.reduce_sum(possible, axis=-1, keepdims=True)
            target = (1 - self.label_smoothing) * target + self.label_smoothing * spread
        losses = self.of_targets(target, possible, y_pred)
        axes = list(range(1, losses.shape.rank))
        return tf.math.divide_no_nan(tf.reduce_sum(weight * losses, axes), tf.reduce_sum(weight, axes))

    def of_targets(self, target: tf.Tensor, possible: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each label.

        Args:
            target: [tasks, m, ..., classes] one-hot, smoothed.
            possible: 1 for the classes that the task can answer with, 0 for the others.
            logits: [tasks, m, ..., classes].
        """
        del possible
        return -tf.reduce_sum(target * tf.nn.log_softmax(logits), axis=-1)


class TaskPairs(TaskCrossEntropy):
    """Cross-entropy of each class against not being it, as of pairs that are the same or not (Koch et al. 2015)."""

    def of_targets(self, target: tf.Tensor, possible: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the mean over the possible classes."""
        losses = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        return tf.math.divide_no_nan(tf.reduce_sum(possible * losses, -1), tf.reduce_sum(possible, -1))


class TaskSquaredError(TaskCrossEntropy):
    """Squared distance of each class's sigmoid to 0 or 1 (Relation networks, Sung et al. 2018, eq. 2)."""

    def of_targets(self, target: tf.Tensor, possible: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the sum over the possible classes."""
        return tf.reduce_sum(possible * (tf.sigmoid(logits) - target) ** 2, axis=-1)


OBJECTIVES = {
    "cross_entropy": TaskCrossEntropy,
    "pairs": TaskPairs,
    "squared": TaskSquaredError,
    "reptile": TaskCrossEntropy,  # of validation; of training it is the learner's own
}


def task_loss(objective: str, *, label_smoothing: float, balanced: bool) -> TaskCrossEntropy:
    """Make the loss of a task's queries.

    Args:
        objective: One of `OBJECTIVES`.
        label_smoothing: As `TaskCrossEntropy` has it.
        balanced: As `TaskCrossEntropy` has it.
    """
    return OBJECTIVES[objective](label_smoothing=label_smoothing, balanced=balanced)


class TaskMeanIoU(keras.metrics.Mean):
    """Mean intersection over union of the classes that occur, true or predicted, in a task; the mean over tasks.

    The figure that `evaluate` reports. Keras's own pools the counts of all tasks, in which one index means another
    class from region to region.
    """

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Any = None) -> None:
        """Count what was predicted.

        Args:
            y_true: Labels [tasks, ...], negative where ignored.
            y_pred: Logits [tasks, ..., classes].
            sample_weight: Not used.
        """
        shape = tf.shape(y_pred)
        labels = tf.reshape(tf.cast(y_true, tf.int32), [shape[0], -1])
        chosen = tf.reshape(tf.argmax(y_pred, axis=-1, output_type=tf.int32), [shape[0], -1])
        true = tf.one_hot(labels, shape[-1])
        predicted = tf.one_hot(tf.where(labels >= 0, chosen, -1), shape[-1])
        both = tf.reduce_sum(true * predicted, axis=1)
        either = tf.reduce_sum(true, axis=1) + tf.reduce_sum(predicted, axis=1) - both
        occur = tf.reduce_sum(tf.cast(either > 0, "float32"), axis=-1)
        scores = tf.math.divide_no_nan(tf.reduce_sum(tf.math.divide_no_nan(both, either), axis=-1), occur)
        super().update_state(scores, tf.cast(occur > 0, "float32"))


class LabelledAccuracy(keras.metrics.Mean):
    """Share of right answers among the labels that count."""

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Any = None) -> None:
        """Count what was predicted.

        Args:
            y_true: Labels [...], negative where ignored.
            y_pred: Logits [..., classes].
            sample_weight: Not used.
        """
        labels = tf.cast(y_true, tf.int32)
        # Not `==`, which forgets the rank where a number of queries is unknown.
        right = tf.cast(tf.equal(tf.argmax(y_pred, axis=-1, output_type=tf.int32), labels), "float32")
        super().update_state(right, tf.cast(labels >= 0, "float32"))
