"""From a recipe's tables to network, learner, loss and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Outer, Spread, Views, make_rule
from fewshot.models import Constant, conv4, make_context, make_head, mlp, resnet12, standardised, unet
from fewshot.tables import nearest
from fewshot.training.frozen import frozen_part, pretrained_network
from fewshot.training.hypergradient import HypergradientSGD
from fewshot.training.kinds.kind import Kind, Problem
from fewshot.training.recipe_tables import LearnerTable, NetworkTable, TrainingTable

Network = Callable[[NetworkTable, Problem], keras.Model]


def _context(network: NetworkTable) -> keras.layers.Layer | None:
    return make_context(network.context_kind, network.context) if network.context else None


def _conv4(network: NetworkTable, problem: Problem) -> keras.Model:
    return conv4(
        problem.input_shape,
        filters=network.filters,
        blocks=network.blocks,
        normalization=network.normalization,
        downsample=network.downsample,
        readout=network.readout,
        context=_context(network),
    )


def _mlp(network: NetworkTable, problem: Problem) -> keras.Model:
    return mlp(problem.input_shape, units=network.units, normalization=network.normalization, context=_context(network))


def _resnet12(network: NetworkTable, problem: Problem) -> keras.Model:
    return resnet12(
        problem.input_shape,
        filters=network.widths,
        normalization=network.normalization,
        readout="pixels" if problem.per_pixel else "average",
        context=_context(network),
    )


def _unet(network: NetworkTable, problem: Problem) -> keras.Model:
    return unet(
        problem.input_shape, filters=network.widths, normalization=network.normalization, context=_context(network)
    )


NETWORKS: dict[str, Network] = {
    "conv4": _conv4,
    "keras": pretrained_network,
    "mlp": _mlp,
    "resnet12": _resnet12,
    "unet": _unet,
}
"""What `network.kind` may be: from one example to its features, or to those of each of its pixels."""


def require_network(kind: str) -> None:
    """Refuse a network that there is none of.

    Raises:
        RecipeError: if it is not one of `NETWORKS`.
    """
    if kind not in NETWORKS:
        raise RecipeError(
            f"network.kind = {kind!r}: expected one of {', '.join(NETWORKS)}.{nearest(kind, list(NETWORKS))}"
        )


def build_body(network: NetworkTable, problem: Problem) -> keras.Model:
    """Build the network that trains, from one example to its features, or to those of each of its pixels.

    Where a `frozen_part` comes before it, the problem is to have the shape of features.

    Raises:
        RecipeError: if there is no such network, or it has no features of pixels but these are needed, or the other
            way round.
    """
    require_network(network.kind)
    body = NETWORKS[network.kind](network, problem)
    if network.standardise:
        body = standardised(body)
    if problem.per_pixel != (len(body.output_shape) == 4):
        wanted = "tasks of pixels need network.kind 'unet', 'resnet12' or 'keras'"
        raise RecipeError(
            f"{wanted if problem.per_pixel else f'{network.kind} serves tasks of pixels'}; received {network.kind!r}."
        )
    return body


def reads_any_size(body: keras.Model) -> bool:
    """Whether a network gives as many features whatever the size of a picture; tried, on a picture of unknown size."""
    pictures = tf.TensorSpec([None, None, None, body.input_shape[-1]], tf.float32)
    try:
        features = tf.function(body).get_concrete_function(pictures).structured_outputs
    except (TypeError, ValueError):
        return False
    return features.shape[-1] is not None


def build_parts(network: NetworkTable, problem: Problem) -> tuple[Constant | None, keras.Model]:
    """Build the frozen part of a network, None where it has none, and what trains."""
    require_network(network.kind)
    frozen = frozen_part(network, problem)
    if frozen is not None:
        problem = replace(problem, input_shape=tuple(frozen.model.output_shape[1:]))
    return frozen, build_body(network, problem)


def build_learner(
    network: NetworkTable,
    learner: LearnerTable,
    problem: Problem,
    views: Views | None = None,
    *,
    training: TrainingTable | None = None,
) -> MetaLearner:
    """Build the meta-learner, its weights freshly initialised.

    Args:
        network: That is adapted.
        learner: How it adapts.
        problem: What it has to fit.
        views: In which it sees each example.
        training: Its outer loop, where it is to be trained.

    Raises:
        RecipeError: if the network does not fit the problem, or parts of the learner do not fit each other.
    """
    frozen, body = build_parts(network, problem)
    return MetaLearner(
        body,
        make_head(
            learner.head,
            outputs=problem.outputs,
            shots=problem.shots,
            restrict=learner.restrict,
            strength=learner.strength,
            scale=learner.scale,
            kept=learner.kept,
        ),
        InnerRates(learner.rates, initial=learner.rate, least=learner.least_rate, steps=learner.steps),
        InnerLoop(
            steps=learner.steps,
            loss=problem.loss,
            balanced=learner.balanced,
            backward=learner.backward,
            backward_steps=learner.backward_steps,
            proximity=learner.proximity,
            damping=learner.damping,
            batch=learner.batch,
            clip_value=learner.clip_value or None,
            clip_norm=learner.clip_norm or None,
        ),
        adapts=learner.adapts,
        evaluation_steps=learner.evaluation_steps or None,
        vary_steps=learner.vary_steps,
        rule=make_rule(learner.rule, decay=learner.decay),
        outer=build_outer(training) if training else None,
        spread=Spread(learner.spread, draws=learner.draws) if learner.spread else None,
        views=views,
        frozen=frozen,
    )


def build_outer(training: TrainingTable) -> Outer:
    """Build what the meta-gradient is taken of; losses of queries are the kind's own."""
    objective = "reptile" if training.objective == "reptile" else "queries"
    return Outer(objective, training.fading, training.first_order_updates)


UNDECAYED = ["gamma", "beta", "bias", "rate", "temperature", "share", "strength", "scale", "context", "spread"]
"""Parts of names of variables that are no kernels."""


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
    if training.schedule == "linear":
        rate = keras.optimizers.schedules.PolynomialDecay(training.meta_rate, training.updates, end_learning_rate=0.0)
    common = {"weight_decay": training.weight_decay, "global_clipnorm": training.clip_norm or None}
    if training.optimizer == "sgd":
        common |= {"momentum": training.momentum, "nesterov": training.momentum > 0}
        if training.hyper_rate:
            optimizer = HypergradientSGD(rate, hyper_rate=training.hyper_rate, **common)
        else:
            optimizer = keras.optimizers.SGD(rate, **common)
    else:
        optimizer = keras.optimizers.AdamW(rate, **common)
    optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
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
