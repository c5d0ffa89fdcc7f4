"""Losses of queries besides the cross-entropy, against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fewshot.models.heads import ruled_out
from fewshot.training.kinds.losses import task_loss

RNG = np.random.default_rng(5)
LABELS = RNG.integers(-1, 3, (2, 7))
LOGITS = RNG.standard_normal((2, 7, 4)).astype("float32")
LOGITS += ruled_out(tf.constant([0, 1, 2]), 4, tf.float32).numpy()  # the last class is not shown


def by_hand(each: np.ndarray) -> float:
    """The mean over tasks of the mean over labels that count."""
    return float(np.mean([values[labels >= 0].mean() for values, labels in zip(each, LABELS, strict=True)]))


def test_pairs_tell_each_class_from_not_being_it() -> None:
    sigmoid = 1 / (1 + np.exp(-LOGITS[..., :3]))
    right = np.eye(3)[np.maximum(LABELS, 0)]
    each = -(right * np.log(sigmoid) + (1 - right) * np.log(1 - sigmoid)).mean(axis=-1)
    loss = task_loss("pairs", label_smoothing=0.0, balanced=False)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(by_hand(each), rel=1e-5)


def test_squared_is_the_distance_of_the_sigmoid_to_one_hot() -> None:
    sigmoid = 1 / (1 + np.exp(-LOGITS[..., :3]))
    each = ((sigmoid - np.eye(3)[np.maximum(LABELS, 0)]) ** 2).sum(axis=-1)
    loss = task_loss("squared", label_smoothing=0.0, balanced=False)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(by_hand(each), rel=1e-5)
