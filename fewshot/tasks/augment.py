"""Changes to the images of a meta-batch in training: stateless TensorFlow, the same seed gives the same change.

Each change takes images [tasks, n, H, W, bands] float32, 0-1, and a seed [2] int64. Those that move pixels also take
the labels of pixels, [tasks, n, H, W, 1] int32, -1 where ignored.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.tasks.task import TaskBatch
from fewshot.warp import Fill, affine_transforms, displace, warp

Per = Literal["none", "image", "task"]

BENT_POINTS = 5
"""Points along each side whose shifts bend an image."""
CHANGES = 8
"""Seeds drawn for a meta-batch, one for each kind of change."""


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image; zero and "none" leave it alone.

    Attributes:
        turns: Quarter turns, drawn for every image, or once a task so that all of its images turn alike.
        flips: Left-right flips, drawn likewise; with `turns` they give all eight views of a square.
        rotation: Greatest angle, degrees, either way; for every image, as all of the following.
        shear: Greatest angle, degrees.
        scale: Greatest relative change of size, each axis on its own: 0.2 is from 0.8 to 1.2.
        shift: Greatest shift as a share of the side.
        elastic: Standard deviation of smooth bending as a share of the side: 0.03 bends an image of 36 pixels by one.
            Edges repeat outside, whatever the fill.
        fill: What comes in from outside: "constant" is 0 (Omniglot's paper), "reflect" suits land cover.
        brightness: Greatest value added to all bands.
        contrast: Greatest relative change of the distance from the image's mean.
        gain: Greatest relative change of each band on its own.
        colour_per: Whether brightness, contrast and gain are drawn for every image or once a task.
        noise: Standard deviation of the noise added to every pixel.
        erase: Greatest side of a rectangle set to the image's mean, as a share of the image's side.
        band_dropout: Probability that a task lacks a band, which is then 0 in all of its images, so that the learner
            also adapts where bands are missing. Some band is always left.
    """

    turns: Per = "none"
    flips: Per = "none"
    rotation: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    fill: Fill = "constant"
    brightness: float = 0.0
    contrast: float = 0.0
    gain: float = 0.0
    colour_per: Literal["image", "task"] = "image"
    noise: float = 0.0
    erase: float = 0.0
    band_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            RecipeError: if one is out of range.
        """
        greatest = {"rotation": 180.0, "shear": 60.0, "scale": 0.9, "shift": 1.0, "elastic": 0.5}
        greatest |= {"erase": 1.0, "band_dropout": 0.9}
        for name in (*greatest, "brightness", "contrast", "gain", "noise"):
            value, limit = getattr(self, name), greatest.get(name, math.inf)
            if not 0 <= value <= limit:
                raise RecipeError(f"augmentation {name} lies in 0-{limit:g}, received {value}")
        choices: dict[str, tuple[str, ...]] = {"turns": ("none", "image", "task"), "flips": ("none", "image", "task")}
        choices |= {"colour_per": ("image", "task"), "fill": ("constant", "reflect", "wrap", "nearest")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise RecipeError(f"augmentation {name} is one of {', '.join(known)}; received {getattr(self, name)!r}")


def make_augment(augmentation: Augmentation) -> Callable[[TaskBatch, Any], TaskBatch] | None:
    """Return the function that `stream` applies to every meta-batch, or None if nothing is asked for."""
    if augmentation == Augmentation(fill=augmentation.fill, colour_per=augmentation.colour_per):
        return None

    def augment(batch: TaskBatch, seed: Any) -> TaskBatch:
        shots, seeds = batch.support_x.shape[1], tf.unstack(tf.random.split(seed, CHANGES))
        # Support and queries change together: what holds for a task holds for both.
        images = _move(tf.concat([batch.support_x, batch.query_x], axis=1), seeds, augmentation)
        images = _change_values(images, seeds, augmentation)
        changed = batch._replace(support_x=images[:, :shots], query_x=images[:, shots:])
        if batch.support_y.shape.rank < 4:
            return changed
        # Labels of pixels move as their images do; -1 comes in from outside.
        labels = tf.concat([batch.support_y, batch.query_y], axis=1)[..., tf.newaxis]
        labels = _move(labels, seeds, augmentation)[..., 0]
        return changed._replace(support_y=labels[:, :shots], query_y=labels[:, shots:])

    return augment


def _move(images: tf.Tensor, seeds: list[tf.Tensor], wanted: Augmentation) -> tf.Tensor:
    """Apply in turn what moves pixels to images [tasks, n, H, W, bands] or labels [tasks, n, H, W, 1]."""
    if wanted.turns != "none":
        images = _turn(images, seeds[0], per=wanted.turns)
    if wanted.flips != "none":
        images = _flip(images, seeds[1], per=wanted.flips)
    if wanted.elastic:
        images = _bend(images, seeds[7], elastic=wanted.elastic)
    if wanted.rotation or wanted.shear or wanted.scale or wanted.shift:
        images = _affine(images, seeds[2], wanted)
    return images


def _change_values(images: tf.Tensor, seeds: list[tf.Tensor], wanted: Augmentation) -> tf.Tensor:
    """Apply in turn what changes the values of images [tasks, n, H, W, bands]; a band that a task lacks stays 0."""
    there = tf.cast(tf.reduce_any(tf.not_equal(images, 0), axis=[1, 2, 3], keepdims=True), images.dtype)
    if wanted.brightness or wanted.contrast or wanted.gain:
        images = _recolour(images, seeds[3], wanted)
    if wanted.noise:
        noise = tf.random.stateless_normal(tf.shape(images), seeds[4], stddev=wanted.noise)
        images = tf.clip_by_value(images + noise, 0.0, 1.0)
    if wanted.erase:
        images = _erase(images, seeds[5], largest=wanted.erase)
    if wanted.band_dropout:
        images = _drop_bands(images, seeds[6], share=wanted.band_dropout)
    return images * there


def _turn(images: tf.Tensor, seed: tf.Tensor, *, per: Per) -> tf.Tensor:
    """Turn each image, or each task, by 0-3 quarter turns; only squares can be turned."""
    if images.shape[2] != images.shape[3]:
        raise RecipeError(f"quarter turns need square images, received {images.shape[2]}x{images.shape[3]} pixels")
    turns = tf.random.stateless_uniform(_drawn_for(images, per), seed, 0, 4, tf.int32)
    half = tf.reverse(images, [2, 3])
    images = tf.where(turns >= 2, half, images)
    quarter = tf.reverse(tf.transpose(images, [0, 1, 3, 2, 4]), [2])
    return tf.where(turns % 2 == 1, quarter, images)


def _flip(images: tf.Tensor, seed: tf.Tensor, *, per: Per) -> tf.Tensor:
    """Flip half of the images, or of the tasks, left to right."""
    chosen = tf.random.stateless_uniform(_drawn_for(images, per), seed) < 0.5
    return tf.where(chosen, tf.reverse(images, [3]), images)


def _affine(images: tf.Tensor, seed: tf.Tensor, wanted: Augmentation) -> tf.Tensor:
    """Rotate, shear, scale and shift every image about its centre: bilinearly, or labels by their nearest pixel."""
    shape, (rows, columns, bands) = tf.shape(images), images.shape[2:]
    limits = [math.radians(wanted.rotation), math.radians(wanted.shear), wanted.scale, wanted.scale]
    limits += [wanted.shift, wanted.shift]
    drawn = tf.random.stateless_uniform([shape[0] * shape[1], 6], seed, -1.0, 1.0) * tf.constant(limits)
    transforms = affine_transforms(drawn, rows, columns)
    moved = warp(tf.reshape(images, [-1, rows, columns, bands]), transforms, wanted.fill)
    return tf.ensure_shape(tf.reshape(moved, shape), images.shape)


def _bend(images: tf.Tensor, seed: tf.Tensor, *, elastic: float) -> tf.Tensor:
    """Bend every image smoothly, as handwriting differs from hand to hand (Simard et al. 2003).

    `BENT_POINTS` points along each side are shifted, and the pixels between them follow smoothly.
    """
    shape, (rows, columns, bands) = tf.shape(images), images.shape[2:]
    points = [shape[0] * shape[1], BENT_POINTS, BENT_POINTS, 2]
    shifts = tf.random.stateless_normal(points, seed) * (elastic * tf.constant([rows, columns], tf.float32))
    shifts = tf.image.resize(shifts, [rows, columns], "bicubic")
    bent = displace(tf.reshape(images, [-1, rows, columns, bands]), shifts)
    return tf.ensure_shape(tf.reshape(bent, shape), images.shape)


def _recolour(images: tf.Tensor, seed: tf.Tensor, wanted: Augmentation) -> tf.Tensor:
    """Change brightness, contrast and the gain of each band; the result stays in 0-1."""
    one = _drawn_for(images, wanted.colour_per)
    seeds = tf.unstack(tf.random.split(seed, 3))
    brightness = tf.random.stateless_uniform(one, seeds[0], -wanted.brightness, wanted.brightness)
    contrast = 1.0 + tf.random.stateless_uniform(one, seeds[1], -wanted.contrast, wanted.contrast)
    each_band = [*one[:-1], images.shape[-1]]
    gain = 1.0 + tf.random.stateless_uniform(each_band, seeds[2], -wanted.gain, wanted.gain)
    mean = tf.reduce_mean(images, axis=[2, 3, 4], keepdims=True)
    return tf.clip_by_value(((images - mean) * contrast + mean) * gain + brightness, 0.0, 1.0)


def _erase(images: tf.Tensor, seed: tf.Tensor, *, largest: float) -> tf.Tensor:
    """Set a rectangle of every image, its sides from 0 to `largest`, to the image's mean (Zhong et al. 2020)."""
    one = _drawn_for(images, "image")
    size_seed, place_seed = tf.unstack(tf.random.split(seed, 2))
    # [2, tasks, n, 1, 1, 1]: rows, then columns.
    sizes = tf.random.stateless_uniform([2, *one], size_seed, 0.0, largest)
    starts = tf.random.stateless_uniform([2, *one], place_seed) * (1.0 - sizes)
    rows, columns = images.shape[2], images.shape[3]
    row = tf.reshape((tf.range(rows, dtype=tf.float32) + 0.5) / rows, [1, 1, rows, 1, 1])
    column = tf.reshape((tf.range(columns, dtype=tf.float32) + 0.5) / columns, [1, 1, 1, columns, 1])
    inside = (row >= starts[0]) & (row < starts[0] + sizes[0]) & (column >= starts[1]) & (column < starts[1] + sizes[1])
    return tf.where(inside, tf.reduce_mean(images, axis=[2, 3], keepdims=True), images)


def _drop_bands(images: tf.Tensor, seed: tf.Tensor, *, share: float) -> tf.Tensor:
    """Set each band of a whole task to 0 with probability `share`; a task that would lose all of them keeps all."""
    kept = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1, images.shape[-1]], seed) >= share
    kept |= ~tf.reduce_any(kept, axis=-1, keepdims=True)
    return images * tf.cast(kept, images.dtype)


def _drawn_for(images: tf.Tensor, per: str) -> list[Any]:
    """Return the shape of one number an image, or a task, that broadcasts over [tasks, n, H, W, bands]."""
    shape = tf.shape(images)
    return [shape[0], shape[1] if per == "image" else 1, 1, 1, 1]
