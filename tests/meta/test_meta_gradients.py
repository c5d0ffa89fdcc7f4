"""Every network x learner x normalisation: the meta-gradient against central finite differences in float64.

What a learner holds constant on purpose (`fewshot.meta.backward.held`) is the same at both ends of a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Spread, make_rule
from fewshot.meta.backward import OF_THE_MINIMUM
from fewshot.models import (
    NORMALIZATIONS,
    Context,
    conv4,
    make_context,
    make_head,
    mlp,
    resnet12,
    standardised,
    unet,
)
from fewshot.models.pretrained import Showing, picture_features, pixel_features, top
from fewshot.models.sequences import LstmHead, MemoryCell, SnailHead

TOLERANCE = 1e-6
STEPS = (1e-6, 1e-7, 1e-5, 1e-8)
"""A ReLU, a max or a clip now and then changes its branch between the two ends of a difference, which is then wrong
however right the gradient: so a shorter difference may answer instead. Where a slope is tiny, the rounding of the loss
is what differs, and a longer one may answer. A wrong gradient agrees with none."""
IMAGES = {
    "conv4-pool": (8, 8, 2),
    "conv4-stride": (8, 8, 2),
    "mlp": (4, 4, 2),
    "resnet12": (16, 16, 2),
    "resnet12-pixels": (8, 8, 2),
    "unet": (8, 8, 2),
    "unet-standardised": (8, 8, 2),
    "keras": (8, 8, 4),
    "keras-pixels": (8, 8, 3),
}


def photograph_model() -> keras.Model:
    """A small model of the layers that pretrained ones are made of, its statistics away from 0 and 1."""
    x = inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    x = fine = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.Activation("swish")(keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x)))
    model = keras.Model(inputs, [fine, x])
    rng = np.random.default_rng(5)
    for variable in model.non_trainable_variables:
        variable.assign(variable + 0.3 * rng.random(variable.shape))
    return model


def pretrained(kind: str, norm: str) -> keras.Model:
    """A pretrained network that trains; of whole pictures with a fourth band, and thus a learned way to channels."""
    showing = Showing((0, 1, 2), np.eye(3), np.zeros(3), size=12, mirror=kind == "keras", learned=True, trains=True)
    if kind == "keras-pixels":
        showing = replace(showing, mirror=False)
        return pixel_features(IMAGES[kind], photograph_model(), showing, filters=3, normalization=norm)
    body = picture_features(IMAGES[kind], photograph_model(), showing)
    above = top(body.output_shape[-1], units=3, normalization=norm)
    return keras.Model(body.inputs, above(body.output))


Network = Callable[[str, Context | None], keras.Model]
NETWORKS: dict[str, Network] = {
    "conv4-pool": lambda norm, context: conv4(
        IMAGES["conv4-pool"], filters=4, blocks=2, normalization=norm, context=context
    ),
    "conv4-stride": lambda norm, _: conv4(
        IMAGES["conv4-stride"], filters=4, blocks=2, normalization=norm, downsample="stride"
    ),
    "mlp": lambda norm, context: mlp(IMAGES["mlp"], units=(6, 5), normalization=norm, context=context),
    "resnet12": lambda norm, _: resnet12(IMAGES["resnet12"], filters=(2, 3, 3, 4), normalization=norm),
    "resnet12-pixels": lambda norm, _: resnet12(
        IMAGES["resnet12-pixels"], filters=(2, 3), normalization=norm, readout="pixels"
    ),
    "unet": lambda norm, context: unet(IMAGES["unet"], filters=(3, 4), normalization=norm, context=context),
    "unet-standardised": lambda norm, _: standardised(unet(IMAGES["unet"], filters=(3,), normalization=norm)),
    "keras": lambda norm, _: pretrained("keras", norm),
    "keras-pixels": lambda norm, _: pretrained("keras-pixels", norm),
}
AT_THE_MINIMUM = {"rate": 0.0025, "proximity": 400.0, "steps": (20,), "backward_steps": 20}
"""A pull so strong that twenty steps reach the minimum to the last digits, where its derivative is exact; on episodes
where that is no kink of the network, between whose sides steps would go to and fro (see `settles`)."""
LEARNERS: dict[str, dict[str, Any]] = {
    "maml": {"rates": "constant", "head": "fixed"},
    "meta-sgd": {"rates": "per_parameter", "head": "fixed"},
    "maml++": {"rates": "per_tensor", "head": "fixed"},
    "anil": {"rates": "constant", "head": "fixed", "adapts": "head"},
    "shared-head": {"rates": "per_parameter", "head": "shared", "adapts": "no_normalization"},
    "proto-maml": {"rates": "per_parameter", "head": "prototype"},
    "protonet": {"rates": "constant", "head": "prototype", "steps": (0,)},
    "clipped": {"rates": "per_parameter", "head": "fixed", "clip_norm": 0.05},
    "balanced": {"rates": "per_parameter", "head": "prototype", "balanced": True},
    "cosine": {"rates": "per_parameter", "head": "cosine", "rate": 0.01, "steps": (0, 1, 3)},
    "fomaml": {"rates": "constant", "head": "fixed", "backward": "first_order"},
    "first-order-sgd": {"rates": "per_parameter", "head": "prototype", "backward": "first_order"},
    "checkpointed": {"rates": "per_parameter", "head": "fixed", "backward": "checkpointed", "proximity": 0.5},
    "truncated": {"rates": "per_parameter", "head": "fixed", "backward": "truncated", "backward_steps": 1},
    "imaml": {"rates": "constant", "head": "prototype", "backward": "implicit", **AT_THE_MINIMUM},
    "neumann": {"rates": "constant", "head": "prototype", "backward": "neumann", **AT_THE_MINIMUM},
    "r2d2": {"rates": "constant", "head": "ridge", "steps": (0, 3)},
    "logistic": {"rates": "constant", "head": "logistic", "steps": (0, 3)},
    "svm": {"rates": "constant", "head": "svm", "steps": (0, 3)},
    "matching": {"rates": "constant", "head": "matching", "steps": (0,)},
    "siamese": {"rates": "constant", "head": "siamese", "steps": (0,)},
    "relation": {"rates": "constant", "head": "relation", "steps": (0,)},
    "propagation": {"rates": "constant", "head": "propagation", "steps": (0,), "networks": ("conv4-pool", "mlp")},
    "lstm-sequence": {"rates": "constant", "head": "lstm", "steps": (0,), "networks": ("conv4-pool", "mlp")},
    "mann": {"rates": "constant", "head": "mann", "steps": (0,), "networks": ("conv4-pool", "mlp")},
    "snail": {"rates": "constant", "head": "snail", "steps": (0,), "networks": ("conv4-pool", "mlp")},
    "cavia": {"rates": "constant", "head": "fixed", "adapts": "context", "context": "film"},
    "bias-transformation": {"rates": "per_parameter", "head": "fixed", "context": "join"},
    "scalar-rate": {"rates": "scalar", "head": "fixed"},
    "probabilistic": {"rates": "constant", "head": "fixed", "spread": 0.05, "networks": ("conv4-pool", "mlp")},
    "momentum": {"rates": "per_parameter", "head": "fixed", "rule": "momentum"},
    "adam": {"rates": "per_tensor", "head": "fixed", "rule": "adam"},
    "meta-lstm": {"rates": "constant", "head": "fixed", "rule": "meta_lstm", "networks": ("mlp",)},
    "lstm": {"rates": "constant", "head": "fixed", "rule": "lstm", "networks": ("mlp",)},
    "hierarchical": {"rates": "constant", "head": "fixed", "rule": "hierarchical", "networks": ("mlp",)},
    "mini-batches": {"rates": "constant", "head": "fixed", "batch": 2},
    "imaml-head": {"rates": "constant", "head": "fixed", "adapts": "head", "backward": "implicit", **AT_THE_MINIMUM},
}
LOOP = [field.name for field in fields(InnerLoop) if field.name != "steps"]
EVERYWHERE = list(LEARNERS)[:9]
"""These are checked on every network; what does not depend on the network, on three."""
THREE = ("conv4-pool", "mlp", "unet")
CASES = [
    pytest.param(network, learner, norm, steps, id=f"{network}-{learner}-{norm}-{steps}")
    for network in NETWORKS
    for learner in LEARNERS
    for norm in NORMALIZATIONS
    for steps in LEARNERS[learner].get("steps", (1, 3))
    if network in LEARNERS[learner].get("networks", NETWORKS if learner in EVERYWHERE else THREE)
]


def few() -> Iterator[str]:
    """Names of cases that take a second: every learner once, every normalization, networks of each kind."""
    for number, learner in enumerate(LEARNERS):
        if LEARNERS[learner].get("steps") != AT_THE_MINIMUM["steps"]:
            fewest = LEARNERS[learner].get("steps", (1, 3))[0]
            yield f"mlp-{learner}-{NORMALIZATIONS[number % len(NORMALIZATIONS)]}-{fewest}"
    yield "mlp-meta-sgd-support-3"
    for norm in NORMALIZATIONS:
        yield f"conv4-pool-meta-sgd-{norm}-1"
    for network in ("conv4-stride", "unet", "keras"):
        yield f"{network}-maml-support-1"


QUICK = set(few())
FAST = [case for case in CASES if case.id in QUICK]


SMALL: dict[type, dict[str, Any]] = {
    LstmHead: {"units": 6},
    MemoryCell: {"units": 6, "slots": 8, "width": 3, "heads": 2},
    SnailHead: {"attention": ((3, 2), (4, 3)), "filters": 3},
}
"""Sizes of networks that the papers made large."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the heads that read a sequence small."""
    for network, sizes in SMALL.items():
        for name, size in sizes.items():
            monkeypatch.setattr(network, name, size)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Compute in float64, and without graphs: small cases run faster than they trace."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    tf.config.run_functions_eagerly(True)
    keras.utils.set_random_seed(3)
    yield
    tf.config.run_functions_eagerly(False)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


class Held:
    """In place of `held`: notes the constants of the first pass, and gives the same ones to every later pass."""

    def __init__(self) -> None:
        self.noted: list[tf.Tensor] = []
        self.again: Iterator[tf.Tensor] | None = None

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        if self.again is not None:
            return next(self.again)
        self.noted.append(tf.stop_gradient(value))
        return self.noted[-1]

    def rewind(self) -> None:
        self.again = iter(self.noted)


def make_learner(network: str, learner: str, normalization: str, steps: int) -> MetaLearner:
    choice = LEARNERS[learner]
    context = make_context(choice["context"], 3) if "context" in choice else None
    made = MetaLearner(
        NETWORKS[network](normalization, context),
        make_head(choice["head"], outputs=3),
        InnerRates(choice["rates"], initial=choice.get("rate", 0.05), steps=steps),
        InnerLoop(steps=steps, **{key: value for key, value in choice.items() if key in LOOP}),
        adapts=choice.get("adapts", "all"),
        rule=make_rule(choice.get("rule", "gradient")),
        spread=Spread(choice["spread"], draws=2) if "spread" in choice else None,
    )
    made.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(7)
    for variable in made.trainable_variables:  # away from zeros and ones, where terms cancel
        variable.assign(variable + 0.1 * rng.standard_normal(variable.shape))
    return made


def episode(learner: MetaLearner, seed: int) -> tuple[tuple[tf.Tensor, ...], np.ndarray]:
    image, pixels = learner.body.input_shape[1:], len(learner.body.output_shape) == 4
    rng = np.random.default_rng(seed)
    support_y = np.tile(np.array([0, 0, 1, 1, 2, 2], "int32"), (2, 1))
    query_y = np.array([[0, 1, 2, 1, 0]] * 2, "int32")
    if pixels:  # one labelled pixel in ten are enough; the others are ignored
        labels = [rng.integers(0, 3, (*y.shape, *image[:2]), "int32") for y in (support_y, query_y)]
        support_y, query_y = np.where(rng.random(labels[0].shape) < 0.1, labels[0], -1), labels[1]
    inputs = rng.random((2, 6, *image)), support_y, rng.random((2, 5, *image))
    return tuple(tf.constant(x) for x in inputs), query_y


def settles(learner: MetaLearner, seed: int) -> bool:
    """Whether one step more than there are changes nothing."""
    inputs, _ = episode(learner, seed)
    last, beyond = learner.predict_after(inputs, [learner.inner.steps, learner.inner.steps + 1]).numpy()
    return bool(np.abs(last - beyond).max() < 1e-10)


def meta_loss(learner: MetaLearner, seed: int = 11) -> tf.Tensor:
    given, query_y = episode(learner, seed)
    logits = learner(given)
    loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(query_y, logits, from_logits=True))
    # Where starts are drawn, training looks at the labels of queries first, and has another loss than evaluation.
    return loss if learner.spread is None else loss + learner.compute_loss(given, query_y, [])


def loss_of_update(learner: MetaLearner, seed: int) -> tf.Tensor:
    """The same loss as `meta_loss`, with the derivative that an update follows."""
    if learner.spread is not None:
        return meta_loss(learner, seed)
    given, query_y = episode(learner, seed)
    return learner.compute_loss(given, query_y, [])


def check_direction(measure: Callable[[], float], variables: list, gradients: list[np.ndarray], seed: int) -> None:
    """Compare the slope along one direction, half gradient and half chance, with a central difference."""
    rng = np.random.default_rng(seed)
    size = np.sqrt(sum((g**2).sum() for g in gradients))
    chance = [rng.standard_normal(g.shape) for g in gradients]
    length = np.sqrt(sum((c**2).sum() for c in chance))
    direction = [g / size + c / length for g, c in zip(gradients, chance, strict=True)]
    expected = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    values = [variable.numpy() for variable in variables]
    measured = []
    for step in STEPS:
        losses = []
        for sign in (1, -1):
            for variable, value, d in zip(variables, values, direction, strict=True):
                variable.assign(value + sign * step * d)
            losses.append(measure())
        measured.append((losses[0] - losses[1]) / (2 * step))
        if measured[-1] == pytest.approx(expected, rel=TOLERANCE):
            break
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    assert measured[-1] == pytest.approx(expected, rel=TOLERANCE), f"differences {measured}, gradient {expected}"


def check_case(network: str, learner_name: str, normalization: str, steps: int) -> None:
    held = Held()
    with pytest.MonkeyPatch.context() as patch:
        learner, seed = make_learner(network, learner_name, normalization, steps), 11
        if learner.inner.backward in OF_THE_MINIMUM:
            seed = next(seed for seed in range(11, 31) if settles(learner, seed))
        else:  # what those hold, the difference moves
            patch.setattr("fewshot.meta.backward.held", held)
        check_learner(learner, held, seed)


def check_learner(learner: MetaLearner, held: Held, seed: int) -> None:
    def measure() -> float:
        held.rewind()
        return float(meta_loss(learner, seed))

    with tf.GradientTape() as tape:
        loss = loss_of_update(learner, seed)
    assert float(loss) == pytest.approx(measure(), rel=1e-12)
    variables = learner.trainable_variables
    gradients = [
        g.numpy() if g is not None else np.zeros(v.shape)
        for g, v in zip(tape.gradient(loss, [v.value for v in variables]), variables, strict=True)
    ]
    parts = (learner.body, learner.head, learner.inner_rates, learner.rule, learner.spread)
    for place, part in enumerate(parts):
        theirs = getattr(part, "trainable_variables", ())  # most rules have none
        chosen = [i for i, v in enumerate(variables) if any(v is own for own in theirs)]
        if chosen and any(np.abs(gradients[i]).max() > 0 for i in chosen):
            check_direction(measure, [variables[i] for i in chosen], [gradients[i] for i in chosen], place)
    reached = sum(np.abs(g).max() > 0 for g in gradients)
    assert reached >= 0.5 * len(gradients), "most meta-learned tensors must receive a gradient"


@pytest.mark.parametrize(("network", "learner", "normalization", "steps"), FAST)
def test_meta_gradient_matches_finite_differences(network: str, learner: str, normalization: str, steps: int) -> None:
    check_case(network, learner, normalization, steps)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "learner", "normalization", "steps"), CASES)
def test_every_meta_gradient_matches_finite_differences(
    network: str, learner: str, normalization: str, steps: int
) -> None:
    check_case(network, learner, normalization, steps)
