"""Figures of labelled pixels against scikit-learn's, and the loss that passes over ignored ones."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from fewshot.models.heads import ruled_out
from fewshot.training.kinds.losses import LabelledAccuracy, TaskCrossEntropy, TaskMeanIoU
from fewshot.training.kinds.pixels import class_iou, iou_by_class, kappa, mean_iou, overall_accuracy, task_confusion


@pytest.fixture
def pixels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.integers(-1, 5, (3, 16, 16))
    predicted = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, 5, true.shape)).clip(0)
    return true, predicted


def test_figures_are_those_of_scikit_learn(pixels: tuple[np.ndarray, np.ndarray]) -> None:
    true, predicted = pixels
    counts = task_confusion(true, predicted, 5)
    counted = true >= 0
    one, other = true[counted], predicted[counted]
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(one, other, labels=range(5)))
    assert overall_accuracy(counts) == pytest.approx(metrics.accuracy_score(one, other))
    assert kappa(counts) == pytest.approx(metrics.cohen_kappa_score(one, other))
    np.testing.assert_allclose(class_iou(counts), metrics.jaccard_score(one, other, average=None))
    assert mean_iou(counts) == pytest.approx(metrics.jaccard_score(one, other, average="macro"))


def test_classes_that_do_not_occur_do_not_count() -> None:
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    counts = task_confusion(true, predicted, 7)
    assert mean_iou(counts) == pytest.approx((2 / 3 + 1 / 2) / 2)
    by_class = iou_by_class("abcdefg", counts[None])
    assert list(by_class) == ["a", "b"]


def test_kappa_of_one_class_is_not_a_number() -> None:
    assert np.isnan(kappa(task_confusion(np.zeros(4, int), np.zeros(4, int), 3)))


def test_ignored_labels_change_neither_loss_nor_accuracy() -> None:
    rng = np.random.default_rng(1)
    labels, logits = rng.integers(0, 3, (2, 4, 5, 5)), rng.normal(size=(2, 4, 5, 5, 3)).astype(np.float32)
    some = np.where(rng.random(labels.shape) < 0.4, -1, labels)
    changed = np.where((some < 0)[..., None], 100.0, logits).astype(np.float32)
    for loss in (TaskCrossEntropy(), TaskCrossEntropy(balanced=True), TaskCrossEntropy(label_smoothing=0.1)):
        assert float(loss(some, logits)) == pytest.approx(float(loss(some, changed)), rel=1e-5)
    expected = np.mean(
        [
            keras.losses.sparse_categorical_crossentropy(y[y >= 0], x[y >= 0], from_logits=True).numpy().mean()
            for y, x in zip(some, logits, strict=True)
        ]
    )
    assert float(TaskCrossEntropy()(some, logits)) == pytest.approx(expected, rel=1e-5)
    accuracy = LabelledAccuracy()
    accuracy.update_state(some, logits)
    assert float(accuracy.result()) == pytest.approx((logits.argmax(-1) == some)[some >= 0].mean())


def test_the_figure_that_chooses_the_best_weights_is_that_of_the_evaluation() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(-1, 9, (5, 2, 6, 6))
    labels[4] = -1
    logits = rng.normal(size=(5, 2, 6, 6, 9)).astype(np.float32)
    logits[0] += 5 * np.eye(9)[np.maximum(labels[0], 0)]
    metric = TaskMeanIoU()
    metric.update_state(labels, logits)
    counts = [task_confusion(y[y >= 0], x.argmax(-1)[y >= 0], 9) for y, x in zip(labels, logits, strict=True)]
    expected = mean_iou(np.stack(counts[:4]))
    assert expected[0] > 2 * expected[1]
    assert float(metric.result()) == pytest.approx(expected.mean(), rel=1e-5)


def test_queries_of_classes_that_the_support_does_not_show_change_no_loss_but_are_wrong() -> None:
    rng = np.random.default_rng(3)
    labels, logits = rng.integers(0, 3, (2, 4, 5, 5)), rng.normal(size=(2, 4, 5, 5, 3)).astype(np.float32)
    logits += rng.normal(scale=2e4, size=(2, 4, 5, 5, 1)).astype(np.float32)  # common to all classes: no difference
    logits[0] += ruled_out(tf.constant([0, 2]), 3, tf.float32).numpy()
    shown = np.where((labels == 1) & (np.arange(2) == 0)[:, None, None, None], -1, labels)
    for loss in (TaskCrossEntropy(), TaskCrossEntropy(balanced=True), TaskCrossEntropy(label_smoothing=0.1)):
        expected = float(loss(shown, logits))
        assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-5)
        assert expected < 10
    counted, left_out = LabelledAccuracy(), LabelledAccuracy()
    counted.update_state(labels, logits)
    left_out.update_state(shown, logits)
    assert float(counted.result()) < float(left_out.result())


def test_a_balanced_loss_counts_every_class_of_a_task_equally() -> None:
    labels = np.array([[0] * 9 + [1]])
    logits = np.zeros((1, 10, 2), np.float32)
    logits[0, :9, 0] = 5.0  # nine right, and the only one of the second class left undecided
    right, undecided = np.log(1 + np.exp(-5.0)), np.log(2)
    assert float(TaskCrossEntropy()(labels, logits)) == pytest.approx(0.9 * right + 0.1 * undecided, rel=1e-5)
    assert float(TaskCrossEntropy(balanced=True)(labels, logits)) == pytest.approx((right + undecided) / 2, rel=1e-5)


def test_balanced_support_loss_agrees_with_weights_by_hand() -> None:
    from fewshot.meta import Support
    from fewshot.meta.descent import support_loss

    rng = np.random.default_rng(2)
    labels = tf.constant(rng.integers(-1, 3, (4, 6, 6)), tf.int32)
    logits = tf.constant(rng.normal(size=(4, 6, 6, 3)))
    counts = np.bincount(labels.numpy()[labels.numpy() >= 0], minlength=3)
    weight = np.where(labels.numpy() >= 0, 1 / counts[labels.numpy()], 0)
    x = tf.zeros([4, 1])
    balanced = support_loss(logits, Support(x, labels), "cross_entropy", balanced=True)
    by_hand = support_loss(logits, Support(x, labels, tf.constant(weight)), "cross_entropy")
    assert float(balanced) == pytest.approx(float(by_hand))
