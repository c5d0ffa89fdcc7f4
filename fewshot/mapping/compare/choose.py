"""Which method maps a region: the one asked for, the one that suits the model, or the one that its labels speak for."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fewshot.errors import ArtifactError, DivergedError, RecipeError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.predictor import Predictor
from fewshot.mapping.compare.calibration import calibrate
from fewshot.mapping.compare.confusion import count_confusion
from fewshot.mapping.compare.contenders import OnePictureEach
from fewshot.mapping.compare.entries import find_entries, labels_of, plain_classifier, steps_of
from fewshot.mapping.compare.folds import deal
from fewshot.mapping.compare.table import Comparison, choose, measure
from fewshot.mapping.methods import Entry
from fewshot.mapping.plain.combined import CombinedPredictor, combines
from fewshot.mapping.plain.on_features import FeaturesPredictor
from fewshot.mapping.plain.predictor import TITLES
from fewshot.mapping.predict.checkpoint import Checkpoint
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.adaptation import usual_spacing
from fewshot.mapping.support.examples import LabelPlan
from fewshot.tables import make_table

_SQUARE = 16
"""Least pixels of a block's side, and how far labels that are kept back lie from the others, without a model."""

_ON_MODELS: dict[str, Callable[[Predictor], Predictor]] = {
    "combined": CombinedPredictor,
    "features+logistic": FeaturesPredictor,
}
"""Methods of a model and a plain classifier."""
_STEPLESS = ("prototypes", "features+logistic")

Models = Mapping[str, Predictor]


@dataclass(frozen=True, eq=False)
class Choice:
    """What maps a region.

    Attributes:
        predictor: The model, or a plain classifier.
        request: For it.
        comparison: Where methods were compared.
    """

    predictor: Predictor
    request: MapRequest
    comparison: Comparison | None = None


def choose_method(models: Predictor | Models | None, request: MapRequest) -> Choice:
    """Choose what maps a region, and compare methods before where that is asked for.

    Args:
        models: A model, or several by name, of which the first maps unless the method is `AUTO`; None where plain
            classifiers are enough.
        request: What to map, and by which method.

    Raises:
        RecipeError: if the method needs a model and there is none.
        RasterError: if the scene or the labels cannot be used, or the labels lie too close to each other.
        FewshotError: what a model raises.
    """
    named = models if isinstance(models, Mapping) else {} if models is None else {"": models}
    first = next(iter(named.values()), None)
    method = request.method or usual_method(first, request)
    asked, request = Entry(method, next(iter(named), "")), replace(request, labels=_settled(first, request.labels))
    if not request.compares:
        return _prepared(asked, named, request)
    comparison = _kept(request) or _compare(named, asked, request)
    choice = _prepared(Entry(comparison.chosen, comparison.model), named, request)
    return replace(choice, comparison=comparison)


def usual_method(predictor: Predictor | None, request: MapRequest) -> str:
    """Return the method that suits a model: its product with a plain classifier, where it answers as these do.

    Of a model that was adapted before, the file says with which it was.

    Args:
        predictor: The model; None where there is none.
        request: What to map.
    """
    if predictor is None or not combines(predictor.card()):
        return "adapted"
    if request.adapted is not None:
        try:
            AdaptedModel.load(request.adapted, CombinedPredictor(predictor).card())
        except ArtifactError:
            return "adapted"
    return "combined"


def _prepared(entry: Entry, models: Models, request: MapRequest) -> Choice:
    """Return what maps, with the request as it is for that."""
    if entry.model and entry.model not in models:
        raise RecipeError(f"the map was begun with {entry}; name that model with --model to go on with it")
    predictor = models.get(entry.model)
    request = replace(request, method=entry.method)
    # Where a plain classifier has a part, a label is its own pixel's alone.
    alone = replace(request, labels=request.labels and replace(request.labels, radius=0))
    if _is_plain(entry.method, predictor):
        plain, numbers = plain_classifier(entry.method, request, of_model=bool(models))
        return Choice(plain, replace(alone, bands=numbers, sensor="", scale=None, offset=None, steps=None))
    if predictor is None:
        raise RecipeError(f"--method {entry.method} needs a model: name one, or choose one of {', '.join(TITLES)}")
    steps = None
    if request.labels is not None:
        steps = 0 if entry.method in _STEPLESS else steps_of(predictor, request.steps)
    if entry.method in _ON_MODELS:
        return Choice(_ON_MODELS[entry.method](predictor), replace(alone, steps=steps))
    return Choice(predictor, replace(request, steps=steps))


def _settled(predictor: Predictor | None, plan: LabelPlan | None) -> LabelPlan | None:
    """Return the labels, so that every method is shown the same ones, and the same are kept back from all."""
    if plan is None or predictor is None:
        return plan and replace(plan, apart=plan.apart or (_SQUARE if plan.holdout else None))
    card = predictor.card()
    apart = plan.apart or (card.size.rows if plan.holdout else None)
    return replace(plan, apart=apart, spacing=plan.spacing or usual_spacing(card, plan))


def _is_plain(method: str, predictor: Predictor | None) -> bool:
    """Return whether a method asks nothing of the model: prototypes are the model's own where it has any."""
    own = predictor is not None and predictor.card().head == "prototype"
    return method in TITLES and not (method == "prototypes" and own)


def _kept(request: MapRequest) -> Comparison | None:
    """Return the comparison that an interrupted map was begun with, if there is one."""
    path = Checkpoint(request.to).compared
    if not request.resume or not path.exists():
        return None
    return make_table(Comparison, json.loads(path.read_text(encoding="utf-8")), str(path), error=ArtifactError)


def _compare(models: Models, asked: Entry, request: MapRequest) -> Comparison:
    """Compare all methods there are on the labels of a region; those kept back to validate with are no part of it."""
    began, first = time.monotonic(), next(iter(models.values()), None)
    entries = find_entries(models, asked, request)
    examples, table, contenders = entries.examples, entries.table, entries.contenders
    if asked not in contenders:  # a plain classifier asks no model
        asked = Entry(asked.method)
    has_data = np.all([one.has_data for one in contenders.values() if isinstance(one, OnePictureEach)], axis=0)
    size = first.card().size.rows if first else _SQUARE
    folds = deal(examples, size * -(-_SQUARE // size), seed=labels_of(request).seed)
    folds = replace(folds, tested=folds.tested & has_data)
    answers, notes = {}, list(entries.notes)
    for entry, contender in contenders.items():
        try:
            answers[entry] = contender.held_out(examples, folds, len(table.names))
        except DivergedError as error:
            if entry == asked:
                raise
            notes.append(f"{entry} is not compared: {error}")
    titles = {entry: contender.predictor.card().title for entry, contender in contenders.items()}
    methods = measure(answers, examples.labels, folds, titles)
    chosen, reason = choose(methods, asked)
    own = answers[chosen][folds.tested], examples.labels[folds.tested], folds.fold[folds.tested]
    confusion = count_confusion(own[1], own[0].argmax(axis=1), len(table.names))
    return Comparison(
        methods=methods,
        chosen=chosen.method,
        model=chosen.model,
        reason=reason,
        labels=int(folds.tested.sum()),
        folds=folds.count,
        blocks=len(np.unique(folds.block[folds.tested])),
        block_pixels=folds.side,
        notes=tuple(notes),
        calibration=calibrate(*own),
        seconds=round(time.monotonic() - began, 2),
        confusion=tuple(map(tuple, confusion.tolist())),
    )
