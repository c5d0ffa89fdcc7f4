"""Solving heads: their minima against other solvers, their derivatives against differences, and what counts in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from fewshot.models import make_head
from fewshot.models.heads import ABSENT
from fewshot.models.solvers import SMOOTHING, SolvingHead

HEADS = ("ridge", "logistic", "svm")
STRENGTH = 0.3
RNG = np.random.default_rng(4)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], "int32")


def features_of(count: int, *, labels: np.ndarray = LABELS) -> np.ndarray:
    return RNG.standard_normal((len(labels), count)) + 2 * RNG.standard_normal((3, count))[labels]


FEW, MANY = features_of(4), features_of(20)


def solved(kind: str, x: np.ndarray, y: np.ndarray = LABELS, weight: np.ndarray | None = None) -> list[np.ndarray]:
    """Kernel and bias."""
    head = make_head(kind, strength=STRENGTH)
    head.build_for(x.shape[-1])
    given = None if weight is None else tf.constant(weight, tf.float32)
    return [part.numpy() for part in head.start(tf.constant(x), tf.constant(y), int(y.max()) + 1, given)]


def ones_beside(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


@pytest.mark.parametrize("x", [FEW, MANY], ids=["more-examples", "more-features"])
def test_ridge_is_the_normal_equations(x: np.ndarray) -> None:
    whole = ones_beside(x)
    expected = np.linalg.solve(whole.T @ whole / 9 + STRENGTH * np.eye(whole.shape[1]), whole.T @ np.eye(3)[LABELS] / 9)
    kernel, bias = solved("ridge", x)
    np.testing.assert_allclose(np.vstack([kernel, bias]), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("x", [FEW, MANY], ids=["more-examples", "more-features"])
def test_logistic_is_that_of_scikit_learn(x: np.ndarray) -> None:
    other = LogisticRegression(C=1 / (9 * STRENGTH), fit_intercept=False, tol=1e-10, max_iter=10_000)
    expected = other.fit(ones_beside(x), LABELS).coef_.T
    kernel, bias = solved("logistic", x)
    np.testing.assert_allclose(np.vstack([kernel, bias]), expected, atol=1e-5)


def test_the_machine_is_the_minimum_of_its_dual() -> None:
    kernel = FEW @ FEW.T + SMOOTHING * np.eye(9)
    target = np.eye(3)[LABELS]

    def dual(flat: np.ndarray) -> float:
        a = flat.reshape(9, 3)
        return float(np.trace(a.T @ kernel @ a) / 2 - (target * a).sum())

    bounds = [(None, high) for high in (target / STRENGTH).ravel()]
    sums = {"type": "eq", "fun": lambda flat: flat.reshape(9, 3).sum(axis=1)}
    found = minimize(dual, np.zeros(27), bounds=bounds, constraints=sums, options={"maxiter": 1000, "ftol": 1e-14})
    ours, _ = solved("svm", FEW)
    np.testing.assert_allclose(ours, FEW.T @ found.x.reshape(9, 3), atol=1e-4)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("x", [FEW, MANY], ids=["more-examples", "more-features"])
def test_derivatives_are_those_of_the_solution(kind: str, x: np.ndarray) -> None:
    """In features and strength, against central differences; the solution moves, though Newton's step is from it."""
    head = make_head(kind, strength=STRENGTH)
    assert isinstance(head, SolvingHead)
    head.build_for(x.shape[1])
    upstream = tf.constant(RNG.standard_normal((x.shape[1], 3)))

    def value(features: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(head.start(features, tf.constant(LABELS), 3)[0] * upstream)

    with tf.GradientTape() as tape:
        features = tf.constant(x)
        tape.watch(features)
        loss = value(features)
    of_x, of_strength = tape.gradient(loss, [features, head.log_strength.value])
    direction, step = RNG.standard_normal(x.shape), 1e-6
    ends = [float(value(tf.constant(x + sign * step * direction))) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(tf.reduce_sum(of_x * direction)), rel=1e-5)
    before, step = head.log_strength.numpy(), 1e-3
    values = []
    for sign in (1, -1):
        head.log_strength.assign(before + sign * step)
        values.append((float(head.log_strength.numpy()), float(value(tf.constant(x)))))
    slope = (values[0][1] - values[1][1]) / (values[0][0] - values[1][0])
    assert slope == pytest.approx(float(of_strength), rel=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_weights_are_copies_and_what_does_not_count_is_left_out(kind: str) -> None:
    weight = np.array([1, 2, 1, 1, 1, 0, 1, 3, 1], "float32")
    copied = np.repeat(np.arange(9), weight.astype(int))
    several = solved(kind, FEW[copied], LABELS[copied])
    if kind != "svm":  # whose smoothing tells two copies from one example of twice the bound
        for ours, theirs in zip(solved(kind, FEW, weight=weight), several, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    ignored = np.where(np.arange(9) == 5, -1, LABELS)
    weighted = solved(kind, FEW, weight=(np.arange(9) != 5).astype("float32"))
    for ours, theirs, alone in zip(
        solved(kind, FEW, ignored), weighted, solved(kind, np.delete(FEW, 5, 0), np.delete(LABELS, 5)), strict=True
    ):
        np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(theirs, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_a_class_that_is_not_shown_is_ruled_out_and_changes_nothing(kind: str) -> None:
    kernel, bias = solved(kind, FEW)
    apart = np.array([0, 2, 3], "int32")[LABELS]
    with_gap = solved(kind, FEW, apart)
    np.testing.assert_allclose(with_gap[0][:, [0, 2, 3]], kernel, atol=1e-7)
    np.testing.assert_allclose(with_gap[1][[0, 2, 3]], bias, atol=1e-7)
    assert with_gap[1][1] == ABSENT
    assert not with_gap[0][:, 1].any()


@pytest.mark.parametrize("kind", HEADS)
def test_pixels_are_examples(kind: str) -> None:
    in_windows = solved(
        kind, np.pad(FEW, [(0, 3), (0, 0)]).reshape(3, 2, 2, 4), np.r_[LABELS, [-1] * 3].reshape(3, 2, 2)
    )
    for ours, theirs in zip(in_windows, solved(kind, FEW), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("kind", HEADS)
def test_float32_features_as_many_as_mini_imagenets_are_safe(kind: str) -> None:
    """1,600 of them, positive as after a ReLU, 25 examples of which some are alike, and hardly any regularisation."""
    labels = np.repeat(np.arange(5, dtype="int32"), 5)
    x = (np.maximum(RNG.standard_normal((25, 1600)), 0) * 3 + 5).astype("float32")
    x[1], x[6] = x[0], x[5] * (1 + 1e-7)
    head = make_head(kind, strength=1e-5)
    head.build_for(1600)

    queries, upstream = x + RNG.standard_normal(x.shape), RNG.standard_normal((25, 5))

    def answers(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with tf.GradientTape() as tape:
            given = tf.constant(features)
            tape.watch(given)
            kernel, bias = head.start(given, tf.constant(labels), 5)
            logits = tf.cast(queries, given.dtype) @ kernel + bias
            loss = tf.reduce_sum(logits * tf.cast(upstream, given.dtype))
        return logits.numpy(), tape.gradient(loss, given).numpy()

    single, double = answers(x), answers(x.astype("float64"))
    for ours, theirs in zip(single, double, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, atol=2e-2 * np.abs(theirs).max())


@pytest.mark.parametrize("kind", HEADS)
def test_the_number_of_examples_and_classes_may_be_known_to_the_graph_alone(kind: str) -> None:
    head = make_head(kind, strength=STRENGTH)
    head.build_for(4)
    start: Callable[..., list[tf.Tensor]] = tf.function(
        lambda x, y: head.start(x, y, tf.reduce_max(y) + 1),
        input_signature=[tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([None], tf.int32)],
    )
    for ours, theirs in zip(start(FEW, LABELS), solved(kind, FEW), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
