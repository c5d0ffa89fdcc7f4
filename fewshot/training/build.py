"""From a recipe's tables to network, learner, loss and optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Views
from fewshot.models import conv4, make_head, mlp, resnet12, unet
from fewshot.training.kinds.losses import LabelledAccuracy, TaskCrossEntropy, TaskMeanIoU
from fewshot.training.recipe import LearnerTable, NetworkTable, TasksTable, TrainingTable


def build_body(network: NetworkTable, problem: Problem) -> keras.Model:
    """Build the network, from one example to its features, or to those of each of its pixels.

    Raises:
        RecipeError: if the network has no features of pixels but these are needed, or the other way round.
    """
    input_shape = problem.input_shape
    if problem.pixels != (network.kind == "unet") and network.kind != "resnet12":
        wanted = "tasks of pixels need network.kind 'unet' or 'resnet12'"
        raise RecipeError(f"{wanted if problem.pixels else 'unet serves tasks of pixels'}; received {network.kind!r}.")
    if network.kind == "unet":
        return unet(input_shape, filters=network.widths, normalization=network.normalization)
    if network.kind == "mlp":
        return mlp(input_shape, units=network.units, normalization=network.normalization)
    if network.kind == "resnet12":
        readout = "pixels" if problem.pixels else "average"
        return resnet12(input_shape, filters=network.widths, normalization=network.normalization, readout=readout)
    return conv4(
        input_shape,
        filters=network.filters,
        blocks=network.blocks,
        normalization=network.normalization,
        downsample=network.downsample,
        readout=network.readout,
    )


@dataclass(frozen=True)
class Problem:
    """What a learner has to fit: the shape of an example and what is predicted of it.

    Attributes:
        input_shape: Of one example, (H, W, bands) or (1,).
        outputs: Global classes, regression targets, or the task's ways: the outputs of a fixed head.
        regression: Whether targets are numbers.
        pixels: Whether each pixel has a class of its own.
    """

    input_shape: tuple[int, ...]
    outputs: int
    regression: bool = False
    pixels: bool = False


def describe_problem(tasks: TasksTable, region_set: RegionSet | None) -> Problem:
    """Return what there is to fit in these tasks of these regions; sine waves where there are no regions."""
    if region_set is None:
        return Problem((1,), 1, regression=True)
    outputs = len(region_set.classes) if tasks.labels == "global" else tasks.ways
    return Problem(region_set.store.shape, outputs, pixels=tasks.target == "pixels")


def build_learner(
    network: NetworkTable, learner: LearnerTable, problem: Problem, views: Views | None = None
) -> MetaLearner:
    """Build the meta-learner, its weights freshly initialised."""
    return MetaLearner(
        build_body(network, problem),
        make_head(learner.head, outputs=problem.outputs, restrict=learner.restrict),
        InnerRates(learner.rates, initial=learner.rate, steps=learner.steps),
        InnerLoop(
            steps=learner.steps,
            loss="squared_error" if problem.regression else "cross_entropy",
            balanced=learner.balanced,
            first_order=learner.first_order,
            clip_value=learner.clip_value or None,
            clip_norm=learner.clip_norm or None,
        ),
        adapts=learner.adapts,
        evaluation_steps=learner.evaluation_steps or None,
        views=views,
    )


def build_optimizer(training: TrainingTable) -> keras.optimizers.Optimizer:
    """Build the outer optimizer with its schedule."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = training.meta_rate
    if training.schedule == "cosine":
        steps = max(training.updates - training.warmup, 1)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if training.warmup else training.meta_rate,
            steps,
            warmup_target=training.meta_rate if training.warmup else None,
            warmup_steps=training.warmup,
        )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=training.weight_decay, global_clipnorm=training.clip_norm or None
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "rate", "temperature", "share"])
    return optimizer


def outer_loss(training: TrainingTable, problem: Problem) -> keras.losses.Loss:
    """Return the loss of the queries."""
    if problem.regression:
        return keras.losses.MeanSquaredError()
    return TaskCrossEntropy(label_smoothing=training.label_smoothing, balanced=training.balanced)


def fit_metrics(problem: Problem) -> list[keras.metrics.Metric]:
    """Return what `fit` shows beside the loss; `monitored` names the one that chooses the best weights."""
    if problem.regression:
        return []
    metrics: list[keras.metrics.Metric] = [LabelledAccuracy(name="accuracy")]
    if problem.pixels:
        metrics.append(TaskMeanIoU(name="mean_iou"))
    return metrics


def monitored(problem: Problem) -> str:
    """Return the figure of validation that chooses the best weights."""
    return "val_loss" if problem.regression else "val_mean_iou" if problem.pixels else "val_accuracy"


def seed_everything(training: TrainingTable) -> None:
    """Seed initial weights, and ask for deterministic operations and a precision where the recipe does."""
    keras.utils.set_random_seed(training.seed)
    keras.config.set_dtype_policy(training.precision)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
