"""Frozen features, computed once: what a network's frozen part makes of the pictures, kept beside the run.

Where nothing before them trains, features are all that training needs to see. Changes of pictures cannot be drawn anew
for each task then; so some changed copies of each picture are made, its variants, and each task shows one of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fewshot.data.region import FloatArray, ImageStore, IntArray, RegionSet
from fewshot.files import write_whole
from fewshot.models import Constant
from fewshot.progress import progress_bar
from fewshot.tasks.augment import Augmentation, make_augment
from fewshot.tasks.stream import Augment
from fewshot.tasks.task import TaskBatch
from fewshot.training.frozen import frozen_part
from fewshot.training.kinds.kind import Kind
from fewshot.training.recipe_tables import NetworkTable

BATCH = 64
"""Pictures that go through the network at a time."""
LOOKED_AT = 64
"""Pictures whose pixels tell one set of data from another, beside all of their names."""


class FeatureStore(ImageStore):
    """Features in place of the pictures of a store: [F] each, or [variants, F] where there are several."""

    def __init__(self, base: ImageStore, images: IntArray, features: npt.NDArray[Any]) -> None:
        """Stand for `base`.

        Args:
            base: The pictures.
            images: [n] int64, those that have features, ascending.
            features: [n, variants, F] of them.
        """
        self.names, self.bands, self.shape = base.names, base.bands, features.shape[2:]
        self._images, self._features = images, features

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the features of images `indices` [n] as [n, F] or [n, variants, F] float32."""
        rows = np.searchsorted(self._images, np.asarray(indices, np.int64))
        features = self._features[rows].astype(np.float32)
        return features[:, 0] if features.shape[1] == 1 else features


def seen_part(part: RegionSet, kind: Kind, network: NetworkTable, folder: Path) -> RegionSet:
    """Return a part with frozen features in place of its pictures; as it is where features are not computed once.

    Args:
        part: Of the data.
        kind: Of its tasks.
        network: Of the recipe.
        folder: Where the features are kept.
    """
    return _seen(part, kind, replace(network, variants=min(network.variants, 1)), Augmentation(), folder)


def seen_training(
    part: RegionSet, kind: Kind, network: NetworkTable, augmentation: Augmentation, folder: Path
) -> tuple[RegionSet, Augment | None]:
    """Return the training part likewise, its pictures in all their variants, and the change that a stream makes.

    Args:
        part: Of the data.
        kind: Of its tasks.
        network: Of the recipe.
        augmentation: Of the recipe.
        folder: Where the features are kept.
    """
    found = _seen(part, kind, network, augmentation, folder)
    if found is part:
        return part, make_augment(augmentation)
    return found, partial(show_variant, dropout=network.feature_dropout)


def show_variant(batch: TaskBatch, seed: Any, *, dropout: float = 0.0) -> TaskBatch:
    """Show each task one variant of all its pictures, some of its features missing.

    Args:
        batch: Of features [tasks, n, variants, F], or [tasks, n, F] where there is one variant alone.
        seed: [2] int64.
        dropout: Probability that a task lacks a feature.
    """
    pick, drop = tf.unstack(tf.random.split(seed, 2))
    parts, tasks = [batch.support_x, batch.query_x], tf.shape(batch.query_x)[0]
    if batch.query_x.shape.rank == 4:
        chosen = tf.random.stateless_uniform([tasks], pick, 0, batch.query_x.shape[2], tf.int32)
        parts = [tf.gather(x, chosen, axis=2, batch_dims=1) for x in parts]
    if dropout:
        shown = tf.random.stateless_uniform([tasks, 1, parts[0].shape[-1]], drop) >= dropout
        parts = [x * tf.cast(shown, x.dtype) for x in parts]
    return batch._replace(support_x=parts[0], query_x=parts[1])


def _seen(part: RegionSet, kind: Kind, network: NetworkTable, augmentation: Augmentation, folder: Path) -> RegionSet:
    frozen = frozen_part(network, kind.problem(part)) if network.variants else None
    if frozen is None:
        return part
    owned = [region.images for region in part.regions]
    owned += [images for task in part.fixed_tasks for images in (task.support, task.query)]
    images = np.unique(np.concatenate(owned))
    file = folder / f"{_digest(part.store, images, frozen, network, augmentation)}.npy"
    if not file.exists():
        write_whole(file, lambda path: _compute(path, part, images, frozen, variant_changes(augmentation, network)))
    return replace(part, store=FeatureStore(part.store, images, np.load(file, mmap_mode="r")))


def _compute(path: Path, part: RegionSet, images: IntArray, frozen: Constant, changes: list[Any]) -> None:
    """Write the features [n, variants, F] float16 of the pictures of a part, a batch at a time."""
    shape = (len(images), len(changes), frozen.model.output_shape[-1])
    features = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    spec = [tf.TensorSpec([None, *part.store.shape])]
    seen = [tf.function(lambda x, change=change: frozen(change(x)), input_signature=spec) for change in changes]
    with progress_bar(f"frozen features of {part.name}", "pictures") as show:
        for first in range(0, len(images), BATCH):
            pictures = tf.constant(part.store.read(images[first : first + BATCH]))
            for variant, see in enumerate(seen):
                features[first : first + BATCH, variant] = see(pictures).numpy()
            show(min(first + BATCH, len(images)), len(images))
    features.flush()


def variant_changes(augmentation: Augmentation, network: NetworkTable) -> list[Any]:
    """Return what each variant changes of pictures [n, H, W, bands]; the first one nothing.

    What is drawn once a task is drawn once a variant, since a task shows one variant.
    """
    augment = make_augment(augmentation)

    def changed(pictures: tf.Tensor, variant: int) -> tf.Tensor:
        labels = tf.zeros([1, 1], tf.int32)
        batch = TaskBatch(pictures[None], labels, pictures[None, :0], labels)
        return (
            pictures
            if augment is None
            else augment(batch, tf.constant([network.variants, variant], tf.int64)).support_x[0]
        )

    return [lambda pictures: pictures] + [
        lambda pictures, variant=variant: changed(pictures, variant) for variant in range(1, network.variants)
    ]


def _digest(
    store: ImageStore, images: IntArray, frozen: Constant, network: NetworkTable, augmentation: Augmentation
) -> str:
    """Return what tells features apart: the network, the pictures and their changes."""
    found = hashlib.sha256(repr((replace(network, file="", projection=0, feature_dropout=0.0), augmentation)).encode())
    for variable in frozen.variables:
        found.update(np.ascontiguousarray(variable.numpy()).tobytes())
    found.update("\n".join(store.names[i] for i in images).encode())
    some = images[np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(np.int64)]
    found.update(np.ascontiguousarray(store.read(some)).tobytes())
    return found.hexdigest()[:16]
