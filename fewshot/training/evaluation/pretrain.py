"""Baselines that need training: pre-training on all classes, and a prototypical network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import DivergedError
from fewshot.files import write_whole
from fewshot.meta import MetaLearner
from fewshot.meta.baselines import FINE_TUNING_RATES, FINE_TUNING_STEPS, fine_tuner
from fewshot.models import Head
from fewshot.tasks.augment import make_augment
from fewshot.tasks.sources import SineTasks, TaskSource
from fewshot.tasks.stream import stream
from fewshot.tasks.task import TaskBatch
from fewshot.training import build, datasets
from fewshot.training.evaluation.measure import TestTasks, learner_predict, measure_sines, measure_tasks
from fewshot.training.kinds.losses import TaskCrossEntropy
from fewshot.training.recipe import Recipe
from fewshot.training.train import compile_learner

BATCH, PIXEL_BATCH = 64, 16
CHOOSING_TASKS = 100
"""Validation tasks that choose a fine-tuning rate."""


class StopAfter(keras.callbacks.Callback):
    """Stops `fit` after a time."""

    def __init__(self, minutes: float) -> None:
        """Make the callback."""
        super().__init__()
        self.seconds = 60 * minutes

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        self.end = tf.timestamp().numpy() + self.seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop when the time is up."""
        if tf.timestamp().numpy() > self.end:
            self.model.stop_training = True


class Pretrained(NamedTuple):
    """A network trained to tell all classes apart.

    Attributes:
        body: From an example to features.
        head: Kernel [features, classes] and bias [classes] of its own classes.
    """

    body: keras.Model
    head: tuple[np.ndarray, np.ndarray]


def pretrained_body(recipe: Recipe, train: RegionSet | None, cache: Path, *, minutes: float) -> Pretrained:
    """Return a network trained to tell all training classes apart, from `cache` if it is there.

    It sees as many images as the recipe's meta-training does, at most `minutes` of it. For sine waves it is trained
    on all waves at once.
    """
    problem = build.describe_problem(recipe.tasks, train)
    body = build.build_body(recipe.network, problem)
    if train is None:
        outputs, data = 1, _sine_examples(recipe)
    elif problem.pixels or recipe.tasks.labels == "global":
        outputs, data = len(train.classes), _labelled_images(recipe, train, train.classes)
    else:
        names = sorted({name for region in train.regions for name in region.class_names})
        outputs, data = len(names), _labelled_images(recipe, train, names)
    last = keras.layers.Dense(outputs)
    classifier = keras.Sequential([body, last])
    classifier.build((None, *problem.input_shape))
    if cache.exists():
        classifier.load_weights(cache)
    else:
        _fit_classifier(classifier, recipe, problem, data, minutes=minutes)
        write_whole(cache, classifier.save_weights)
    return Pretrained(body, (last.kernel.numpy(), last.bias.numpy()))


def _fit_classifier(
    classifier: keras.Model, recipe: Recipe, problem: build.Problem, data: tf.data.Dataset, *, minutes: float
) -> None:
    """Train on as many images as meta-training sees."""
    loss = (
        keras.losses.MeanSquaredError() if problem.regression else TaskCrossEntropy(balanced=recipe.training.balanced)
    )
    classifier.compile(keras.optimizers.AdamW(1e-3, weight_decay=recipe.training.weight_decay), loss)
    shots, ways = int(np.max(recipe.tasks.shots)), 1 if problem.pixels else recipe.tasks.ways
    images = recipe.training.updates * recipe.training.meta_batch_size * ways * (shots + recipe.tasks.queries)
    classifier.fit(
        data,
        steps_per_epoch=max(images // batch_size(problem), 1),
        shuffle=False,
        verbose=0,
        callbacks=[StopAfter(minutes)],
    )


def batch_size(problem: build.Problem) -> int:
    """Return how many examples an update of pre-training sees; each of many pixels needs fewer."""
    return PIXEL_BATCH if problem.pixels else BATCH


def _labelled_images(recipe: Recipe, train: RegionSet, names: Sequence[str]) -> tf.data.Dataset:
    """Stream (images [n, H, W, bands], labels [n] or [n, H, W]) of all regions, augmented as in meta-training."""
    number = {name: i for i, name in enumerate(names)}
    images = np.concatenate([region.images for region in train.regions])
    labels = np.concatenate(
        [np.array([number[name] for name in region.class_names])[region.labels] for region in train.regions]
    )
    source: TaskSource = _ImageTasks(train, images, labels)
    if recipe.tasks.target == "pixels":
        source = _WindowTasks(train, images)
    augment = make_augment(recipe.augment)
    data = stream(source, meta_batch_size=1, seed=recipe.training.seed + 1, augment=augment)
    return data.map(lambda x, y: (x[2][0], y[0]))


class _ImageTasks:
    """Draws labelled images as the queries of one task, so that `stream` serves classification too."""

    def __init__(self, train: RegionSet, images: np.ndarray, labels: np.ndarray) -> None:
        self.store, self.images, self.labels = train.store, images, labels

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `BATCH` images a task."""
        chosen = rng.integers(len(self.images), size=(tasks, BATCH))
        pixels = np.stack([self.store.read(self.images[row]) for row in chosen])
        labels = self.labels[chosen].astype(np.int32)
        return TaskBatch(pixels[:, :1], labels[:, :1], pixels, labels)


class _WindowTasks:
    """Draws windows with all of their labelled pixels, in the same way."""

    def __init__(self, train: RegionSet, images: np.ndarray) -> None:
        self.train, self.images = train, images

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `PIXEL_BATCH` windows a task."""
        store: Any = self.train.store
        chosen = self.images[rng.integers(len(self.images), size=(tasks, PIXEL_BATCH))]
        pixels = np.stack([store.read(row) for row in chosen])
        labels = np.stack([store.read_labels(row) for row in chosen])
        return TaskBatch(pixels[:, :1], labels[:, :1], pixels, labels)


def _sine_examples(recipe: Recipe) -> tf.data.Dataset:
    """Stream (x [n, 1], y [n, 1]) of waves mixed together."""
    source = SineTasks(1, BATCH)
    return stream(source, meta_batch_size=1, seed=recipe.training.seed + 1).map(lambda x, y: (x[2][0], y[0]))


def choose_rate(
    body: keras.Model, recipe: Recipe, validation: TestTasks | None, head: Callable[[], Head] | None = None
) -> MetaLearner:
    """Return the fine-tuning of `body` whose rate does best on validation tasks.

    Args:
        body: Network to fine-tune.
        recipe: What it is compared with.
        validation: Tasks to choose on, with the labels that the head knows; None for sine waves.
        head: Makes the head to start from; a common start for every class if None.
    """

    def tuned(rate: float) -> MetaLearner:
        if head is None:
            outputs = 1 if validation is None else 0
            return fine_tuner(body, rate=rate, regression_outputs=outputs, views=recipe.views)
        return fine_tuner(body, rate=rate, head=head(), views=recipe.views)

    def score(rate: float) -> float:
        predict = learner_predict(tuned(rate), [FINE_TUNING_STEPS])
        try:
            if validation is None:
                shots = int(np.max(recipe.tasks.shots))
                return -float(measure_sines(predict, shots, 50, CHOOSING_TASKS, 7).mean())
            few = replace(validation, tasks=validation.tasks[:CHOOSING_TASKS])
            return float(measure_tasks(predict, few, [FINE_TUNING_STEPS], 0).per_task.mean())
        except DivergedError:
            return -np.inf

    return tuned(max(FINE_TUNING_RATES, key=score))


def prototypical_network(recipe: Recipe, parts: dict[str, RegionSet], cache: Path, *, minutes: float) -> MetaLearner:
    """Return a prototypical network (Snell et al. 2017) on the recipe's network and tasks, from `cache` if there.

    Trained with the recipe's own outer loop for at most `minutes`.
    """
    learner_table = replace(recipe.learner, head="prototype", steps=0, evaluation_steps=0, rates="constant")
    recipe = replace(recipe, learner=learner_table, tasks=replace(recipe.tasks, labels="task"))
    train = parts["train"]
    problem = build.describe_problem(recipe.tasks, train)
    learner = build.build_learner(recipe.network, recipe.learner, problem, recipe.views)
    if cache.exists():
        learner.load_weights(cache)
        return learner
    compile_learner(learner, recipe, problem)
    data = stream(
        datasets.training_source(recipe.tasks, recipe.data, train),
        meta_batch_size=recipe.training.meta_batch_size,
        seed=recipe.training.seed,
        augment=make_augment(recipe.augment),
    )
    learner.fit(data, steps_per_epoch=recipe.training.updates, shuffle=False, verbose=0, callbacks=[StopAfter(minutes)])
    write_whole(cache, learner.save_weights)
    return learner
