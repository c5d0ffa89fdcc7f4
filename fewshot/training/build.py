"""From a recipe's tables to network, learner, loss and optimizer."""

from __future__ import annotations

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Views
from fewshot.models import conv4, make_head, mlp, resnet12, unet
from fewshot.training.kinds.kind import Kind, Problem
from fewshot.training.recipe_tables import LearnerTable, NetworkTable, TrainingTable


def build_body(network: NetworkTable, problem: Problem) -> keras.Model:
    """Build the network, from one example to its features, or to those of each of its pixels.

    Raises:
        RecipeError: if the network has no features of pixels but these are needed, or the other way round.
    """
    input_shape = problem.input_shape
    if problem.per_pixel != (network.kind == "unet") and network.kind != "resnet12":
        wanted = "tasks of pixels need network.kind 'unet' or 'resnet12'"
        raise RecipeError(
            f"{wanted if problem.per_pixel else 'unet serves tasks of pixels'}; received {network.kind!r}."
        )
    if network.kind == "unet":
        return unet(input_shape, filters=network.widths, normalization=network.normalization)
    if network.kind == "mlp":
        return mlp(input_shape, units=network.units, normalization=network.normalization)
    if network.kind == "resnet12":
        readout = "pixels" if problem.per_pixel else "average"
        return resnet12(input_shape, filters=network.widths, normalization=network.normalization, readout=readout)
    return conv4(
        input_shape,
        filters=network.filters,
        blocks=network.blocks,
        normalization=network.normalization,
        downsample=network.downsample,
        readout=network.readout,
    )


def build_learner(
    network: NetworkTable, learner: LearnerTable, problem: Problem, views: Views | None = None
) -> MetaLearner:
    """Build the meta-learner, its weights freshly initialised.

    Args:
        network: That is adapted.
        learner: How it adapts.
        problem: What it has to fit.
        views: In which it sees each example.

    Raises:
        RecipeError: if the network does not fit the problem.
    """
    return MetaLearner(
        build_body(network, problem),
        make_head(learner.head, outputs=problem.outputs, restrict=learner.restrict),
        InnerRates(learner.rates, initial=learner.rate, steps=learner.steps),
        InnerLoop(
            steps=learner.steps,
            loss=problem.loss,
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


def compile_learner(learner: MetaLearner, training: TrainingTable, kind: Kind) -> None:
    """Give the learner its optimizer, loss and metrics, and make the optimizer's slots so that they can be restored.

    Args:
        learner: To be trained.
        training: How.
        kind: Of its tasks.
    """
    learner.compile(optimizer=build_optimizer(training), loss=kind.outer_loss(training), metrics=kind.fit_metrics())
    learner.optimizer.build(learner.trainable_variables)


def seed_everything(training: TrainingTable) -> None:
    """Seed initial weights, and ask for deterministic operations and a precision where the recipe does."""
    keras.utils.set_random_seed(training.seed)
    keras.config.set_dtype_policy(training.precision)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
