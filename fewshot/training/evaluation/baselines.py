"""The plain methods beside a run: trained where they need it, tuned on validation tasks, ready to predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.meta import MetaLearner
from fewshot.meta.baselines import nearest_neighbour
from fewshot.models import FixedHead, Head
from fewshot.tasks.task import Labels
from fewshot.training import build, datasets
from fewshot.training.evaluation import pretrain
from fewshot.training.evaluation.measure import Predict, TestTasks, learner_predict
from fewshot.training.recipe import Recipe
from fewshot.training.run import RunFolder
from fewshot.training.train import validation_tasks

NEIGHBOURS = 500
"""Labelled pixels of a support set among which a pixel looks for its nearest."""


class Method(NamedTuple):
    """A method that predicts.

    Attributes:
        predict: From (support_x, support_y, query_x) to logits `[1, tasks, m, ..., classes]`.
        labels: "task" or "global": the labels it knows.
        steps: Inner steps it takes.
    """

    predict: Predict
    labels: Labels
    steps: int


def baseline_methods(folder: RunFolder, recipe: Recipe, tested: RegionSet, *, minutes: float) -> dict[str, Method]:
    """Return the baselines of a run.

    Random initialisation and the prototypical network learn the classes of each task from its support alone.
    Pre-training keeps the output layer it has learned where classes mean the same everywhere (labels "global").

    Args:
        folder: The run's; trained baselines are kept in it.
        recipe: The run's.
        tested: Regions that will be tested.
        minutes: Most time to train each.
    """
    own = [Path(path) for path in folder.read_json("run.json")["data"]]
    parts = datasets.split_data(datasets.read_data(recipe.data, own), recipe.data)
    validation = validation_tasks(recipe, parts["validation"])
    local = TestTasks(parts["validation"], validation, "task", fixed=False)
    known = TestTasks(parts["validation"], validation, recipe.tasks.labels, fixed=False)
    cache = folder.path / "baselines"
    cache.mkdir(exist_ok=True)
    keras.utils.set_random_seed(recipe.training.seed)
    fresh = build.build_body(recipe.network, build.describe_problem(recipe.tasks, tested))
    trained = pretrain.pretrained_body(recipe, parts["train"], cache / "pretrained.weights.h5", minutes=minutes)
    prototypical = pretrain.prototypical_network(recipe, parts, cache / "protonet.weights.h5", minutes=minutes)
    if recipe.tasks.labels == "global":
        tuned = pretrain.choose_rate(trained.body, recipe, known, lambda: known_head(trained.head, recipe))
    else:
        tuned = pretrain.choose_rate(trained.body, recipe, local)
    nearest = nearest_pixels if recipe.tasks.target == "pixels" else nearest_images
    return {
        "random initialisation": of_learner(pretrain.choose_rate(fresh, recipe, local), "task"),
        "pre-training + fine-tuning": of_learner(tuned, recipe.tasks.labels),
        "prototypical network": of_learner(prototypical, "task"),
        "nearest neighbour on pixels": Method(nearest, "task", 0),
    }


def of_learner(learner: MetaLearner, labels: Labels) -> Method:
    """Return the method that a learner is."""
    steps = int(learner.evaluation_steps)
    return Method(learner_predict(learner, [steps]), labels, steps)


def known_head(trained: tuple[np.ndarray, np.ndarray], recipe: Recipe) -> Head:
    """Return a fixed head that starts from a trained output layer."""
    kernel, bias = trained
    head = FixedHead(len(bias), restrict=recipe.learner.restrict, name="head")
    head.build_for(len(kernel))
    head.kernel.assign(kernel)
    head.bias.assign(bias)
    return head


def nearest_images(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Give each query image the class of the support image whose pixels are nearest."""
    support_x, support_y, query_x = inputs
    return nearest_neighbour(support_x, support_y, query_x, int(tf.reduce_max(support_y)) + 1)[None]


def nearest_pixels(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Give each query pixel the class of the labelled support pixel whose bands are nearest."""
    support_x, support_y, query_x = inputs
    classes = int(tf.reduce_max(support_y)) + 1
    answers = []
    for x, y, queries in zip(support_x, support_y, query_x, strict=True):
        pixels, labels = x[y >= 0], y[y >= 0]
        chosen = np.random.default_rng(0).permutation(len(labels))[:NEIGHBOURS]
        flat = tf.reshape(queries, [1, -1, queries.shape[-1]])
        scores = nearest_neighbour(tf.gather(pixels, chosen)[None], tf.gather(labels, chosen)[None], flat, classes)
        # [1, m*H*W, classes] -> [m, H, W, classes]
        answers.append(tf.reshape(scores, [*queries.shape[:-1], classes]))
    return tf.stack(answers)[None]
