"""The plain methods that must stand beside every meta-learner, in the same interface.

Random initialisation and pre-training differ from a meta-learner only in where the body comes from: both are fitted to
the support set by the same `adapt`, from a head of zeros. A prototypical network is a `MetaLearner` with a prototype
head and no inner steps. Only the nearest neighbour needs code of its own.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from fewshot.meta.descent import InnerLoop
from fewshot.meta.learner import MetaLearner
from fewshot.meta.rates import InnerRates
from fewshot.meta.views import Views
from fewshot.models.heads import FixedHead, Head, SharedHead
from fewshot.models.pretrained import Constant

FINE_TUNING_STEPS = 20
FINE_TUNING_RATES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Rates to choose from, on validation tasks."""


def fine_tuner(  # noqa: PLR0913  the parts of a learner
    body: keras.Model,
    *,
    rate: float,
    steps: int = FINE_TUNING_STEPS,
    regression_outputs: int = 0,
    head: Head | None = None,
    views: Views | None = None,
    frozen: Constant | None = None,
) -> MetaLearner:
    """Return a learner that fine-tunes `body` on the support set, all parameters at one rate.

    Args:
        body: From one example to features; fresh for random initialisation, or trained on all classes.
        rate: Of gradient descent.
        steps: Of gradient descent.
        regression_outputs: Number of targets where numbers are predicted; 0 for classes.
        head: Where the output layer starts; a common start for every class if None.
        views: Of each example, as the learner has them that this is compared with.
        frozen: What examples go through before.
    """
    if head is None:
        head = FixedHead(regression_outputs, name="head") if regression_outputs else SharedHead(name="head")
    inner = InnerLoop(steps=steps, loss="squared_error" if regression_outputs else "cross_entropy")
    return MetaLearner(body, head, InnerRates("constant", initial=rate), inner, views=views, frozen=frozen)


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
