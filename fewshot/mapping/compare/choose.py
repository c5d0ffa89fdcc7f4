"""Which method maps a region: the one asked for, or the one that its own labels speak for."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fewshot.errors import ArtifactError, DivergedError, RecipeError
from fewshot.exported.card import Card
from fewshot.exported.predictor import Predictor, Steps
from fewshot.geo.landcover import ClassTable
from fewshot.geo.mosaic import describe_mosaic
from fewshot.geo.points import Examples
from fewshot.mapping.compare.calibration import calibrate
from fewshot.mapping.compare.contenders import Contender, ManyInAPicture, OnePictureEach
from fewshot.mapping.compare.folds import deal
from fewshot.mapping.compare.table import Comparison, choose, measure
from fewshot.mapping.plain.combined import CombinedPredictor, combines
from fewshot.mapping.plain.on_features import FeaturesPredictor, has_features
from fewshot.mapping.plain.predictor import SQUARES, TITLES, PlainPredictor
from fewshot.mapping.predict.checkpoint import Checkpoint
from fewshot.mapping.request import MapRequest
from fewshot.mapping.scene import Reading, open_scene
from fewshot.mapping.support.adaptation import read_labels, require_inductive, usual_spacing
from fewshot.mapping.support.examples import LabelPlan, read_support
from fewshot.tables import make_table

_LABELS = 2000
"""Labels that are compared on at most: more tell the same and take long."""
_SQUARE = 16
"""Least pixels of a block's side, and how far labels that are kept back lie from the others, without a model."""

_ON_MODELS: dict[str, Callable[[Predictor], Predictor]] = {
    "combined": CombinedPredictor,
    "features+logistic": FeaturesPredictor,
}
"""Methods of a model and a plain classifier."""


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


def choose_method(predictor: Predictor | None, request: MapRequest) -> Choice:
    """Choose what maps a region, and compare methods before where that is asked for.

    Args:
        predictor: A model; None where plain classifiers are enough.
        request: What to map, and by which method.

    Raises:
        RecipeError: if the method needs a model and there is none.
        RasterError: if the scene or the labels cannot be used, or the labels lie too close to each other.
        FewshotError: what the model raises.
    """
    request = replace(request, labels=_settled(predictor, request.labels))
    comparison = None
    if request.compares:
        comparison = _kept(request) or _compare(predictor, request)
    method = comparison.chosen if comparison else request.method
    if not _is_plain(method, predictor):
        if predictor is None:
            raise RecipeError(f"--method {method} needs a model: name one, or choose one of {', '.join(TITLES)}")
        steps = 0 if method in ("prototypes", "features+logistic") else request.steps
        maps = _ON_MODELS[method](predictor) if method in _ON_MODELS else predictor
        return Choice(maps, replace(request, method=method, steps=steps), comparison)
    plain, numbers = _plain(method, predictor, request)
    # Pixels do not see their neighbours, or those of a square; and a label is its own pixel's alone.
    overlap = 2 * (max(SQUARES) - 1) if method == "surroundings" else 0
    windows = replace(request.windows, overlap=request.windows.overlap or overlap)
    labels = request.labels and replace(request.labels, radius=0)
    bare = replace(request, labels=labels, bands=numbers, sensor="", scale=None, offset=None)
    return Choice(plain, replace(bare, method=method, steps=None, windows=windows), comparison)


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


def _plain(method: str, predictor: Predictor | None, request: MapRequest) -> tuple[PlainPredictor, tuple[int, ...]]:
    """Return a plain classifier of a scene's bands, and their numbers: all, or those chosen where there is no model."""
    info, _ = describe_mosaic(request.scenes)
    numbers = [number for number in request.bands if isinstance(number, int)] if predictor is None else []
    numbers = numbers or list(range(1, info.bands + 1))
    wrong = [number for number in numbers if not 1 <= number <= info.bands]
    if wrong:
        raise RecipeError(f"--bands {', '.join(map(str, wrong))}: {info.path} has bands 1 to {info.bands}")
    names = tuple(info.names[number - 1] or f"band {number}" for number in numbers)
    return PlainPredictor(method, names), tuple(numbers)


def _kept(request: MapRequest) -> Comparison | None:
    """Return the comparison that an interrupted map was begun with, if there is one."""
    path = Checkpoint(request.to).compared
    if not request.resume or not path.exists():
        return None
    return make_table(Comparison, json.loads(path.read_text(encoding="utf-8")), str(path), error=ArtifactError)


def _compare(predictor: Predictor | None, request: MapRequest) -> Comparison:
    """Compare all methods there are on the labels of a region; those kept back to validate with are no part of it."""
    began = time.monotonic()
    contenders, examples, table = _contenders(predictor, request)
    has_data = np.all([one.has_data for one in contenders.values() if isinstance(one, OnePictureEach)], axis=0)
    size = predictor.card().size.rows if predictor else _SQUARE
    folds = deal(examples, size * -(-_SQUARE // size), seed=_seed(request))
    folds = replace(folds, tested=folds.tested & has_data)
    answers, notes = {}, []
    for name, contender in contenders.items():
        try:
            answers[name] = contender.held_out(examples, folds, len(table.names))
        except DivergedError as error:
            if name == request.method:
                raise
            notes.append(f"{name} is not compared: {error}")
    untested = sorted(set(examples.labels.tolist()) - set(examples.labels[folds.tested].tolist()))
    if untested:
        names = ", ".join(table.names[label] for label in untested)
        notes.append(f"{names}: all labels lie in one square, so they cannot be tested.")
    titles = {name: contender.predictor.card().title for name, contender in contenders.items()}
    methods = measure(answers, examples.labels, folds, titles)
    chosen, reason = choose(methods, request.method)
    own = answers[chosen][folds.tested], examples.labels[folds.tested], folds.fold[folds.tested]
    return Comparison(
        methods=methods,
        chosen=chosen,
        reason=reason,
        labels=int(folds.tested.sum()),
        folds=folds.count,
        blocks=len(np.unique(folds.block[folds.tested])),
        block_pixels=folds.side,
        notes=tuple(notes),
        calibration=calibrate(*own),
        seconds=round(time.monotonic() - began, 2),
    )


def _contenders(predictor: Predictor | None, request: MapRequest) -> tuple[dict[str, Contender], Examples, ClassTable]:
    """Return the methods that can be compared, the labels that they are compared on, and the classes."""
    plain, numbers = _plain("logistic", predictor, request)
    bands = open_scene(request.scenes, plain.card(), Reading(numbers))
    found: dict[str, Contender] = {}
    if predictor is None:
        _, table, used = read_labels(bands, plain.card(), _plan(request), request.classes)
        examples = _some(used.examples, request)
    else:
        card = predictor.card()
        require_inductive(card)
        found, examples, table = _of_model(predictor, card, request)
    pixels, examples = read_support(bands, plain.card(), examples, _plan(request))
    around = PlainPredictor("surroundings", plain.bands)
    tiles, _ = read_support(bands, around.card(), examples, replace(_plan(request), radius=0))
    found["surroundings"] = ManyInAPicture(around, tiles)
    others = [name for name in TITLES if name not in found]
    return found | {name: OnePictureEach(PlainPredictor(name, plain.bands), pixels) for name in others}, examples, table


def _of_model(
    predictor: Predictor, card: Card, request: MapRequest
) -> tuple[dict[str, Contender], Examples, ClassTable]:
    """Return the model adapted and, where it has any, its prototypes; the labels; and the classes."""
    plan = _plan(request)
    scene = open_scene(request.scenes, card, request.reading)
    _, table, used = read_labels(scene, card, plan, request.classes)
    support, examples = read_support(scene, card, _some(used.examples, request), plan)
    fixed = card.label_space == "global"

    def each(steps: Steps, one: Predictor = predictor) -> Contender:
        if card.output == "pixel":
            return ManyInAPicture(one, support, steps, fixed, plan.radius)
        return OnePictureEach(one, support, steps, fixed)

    found = {"adapted": each(request.steps)}
    if combines(card):
        found["combined"] = each(request.steps, CombinedPredictor(predictor))
    if has_features(card):
        found["features+logistic"] = each(0, FeaturesPredictor(predictor))
    if card.head == "prototype" and (card.steps if request.steps is None else request.steps):
        found["prototypes"] = each(0)
    return found, examples, table


def _plan(request: MapRequest) -> LabelPlan:
    """Return the labels to compare on."""
    if request.labels is None:
        raise RecipeError("methods are compared on labels: give some with --labels")
    return request.labels


def _some(examples: Examples, request: MapRequest) -> Examples:
    """Return the labels that are compared on, those of large classes left out first where there are very many."""
    return examples.at_most(_LABELS, np.random.default_rng(_seed(request)))


def _seed(request: MapRequest) -> int:
    return _plan(request).seed
