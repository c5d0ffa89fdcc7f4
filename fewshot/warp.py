"""Affine changes of images in TensorFlow: training changes them (`tasks`), adaptation views them (`meta`)."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

Fill = Literal["constant", "reflect", "wrap", "nearest"]
"""What comes in from outside: "constant" is 0 (Omniglot's paper), the others repeat the image."""


def affine_transforms(changes: tf.Tensor, rows: int | tf.Tensor, columns: int | tf.Tensor) -> tf.Tensor:
    """Return what `warp` takes, about the middle of images of `rows` and `columns`.

    Args:
        changes: [n, 6] float: rotation and shear in radians, relative change of size along columns and along rows
            (0 leaves it, -2 mirrors it), shift along columns and along rows as shares of the image's sides.
        rows: Of the images, in pixels.
        columns: Of the images, in pixels.

    Returns:
        [n, 8], which map places of the result to places of the image.
    """
    angle, shear, scale_x, scale_y, shift_x, shift_y = tf.unstack(changes, axis=1)
    height, width = tf.cast(rows, changes.dtype), tf.cast(columns, changes.dtype)
    cosine, sine, slope = tf.cos(angle), tf.sin(angle), tf.tan(shear)
    # From output to input, so the size is divided by: rotation @ [[1, slope], [0, 1]] @ diag(1/(1+sx), 1/(1+sy)).
    a, b = cosine / (1.0 + scale_x), (cosine * slope - sine) / (1.0 + scale_y)
    c, d = sine / (1.0 + scale_x), (sine * slope + cosine) / (1.0 + scale_y)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    offset_x = middle_x + shift_x * width - a * middle_x - b * middle_y
    offset_y = middle_y + shift_y * height - c * middle_x - d * middle_y
    zero = tf.zeros_like(a)
    return tf.stack([a, b, offset_x, c, d, offset_y, zero, zero], axis=1)


def warp(images: tf.Tensor, transforms: tf.Tensor, fill: Fill) -> tf.Tensor:
    """Move the pixels of images: bilinearly, or labels by their nearest pixel.

    Args:
        images: [n, H, W, bands] float, or int labels, for which -1 comes in where the fill is "constant".
        transforms: [n, 8], of `affine_transforms`.
        fill: What comes in from outside.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=-1.0 if images.dtype.is_integer else 0.0,
        interpolation="NEAREST" if images.dtype.is_integer else "BILINEAR",
        fill_mode=fill.upper(),
    )


def displace(images: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """Move every pixel by a shift of its own: bilinearly, or labels by their nearest pixel; edges repeat outside.

    Args:
        images: [n, H, W, bands] float, or int labels.
        shifts: [n, H, W, 2] float, from where each pixel is taken, in rows and columns away from its own place.
    """
    shape = tf.shape(images)
    size = tf.cast(shape[1:3], shifts.dtype)
    grid = tf.stack(tf.meshgrid(tf.range(size[0]), tf.range(size[1]), indexing="ij"), axis=-1)
    places = tf.clip_by_value(grid + shifts, 0.0, size - 1)
    pixels = tf.reshape(images, [shape[0], -1, shape[3]])

    def at(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        index = tf.reshape(tf.cast(rows, tf.int32) * shape[2] + tf.cast(columns, tf.int32), [shape[0], -1])
        return tf.reshape(tf.gather(pixels, index, batch_dims=1), shape)

    if images.dtype.is_integer:
        nearest = tf.round(places)
        return at(nearest[..., 0], nearest[..., 1])
    first = tf.floor(places)
    last = tf.minimum(first + 1, size - 1)
    down, right = tf.unstack((places - first)[..., tf.newaxis, :], axis=-1)
    above = at(first[..., 0], first[..., 1]) * (1 - right) + at(first[..., 0], last[..., 1]) * right
    below = at(last[..., 0], first[..., 1]) * (1 - right) + at(last[..., 0], last[..., 1]) * right
    return above * (1 - down) + below * down
