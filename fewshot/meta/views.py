"""Views: the same example seen a few times, slightly changed, where a task has too few examples to know what varies.

Outside training a learner may fit several views of each support example and average its answers over several views of
each query. What may vary is the same in every region (a character stays itself when turned by ten degrees, a forest
when seen from the other side), so it needs no example. The views are fixed: a query's answer depends on itself and the
support set alone, and the same request gets the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.descent import Support
from fewshot.warp import Fill, affine_transforms, warp

VIEW_SEED = 5
"""Draws the same views for every learner, everywhere."""


@dataclass(frozen=True)
class Views:
    """How often each example is seen outside training, and what may differ; the first view is the example itself.

    Attributes:
        count: Views of each support example and of each query; 1 for the example alone.
        turns: Whether views go round by quarter turns; the examples must be square.
        flips: Whether every other round of views is mirrored left to right.
        rotation: Greatest angle either way, degrees.
        shear: Greatest angle, degrees.
        scale: Greatest relative change of size, each axis on its own.
        shift: Greatest shift as a share of the side.
        fill: What comes in from outside: `constant` is 0, `reflect`, `wrap` and `nearest` repeat the image.
    """

    count: int = 1
    turns: bool = False
    flips: bool = False
    rotation: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    fill: Fill = "reflect"

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            RecipeError: if one is out of range, or several views would not differ.
        """
        limits = {"count": (1, 64), "rotation": (0, 180), "shear": (0, 60), "scale": (0, 0.9), "shift": (0, 1)}
        for name, (least, greatest) in limits.items():
            if not least <= getattr(self, name) <= greatest:
                raise RecipeError(f"views.{name} lies in {least}-{greatest}, received {getattr(self, name)}")
        varies = any((self.turns, self.flips, self.rotation, self.shear, self.scale, self.shift))
        if self.count > 1 and not varies:
            raise RecipeError(
                f"views.count is {self.count}, but nothing differs between the views; set views.turns, views.flips, "
                "views.rotation, views.shear, views.scale or views.shift"
            )

    def changes(self) -> np.ndarray:
        """Return what each view changes, [count, 6], as `affine_transforms` takes it."""
        greatest = [math.radians(self.rotation), math.radians(self.shear), self.scale, self.scale]
        drawn = np.random.default_rng(VIEW_SEED).uniform(-1.0, 1.0, (self.count, 6))
        changes = drawn * [*greatest, self.shift, self.shift]
        changes[0] = 0.0
        view = np.arange(self.count)
        around = 4 if self.turns else 1
        changes[:, 0] += view % around * (math.pi / 2)
        mirrored = self.flips & (view // around % 2 == 1)
        changes[:, 2] = np.where(mirrored, -2.0 - changes[:, 2], changes[:, 2])
        return changes

    def require_fit(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        """Refuse views of what has none.

        Args:
            input_shape: Of one example.
            output_shape: Of what the network makes of one example.

        Raises:
            RecipeError: if examples are not images, or each pixel has a label, which would have to move along.
        """
        if self.count == 1:
            return
        if len(input_shape) != 3 or len(output_shape) != 1:
            raise RecipeError("views.count above 1 is for images with one label each; leave it at 1 here")
        if self.turns and input_shape[0] != input_shape[1]:
            raise RecipeError(f"views.turns needs square images, received {input_shape[0]}x{input_shape[1]} pixels")

    def of(self, images: tf.Tensor) -> tf.Tensor:
        """Return every view of images [n, H, W, bands], [n * count, H, W, bands], those of an image together."""
        if self.count == 1:
            return images
        shape = tf.shape(images)
        changes = tf.constant(self.changes(), tf.float32)
        transforms = tf.tile(affine_transforms(changes, shape[1], shape[2]), [shape[0], 1])
        return tf.ensure_shape(
            warp(tf.repeat(images, self.count, axis=0), transforms, self.fill), [None, *images.shape[1:]]
        )

    def of_support(self, support: Support) -> Support:
        """Return a support set of every view, labelled and weighted as the example it shows."""
        if self.count == 1:
            return support
        weight = None if support.weight is None else tf.repeat(support.weight, self.count, axis=0)
        return Support(self.of(support.x), tf.repeat(support.y, self.count, axis=0), weight)

    def joined(self, logits: tf.Tensor) -> tf.Tensor:
        """Return the mean log-probabilities [n, classes] of the views' logits [n * count, classes]."""
        return joined(logits, self.count)


def joined(logits: tf.Tensor, count: int) -> tf.Tensor:
    """Return the mean log-probabilities [n, classes] of logits [n * count, classes] of `count` views each."""
    if count == 1:
        return logits
    views = tf.reshape(tf.nn.log_softmax(logits), [-1, count, tf.shape(logits)[-1]])
    queries = None if logits.shape[0] is None else logits.shape[0] // count
    return tf.ensure_shape(tf.reduce_mean(views, axis=1), [queries, logits.shape[-1]])
