"""Baselines that need training: pre-training on all classes, and a prototypical network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import DivergedError
from fewshot.files import write_whole
from fewshot.meta import MetaLearner, Views
from fewshot.meta.baselines import FINE_TUNING_RATES, FINE_TUNING_STEPS, fine_tuner
from fewshot.models import Head
from fewshot.tasks.augment import make_augment
from fewshot.tasks.stream import stream
from fewshot.tasks.task import TaskSource
from fewshot.training import build
from fewshot.training.evaluation.measure import learner_predict
from fewshot.training.kinds.kind import Kind
from fewshot.training.kinds.under_test import TestTasks
from fewshot.training.recipe import Recipe

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


def pretrained_body(recipe: Recipe, kind: Kind, train: RegionSet, cache: Path, *, minutes: float) -> Pretrained:
    """Return a network trained to tell all training classes apart, from `cache` if it is there.

    It sees as many examples as the recipe's meta-training does, at most `minutes` of it. Of waves it is trained on all
    at once.

    Args:
        recipe: Of the run.
        kind: Of its tasks.
        train: The regions to train on.
        cache: File of the trained weights.
        minutes: Most time to train.
    """
    problem = kind.problem(train)
    body = build.build_body(recipe.network, problem)
    outputs, source = kind.labelled_examples(train)
    last = keras.layers.Dense(outputs)
    classifier = keras.Sequential([body, last])
    classifier.build((None, *problem.input_shape))
    if cache.exists():
        classifier.load_weights(cache)
    else:
        _fit_classifier(classifier, recipe, kind, source, minutes=minutes)
        write_whole(cache, classifier.save_weights)
    return Pretrained(body, (last.kernel.numpy(), last.bias.numpy()))


def _fit_classifier(classifier: keras.Model, recipe: Recipe, kind: Kind, source: TaskSource, *, minutes: float) -> None:
    """Train on as many examples as meta-training sees, augmented alike."""
    augment = make_augment(recipe.augment)
    data = stream(source, meta_batch_size=1, seed=recipe.training.seed + 1, augment=augment)
    data = data.map(lambda x, y: (x[2][0], y[0]))  # the queries of the one task: ([n, ...], [n] or [n, H, W])
    loss = kind.outer_loss(replace(recipe.training, label_smoothing=0.0))
    classifier.compile(keras.optimizers.AdamW(1e-3, weight_decay=recipe.training.weight_decay), loss)
    examples = recipe.training.updates * recipe.training.meta_batch_size * kind.examples_a_task()
    batch = data.element_spec[1].shape[0]
    callbacks = [StopAfter(minutes)]
    classifier.fit(data, steps_per_epoch=max(examples // batch, 1), shuffle=False, verbose=0, callbacks=callbacks)


def choose_rate(
    body: keras.Model, views: Views, kind: Kind, tuning: TestTasks, head: Callable[[], Head] | None = None
) -> MetaLearner:
    """Return the fine-tuning of `body` whose rate does best on validation tasks.

    Args:
        body: Network to fine-tune.
        views: Of each example, as the learner has them that this is compared with.
        kind: Of the tasks.
        tuning: Tasks to choose on, with the labels that the head knows.
        head: Makes the head to start from; a common start for every class if None.
    """

    def tuned(rate: float) -> MetaLearner:
        if head is None:
            return fine_tuner(body, rate=rate, regression_outputs=kind.targets, views=views)
        return fine_tuner(body, rate=rate, head=head(), views=views)

    def score(rate: float) -> float:
        predict = learner_predict(tuned(rate), [FINE_TUNING_STEPS])
        try:
            outcome = kind.measure(predict, tuning.first(CHOOSING_TASKS), [FINE_TUNING_STEPS], 0)
        except DivergedError:
            return -np.inf
        return float(outcome.per_task.mean()) * (-1 if kind.yardstick.smaller_is_better else 1)

    return tuned(max(FINE_TUNING_RATES, key=score))


def prototypical_network(recipe: Recipe, kind: Kind, train: RegionSet, cache: Path, *, minutes: float) -> MetaLearner:
    """Return a prototypical network (Snell et al. 2017) on the recipe's network and tasks, from `cache` if there.

    Trained with the recipe's own outer loop for at most `minutes`.

    Args:
        recipe: Of the run.
        kind: Of its tasks.
        train: The regions to train on.
        cache: File of the trained weights.
        minutes: Most time to train.
    """
    table = replace(recipe.learner, head="prototype", steps=0, evaluation_steps=0, rates="constant")
    kind = replace(kind, tasks=replace(kind.tasks, labels="task"))
    learner = build.build_learner(recipe.network, table, kind.problem(train), recipe.views)
    if cache.exists():
        learner.load_weights(cache)
        return learner
    build.compile_learner(learner, recipe.training, kind)
    data = stream(
        kind.training_source(train),
        meta_batch_size=recipe.training.meta_batch_size,
        seed=recipe.training.seed,
        augment=make_augment(recipe.augment),
    )
    learner.fit(data, steps_per_epoch=recipe.training.updates, shuffle=False, verbose=0, callbacks=[StopAfter(minutes)])
    write_whole(cache, learner.save_weights)
    return learner
