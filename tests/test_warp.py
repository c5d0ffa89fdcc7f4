"""Affine changes and bending, against places computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from fewshot.warp import Fill, affine_transforms, displace, warp


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(2, 5, 7, 3)).astype(np.float32)


def moved(images: np.ndarray, change: list[float], fill: Fill = "constant") -> np.ndarray:
    changes = tf.constant([change] * len(images), tf.float32)
    return warp(tf.constant(images), affine_transforms(changes, *images.shape[1:3]), fill).numpy()


def test_no_change_leaves_images_alone(images: np.ndarray) -> None:
    np.testing.assert_array_equal(moved(images, [0.0] * 6), images)


def test_a_quarter_turn_and_a_mirrored_view_are_numpy_s(images: np.ndarray) -> None:
    square = images[:, :, 1:6]
    np.testing.assert_allclose(moved(square, [math.pi / 2, 0, 0, 0, 0, 0]), np.rot90(square, axes=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(moved(images, [0, 0, -2, 0, 0, 0]), images[:, :, ::-1], atol=1e-5)


def test_a_shift_is_a_share_of_the_side_and_the_fill_comes_in(images: np.ndarray) -> None:
    after = moved(images, [0, 0, 0, 0, 2 / 7, 1 / 5])
    np.testing.assert_allclose(after[:, :4, :5], images[:, 1:, 2:], atol=1e-5)
    assert not after[:, 4:].any()
    assert moved(images, [0, 0, 0, 0, 2 / 7, 1 / 5], "nearest")[:, 4:].all()


def test_an_image_twice_as_large_shows_its_middle(images: np.ndarray) -> None:
    after = moved(images, [0, 0, 1, 1, 0, 0])
    np.testing.assert_allclose(after[:, 2, 3], images[:, 2, 3], atol=1e-6)
    np.testing.assert_allclose(after[:, 2, 5], images[:, 2, 4], atol=1e-6)


def test_labels_move_to_the_nearest_pixel_and_are_ignored_outside() -> None:
    labels = tf.reshape(tf.range(9), [1, 3, 3, 1])
    change = affine_transforms(tf.constant([[0, 0, 0, 0, 0.4, 0]]), 3, 3)
    np.testing.assert_array_equal(warp(labels, change, "constant")[0, ..., 0], [[1, 2, -1], [4, 5, -1], [7, 8, -1]])


def test_pixels_displaced_each_on_its_own(images: np.ndarray) -> None:
    shifts = np.zeros((2, 5, 7, 2), np.float32)
    np.testing.assert_array_equal(displace(tf.constant(images), tf.constant(shifts)), images)
    shifts[0, 1, 2] = [1, 0.25]  # a row down, a quarter of a column right
    shifts[1, 4, 6] = [3, 3]  # outside: the edge repeats
    after = displace(tf.constant(images), tf.constant(shifts)).numpy()
    np.testing.assert_allclose(after[0, 1, 2], 0.75 * images[0, 2, 2] + 0.25 * images[0, 2, 3], rtol=1e-6)
    np.testing.assert_array_equal(after[1], images[1])


def test_labels_displaced_are_labels() -> None:
    labels = tf.constant([[[[-1], [5], [2]]]])
    shifts = tf.constant([[[[0.0, 0.6], [0.0, 0.4], [0.0, -2.0]]]])
    np.testing.assert_array_equal(displace(labels, shifts)[0, 0, :, 0], [5, 5, -1])
