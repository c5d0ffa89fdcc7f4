"""The adapted vector: how what a task leaves lies in one row of numbers.

`[fixed + per_class * classes]` float32: a fingerprint of the model, the parameters that adapt, the
statistics that prediction needs, then the head's layer. Its length tells the number of classes. Where starts are drawn
it has these of each draw, all layers last.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fewshot.exported.card import AdaptedLayout
from fewshot.meta import MetaLearner
from fewshot.models import Head

NONE = (0,)
"""The shape of a kernel that does not travel."""
FINGERPRINTS = 2**24
"""Whole numbers below this are exact in float32."""


def adapted_layout(learner: MetaLearner) -> AdaptedLayout:
    """Return how long a learner's adapted vector is, and the fingerprint it begins with."""
    start, draws = learner.start(), learner.draws()
    columns = column_shapes(learner, learner.head) if learner.head else []
    moving = moving_of(start.body, start.rates)
    digest = hashlib.sha256()
    for variable in [*learner.weights, *learner.constants()]:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return AdaptedLayout(
        fixed=1 + draws * sum(math.prod(value.shape) for value in [*moving, *start.state]),
        per_class=draws * sum(math.prod(shape) for shape in columns),
        fingerprint=int.from_bytes(digest.digest()[:4], "big") % FINGERPRINTS,
        features=learner.body.output_shape[-1],
    )


def moving_of(body: Sequence[tf.Tensor], rates: Sequence[tf.Tensor | None]) -> list[tf.Tensor]:
    """Return the parameters of a body that adapt: those with a rate. The rates of the head come after them."""
    return [value for value, rate in zip(body, rates, strict=False) if rate is not None]


def column_shapes(learner: MetaLearner, head: Head) -> list[tuple[int, ...]]:
    """Return the shapes of one class's part of the adapted layer; none of a kernel that is the same in every task."""
    shapes = head.column_shapes(learner.body.output_shape[-1])
    return [NONE, *shapes[1:]] if head.same_start and not learner.moving[-1] else shapes


def flat(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return all numbers of tensors in one row."""
    return tf.concat([tf.zeros([0]), *(tf.cast(tf.reshape(value, [-1]), tf.float32) for value in values)], axis=0)
