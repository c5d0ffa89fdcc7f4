"""The plain methods beside a run: trained where they need it, tuned on validation tasks, ready to predict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import DataNotFoundError, DivergedError
from fewshot.files import write_whole
from fewshot.meta import MetaLearner, Views
from fewshot.meta.baselines import FINE_TUNING_RATES, FINE_TUNING_STEPS, fine_tuner
from fewshot.models import Constant, FixedHead, Head
from fewshot.tasks.stream import stream
from fewshot.training import build, datasets
from fewshot.training.evaluation.measure import Method, learner_predict, of_learner
from fewshot.training.features import seen_training
from fewshot.training.kinds.kind import Kind
from fewshot.training.kinds.under_test import TestTasks
from fewshot.training.recipe import Recipe


def baseline_methods(
    recipe: Recipe, kind: Kind, parts: Mapping[str, RegionSet], tested: RegionSet, cache: Path, *, minutes: float
) -> dict[str, Method]:
    """Return the baselines of a run.

    Random initialisation and the prototypical network learn the classes of each task from its support alone.
    Pre-training keeps the output layer it has learned where classes mean the same everywhere (labels "global").

    Args:
        recipe: The run's.
        kind: Of its tasks.
        parts: The run's own data, divided as it was trained on.
        tested: Regions that will be tested.
        cache: Folder in which trained baselines are kept.
        minutes: Most time to train each.

    Raises:
        DataNotFoundError: if they would be trained on what is tested.
    """
    require_unseen(parts["train"], tested, split=recipe.data.split)
    tuning, labels = kind.tuning_tasks(parts["validation"], recipe.training), recipe.tasks.labels
    cache.mkdir(exist_ok=True)
    keras.utils.set_random_seed(recipe.training.seed)

    # Bodies first, then heads, in this order: random weights, drawn as they are made, are the same from time to time.
    frozen, fresh = build.build_parts(recipe.network, kind.problem(tested))
    trained, last = pretrained_body(recipe, kind, parts["train"], cache / "pretrained.weights.h5", minutes=minutes)
    classified = {}
    if not kind.targets:
        weights = cache / "protonet.weights.h5"
        prototypical = prototypical_network(recipe, kind, parts["train"], weights, minutes=minutes)
        classified["prototypical network"] = of_learner(prototypical, "task")
        classified["nearest neighbour on pixels"] = Method(kind.nearest, "task", 0)
    untrained = choose_rate(fresh, recipe.views, kind, tuning, frozen=frozen)
    known = replace(tuning, labels=labels)
    head = (lambda: known_head(last, restrict=recipe.learner.restrict)) if labels == "global" else None
    tuned = choose_rate(trained, recipe.views, kind, known, head, frozen=frozen)
    return {
        "random initialisation": of_learner(untrained, "task"),
        "pre-training + fine-tuning": of_learner(tuned, labels),
        **classified,
    }


def require_unseen(train: RegionSet, tested: RegionSet, *, split: str) -> None:
    """Refuse to train baselines on a place (or, where classes were split, a class) that is under test.

    Args:
        train: Regions that they would be trained on.
        tested: Regions under test.
        split: How the recipe splits its data.

    Raises:
        DataNotFoundError: if a region is among both.
    """
    kind = "classes" if split == "classes" else "places"
    names = datasets.seen_names({"train": train, "tested": tested})
    both = set(names["train"][kind]).intersection(names["tested"][kind])
    if both:
        raise DataNotFoundError(
            f"The baselines are trained on the run's own training data, and {len(both)} of its {kind} "
            f"({', '.join(sorted(both)[:5])}) are tested: their figures would mean nothing. Leave --baselines out, or "
            "name data of other regions."
        )


def pretrained_body(
    recipe: Recipe, kind: Kind, train: RegionSet, cache: Path, *, minutes: float
) -> tuple[keras.Model, keras.layers.Dense]:
    """Return a network trained to tell all training classes apart, and its output layer; from `cache` if it is there.

    It sees as many examples as the recipe's meta-training does, at most `minutes` of it. Of waves it is trained on all
    at once.

    Args:
        recipe: Of the run.
        kind: Of its tasks.
        train: The regions to train on.
        cache: File of the trained weights.
        minutes: Most time to train.
    """
    train, augment = seen_training(train, kind, recipe.network, recipe.augment, cache.parent.parent / "features")
    frozen, body = build.build_parts(recipe.network, kind.problem(train))
    outputs, source = kind.labelled_examples(train)
    last = keras.layers.Dense(outputs)
    classifier = keras.Sequential([body, last])
    classifier.build((None, *body.input_shape[1:]))
    if cache.exists():
        classifier.load_weights(cache)
    else:
        seed = recipe.training.seed + 1
        examples = stream(source, meta_batch_size=1, seed=seed, augment=augment)
        seen: Callable[[Any], Any] = frozen or (lambda pictures: pictures)
        # The queries of the one task: ([n, ...], [n] or [n, H, W]).
        _fit_classifier(classifier, recipe, kind, examples.map(lambda x, y: (seen(x[2][0]), y[0])), minutes=minutes)
        write_whole(cache, classifier.save_weights)
    return body, last


def _fit_classifier(
    classifier: keras.Model, recipe: Recipe, kind: Kind, data: tf.data.Dataset, *, minutes: float
) -> None:
    """Train on as many examples as meta-training sees."""
    loss = kind.outer_loss(replace(recipe.training, label_smoothing=0.0))
    classifier.compile(keras.optimizers.AdamW(1e-3, weight_decay=recipe.training.weight_decay), loss)
    examples = recipe.training.updates * recipe.training.meta_batch_size * kind.examples_a_task()
    batch = data.element_spec[1].shape[0]
    steps = max(examples // batch, 1)
    classifier.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[StopAfter(minutes)])


def choose_rate(  # noqa: PLR0913
    body: keras.Model,
    views: Views,
    kind: Kind,
    tuning: TestTasks,
    head: Callable[[], Head] | None = None,
    *,
    frozen: Constant | None = None,
) -> MetaLearner:
    """Return the fine-tuning of `body` whose rate does best on validation tasks.

    Args:
        body: Network to fine-tune.
        views: Of each example, as the learner has them that this is compared with.
        kind: Of the tasks.
        tuning: Tasks to choose on, with the labels that the head knows.
        head: Makes the head to start from; a common start for every class if None.
        frozen: What examples go through before.
    """

    def tuned(rate: float) -> MetaLearner:
        start = head() if head else None
        return fine_tuner(body, rate=rate, regression_outputs=kind.targets, head=start, views=views, frozen=frozen)

    def score(rate: float) -> float:
        predict = learner_predict(tuned(rate), [FINE_TUNING_STEPS])
        try:
            outcome = kind.measure(predict, tuning, [FINE_TUNING_STEPS], 0)
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
    table = replace(recipe.learner, head="prototype", steps=0, evaluation_steps=0, rates="constant", spread=0.0)
    kind = replace(kind, tasks=replace(kind.tasks, labels="task"))
    learner = build.build_learner(recipe.network, table, kind.problem(train), recipe.views)
    if cache.exists():
        learner.load_weights(cache)
        return learner
    seen, augment = seen_training(train, kind, recipe.network, recipe.augment, cache.parent.parent / "features")
    trained = learner
    if seen is not train:
        trained = build.build_learner(recipe.network, table, kind.problem(seen))
    build.compile_learner(trained, recipe.training, kind)
    data = stream(
        kind.training_source(seen),
        meta_batch_size=recipe.training.meta_batch_size,
        seed=recipe.training.seed,
        augment=augment,
    )
    trained.fit(data, steps_per_epoch=recipe.training.updates, shuffle=False, verbose=0, callbacks=[StopAfter(minutes)])
    write_whole(cache, trained.save_weights)
    learner.load_weights(cache)
    return learner


def known_head(trained: keras.layers.Dense, *, restrict: bool) -> Head:
    """Return a fixed head that starts from a trained output layer."""
    kernel, bias = trained.get_weights()
    head = FixedHead(len(bias), restrict=restrict, name="head")
    head.build_for(len(kernel))
    head.kernel.assign(kernel)
    head.bias.assign(bias)
    return head


class StopAfter(keras.callbacks.Callback):
    """Stops `fit` some minutes from now."""

    def __init__(self, minutes: float) -> None:
        """Start the clock."""
        super().__init__()
        self.end = time.monotonic() + 60 * minutes

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop when the time is up."""
        if time.monotonic() > self.end:
            self.model.stop_training = True
