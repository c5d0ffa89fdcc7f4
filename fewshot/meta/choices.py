"""Which parts of a learner go together: what adapts, and what would be wrong or teach nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from fewshot.errors import RecipeError
from fewshot.meta.backward import OF_THE_MINIMUM
from fewshot.meta.descent import InnerLoop, Rule
from fewshot.meta.outer import Outer
from fewshot.meta.rates import InnerRates
from fewshot.meta.rules import GradientRule, LearnedRule
from fewshot.models.context import Context
from fewshot.models.heads import Head
from fewshot.models.normalization import Normalization
from fewshot.models.pretrained import PretrainedMaps


def what_moves(body: keras.Model, head: Head | None, adapts: str) -> list[bool]:
    """For each trainable variable of the body, then for the head's kernel and bias, whether it adapts.

    Args:
        body: Of the learner.
        head: Of the learner, if it has one.
        adapts: `all`, `head`, `no_normalization` or `context`.

    Raises:
        RecipeError: if there is no such choice, or network or head have nothing that could adapt so.
    """
    layers = list(body._flatten_layers())
    norms = {id(variable) for layer in layers if isinstance(layer, Normalization) for variable in layer.weights}
    contexts = {id(layer.context) for layer in layers if isinstance(layer, Context)}
    choices: dict[str, Callable[[int], bool]] = {
        "all": lambda _: True,
        "head": lambda _: False,
        "no_normalization": lambda variable: variable not in norms,
        "context": lambda variable: variable in contexts,
    }
    if adapts not in choices:
        raise RecipeError(f"Unknown adapts {adapts!r}; expected one of {', '.join(choices)}.")
    if adapts == "head" and head is None:
        raise RecipeError("adapts='head' needs a head; this network ends in its own outputs.")
    if adapts == "context" and not contexts:
        raise RecipeError("learner.adapts = 'context' needs numbers to adapt: set network.context, such as 100.")
    if adapts == "context" and head is not None and not head.same_start:
        raise RecipeError(
            "learner.adapts = 'context' moves the features, and a head that is made of those before would no longer "
            "fit them. Use learner.head = 'fixed'."
        )
    moves = head is None or head.adapts
    moving = [moves and choices[adapts](id(variable)) for variable in body.trainable_variables]
    return moving if head is None else [*moving, *[moves and adapts != "context"] * 2]


def require_exact(body: keras.Model, inner: InnerLoop) -> None:
    """Refuse second derivatives through layers that have none, where the body moves.

    Raises:
        RecipeError: if there are some.
    """
    maps = [layer for layer in body._flatten_layers() if isinstance(layer, PretrainedMaps)]
    inexact = [name for layer in maps for name in layer.inexact]
    if inexact and inner.backward != "first_order":
        raise RecipeError(
            f"Second derivatives through {inexact[0]!r} of the pretrained model would be wrong (Keras "
            "stops the gradient of its mean). Use learner.adapts = 'head', or learner.backward = 'first_order'."
        )


def require_head(head: Head | None, inner: InnerLoop) -> None:
    """Refuse the derivative of the minimum, which knows parameters and rates, where a head reads with weights beside.

    Raises:
        RecipeError: if it is one.
    """
    if head is not None and head.reads_weights and inner.backward in OF_THE_MINIMUM:
        raise RecipeError(
            f"learner.backward = {inner.backward!r} would pass no gradient to the weights that this head reads "
            "features with. Use learner.backward = 'exact' or 'first_order', or learner.head = 'prototype'."
        )


def require_rule(rule: Rule, rates: InnerRates, moving: Sequence[bool]) -> None:
    """Refuse learned rates beside a learned rule, which has none, and rules that remember where nothing moves.

    Args:
        rule: Of the learner.
        rates: Of the learner.
        moving: For each parameter, whether it adapts.

    Raises:
        RecipeError: if there are some.
    """
    if not any(moving) and not isinstance(rule, GradientRule):
        raise RecipeError("Nothing adapts beside a head that reads. Use learner.rule = 'gradient'.")
    if isinstance(rule, LearnedRule) and rates.kind != "constant":
        raise RecipeError(
            f"A learned rule has no rates, so that learner.rates = {rates.kind!r} would never learn. Use "
            "learner.rates = 'constant', or learner.rule = 'gradient', 'momentum' or 'adam'."
        )


def require_objective(outer: Outer, head: Head | None, inner: InnerLoop, *, learned_rates: bool) -> None:
    """Refuse an outer objective that would teach nothing.

    Args:
        outer: The objective.
        head: Of the learner.
        inner: The inner loop of training.
        learned_rates: Whether rates are learned.

    Raises:
        RecipeError: if it would not.
    """
    if outer.objective == "reptile" and (learned_rates or not (head is None or head.same_start)):
        raise RecipeError(
            "Reptile moves the start towards the adapted parameters, and teaches neither rates nor a head that is "
            "made anew for each task. Use learner.head = 'fixed' and learner.rates = 'constant'."
        )
    if outer.fading and isinstance(inner.steps, int) and inner.steps < 2:
        raise RecipeError(
            f"The loss of every inner step cannot fade to that of the last of {inner.steps}: take two steps "
            "or more, or set training.fading = 0."
        )


def require_one_start(rule: Rule, outer: Outer, inner: InnerLoop, moving: Sequence[bool], *, vary_steps: bool) -> None:
    """Refuse a spread of starts beside what has one start alone.

    Args:
        rule: Of the learner.
        outer: The objective.
        inner: The inner loop of training.
        moving: For each parameter, whether it adapts.
        vary_steps: Whether training answers after several numbers of steps.

    Raises:
        RecipeError: if there is such a part.
    """
    reasons = {
        "nothing adapts beside a head that reads": not any(moving),
        "a learner.rule other than 'gradient' begins with a memory of one start": not isinstance(rule, GradientRule),
        "no inner step follows": inner.steps == 0,
        "it is for classes, whose likelihood its bound weighs": inner.loss != "cross_entropy",
        "Reptile moves one start": outer.objective == "reptile",
        "training looks at the last step alone": bool(outer.fading or outer.first_order_updates or vary_steps),
    }
    for reason, applies in reasons.items():
        if applies:
            raise RecipeError(f"learner.spread draws starts, but {reason}. Use learner.spread = 0.")
