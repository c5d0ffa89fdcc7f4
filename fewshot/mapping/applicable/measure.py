"""Measures where a method is applicable, and how often it is right by dissimilarity, on the labels of the region."""

from dataclasses import replace

import numpy as np

from fewshot.errors import RasterError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.applicability import Applicability, accuracy_profile, between_classes
from fewshot.exported.predictor import Predictor, Steps
from fewshot.geo.points import Examples
from fewshot.geo.scene import Scene
from fewshot.mapping.applicable.space import seen_at
from fewshot.mapping.compare.contenders import Contender, ManyInAPicture, OnePictureEach
from fewshot.mapping.compare.folds import deal
from fewshot.mapping.support.examples import LabelPlan, SupportSet, read_support

_LABELS = 1000
"""Labels that places are compared with at most: more tell the same and take long."""
_SQUARE = 16
"""Least pixels of the side of squares that are held out together."""


def with_applicability(
    model: AdaptedModel, predictor: Predictor, scene: Scene, examples: Examples, plan: LabelPlan, *, steps: Steps
) -> AdaptedModel:
    """Return an adapted model that knows how far it is applicable.

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
    card = predictor.card()
    examples = examples.at_most(_LABELS, np.random.default_rng(plan.seed))
    support, examples = read_support(scene, card, examples, plan)
    side = card.size.rows
    try:
        folds = deal(examples, side * -(-_SQUARE // side), seed=plan.seed)
    except RasterError as error:
        told = f"where the map holds cannot be told: {error} Or leave --applicable and --suggest out."
        raise RasterError(told) from None
    seen = seen_at(predictor, model.adapted, support, examples)
    found = Applicability.fit(seen, weights=between_classes(seen, examples.labels), fold=folds.fold)
    answers = _contender(predictor, support, plan, steps).held_out(examples, folds, len(model.values))
    right = answers.argmax(axis=1) == examples.labels
    profile = accuracy_profile(found.own[folds.tested], right[folds.tested], found.threshold)
    return replace(model, applicability=replace(found, profile=profile))


def _contender(predictor: Predictor, support: SupportSet, plan: LabelPlan, steps: Steps) -> Contender:
    """Return the method as it is asked of labels that it was not shown; steps that labels choose are the card's."""
    card = predictor.card()
    fixed, taken = card.label_space == "global", None if steps == "auto" else steps
    if card.output == "pixel" and card.size.rows > 1:
        return ManyInAPicture(predictor, support, taken, fixed, plan.radius)
    return OnePictureEach(predictor, support, taken, fixed)
