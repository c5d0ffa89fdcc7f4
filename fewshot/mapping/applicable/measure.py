"""Measures where a method is applicable, and how often it is right by dissimilarity, on the labels of the region."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.applicability import Applicability, accuracy_profile, between_classes
from fewshot.exported.predictor import AdaptedVector, Predictor, Steps
from fewshot.geo.points import Examples
from fewshot.geo.scene import Scene
from fewshot.geo.windows import Window
from fewshot.mapping.applicable.space import AT_ONCE, seen_by
from fewshot.mapping.compare.contenders import Contender, ManyInAPicture, OnePictureEach
from fewshot.mapping.compare.folds import Folds, deal
from fewshot.mapping.support.examples import LabelPlan, SupportSet, read_support

FloatArray = npt.NDArray[np.float32]

_LABELS = 1000
"""Labels that places are compared with at most: more tell the same and take long."""
_SQUARE = 16
"""Least pixels of the side of squares that are held out together."""


class _Held(NamedTuple):
    """The space that labels span, with how they were held out of it.

    Attributes:
        space: Of the labels.
        support: The pictures that show them.
        examples: The labels, as many as places are compared with.
        folds: In which each is held out.
    """

    space: Applicability
    support: SupportSet
    examples: Examples
    folds: Folds


def with_space(
    model: AdaptedModel, predictor: Predictor, scene: Scene, examples: Examples, plan: LabelPlan
) -> AdaptedModel:
    """Return an adapted model that knows how far it is applicable, without the accuracy to expect: at once.

    Args:
        model: Adapted to the labels.
        predictor: That it was adapted by.
        scene: That the labels lie in.
        examples: The labels.
        plan: What is done with them.

    Raises:
        RasterError: if the labels lie too close to each other to be held out.
        FewshotError: what the predictor raises.
    """
    return replace(model, applicability=_held_out(model, predictor, scene, examples, plan).space)


def with_applicability(
    model: AdaptedModel, predictor: Predictor, scene: Scene, examples: Examples, plan: LabelPlan, *, steps: Steps
) -> AdaptedModel:
    """Return an adapted model that knows how far it is applicable, and the accuracy to expect there.

    Labels are held out in squares, as where methods are compared. The dissimilarity of each label to those of other
    squares makes the threshold; what a model adapted to these says of it makes the expected accuracy.

    Args:
        model: Adapted to the labels.
        predictor: That it was adapted by.
        scene: That the labels lie in.
        examples: The labels.
        plan: What is done with them.
        steps: Inner steps that were asked for.

    Raises:
        RasterError: if the labels lie too close to each other to be held out.
        FewshotError: what the predictor raises.
    """
    space, support, examples, folds = _held_out(model, predictor, scene, examples, plan)
    answers = _contender(predictor, support, plan, steps).held_out(examples, folds, len(model.values))
    right = answers.argmax(axis=1) == examples.labels
    profile = accuracy_profile(space.own[folds.tested], right[folds.tested], space.threshold)
    return replace(model, applicability=replace(space, profile=profile))


def _held_out(model: AdaptedModel, predictor: Predictor, scene: Scene, examples: Examples, plan: LabelPlan) -> _Held:
    """Deal the labels into squares, and measure the space that they span in what the method sees of them."""
    card = predictor.card()
    examples = examples.at_most(_LABELS, np.random.default_rng(plan.seed))
    support, examples = read_support(scene, card, examples, plan)
    side = card.size.rows
    try:
        folds = deal(examples, side * -(-_SQUARE // side), seed=plan.seed)
    except RasterError as error:
        told = f"where the map holds cannot be told: {error} Or leave --applicable and --suggest out."
        raise RasterError(told) from None
    seen = _seen_at(predictor, model.adapted, support, examples)
    space = Applicability.fit(seen, weights=between_classes(seen, examples.labels), fold=folds.fold)
    return _Held(space, support, examples, folds)


def _contender(predictor: Predictor, support: SupportSet, plan: LabelPlan, steps: Steps) -> Contender:
    """Return the method as it is asked of labels that it was not shown; steps that labels choose are the card's."""
    card = predictor.card()
    fixed, taken = card.label_space == "global", None if steps == "auto" else steps
    if card.output == "pixel" and card.size.rows > 1:
        return ManyInAPicture(predictor, support, taken, fixed, plan.radius)
    return OnePictureEach(predictor, support, taken, fixed)


def _seen_at(predictor: Predictor, adapted: AdaptedVector, support: SupportSet, examples: Examples) -> FloatArray:
    """Return what a method sees of labels [n, features].

    Args:
        predictor: The method.
        adapted: To the labels.
        support: The pictures that show them; one each where the method answers for pictures.
        examples: The labels.
    """
    side = support.x.shape[1]
    at_once = max(1, AT_ONCE // side**2)
    found: list[tuple[npt.NDArray[np.int64], FloatArray]] = []
    for first in range(0, len(support.x), at_once):
        seen = seen_by(predictor, adapted, support.x[first : first + at_once])
        if seen.ndim == 2:
            found.append((np.arange(first, first + len(seen)), seen))
            continue
        for window, picture in zip(support.windows[first : first + at_once], seen, strict=True):
            margin, inner = support.margin, side - 2 * support.margin
            own = examples.within(Window(window.row + margin, window.column + margin, inner, inner))
            here = np.flatnonzero(own)
            found.append((here, picture[examples.rows[here] - window.row, examples.columns[here] - window.column]))
    order = np.argsort(np.concatenate([numbers for numbers, _ in found]), kind="stable")
    return np.concatenate([seen for _, seen in found])[order]
