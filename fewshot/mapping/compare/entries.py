"""What is compared: of each suitable model three ways of using it, and the plain classifiers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fewshot.errors import ArtifactError, FewshotError, RecipeError
from fewshot.exported.card import Card
from fewshot.exported.predictor import Predictor, Steps
from fewshot.geo.dated import DatedPlaces
from fewshot.geo.landcover import ClassTable
from fewshot.geo.points import Examples
from fewshot.geo.scene import Scene
from fewshot.mapping.compare.contenders import Contender, ManyInAPicture, OnePictureEach
from fewshot.mapping.methods import AUTO, Entry
from fewshot.mapping.plain.combined import CombinedPredictor, combines
from fewshot.mapping.plain.on_features import FeaturesPredictor, has_features
from fewshot.mapping.plain.predictor import TITLES, PlainPredictor
from fewshot.mapping.reading import Reading
from fewshot.mapping.request import MapRequest
from fewshot.mapping.scene import describe_scene, open_scene
from fewshot.mapping.support.adaptation import read_labels, require_inductive
from fewshot.mapping.support.examples import LabelPlan, choose_pictures, read_support

_LABELS = 2000
"""Labels that are compared on at most: more tell the same and take long."""


@dataclass(frozen=True, eq=False)
class Entries:
    """All that is compared, and on which labels.

    Attributes:
        contenders: The methods.
        examples: The labels.
        table: Their classes.
        notes: Which models are not compared, and why.
    """

    contenders: Mapping[Entry, Contender]
    examples: Examples
    table: ClassTable
    notes: tuple[str, ...]


class _Suitable(NamedTuple):
    """A model that can map the scene, what it reads, and the labels as it finds them."""

    predictor: Predictor
    card: Card
    scene: Scene
    table: ClassTable
    examples: Examples
    places: DatedPlaces | None


def find_entries(models: Mapping[str, Predictor], asked: Entry, request: MapRequest) -> Entries:
    """Find all that can map a scene.

    Args:
        models: By name. One that cannot map the scene is left out where there are several, unless it is to map.
        asked: What is to map, if not the best.
        request: What to map.

    Raises:
        RecipeError: if there are no labels.
        FewshotError: what says that the only model, the one asked for, or all of them cannot map the scene.
    """
    plan = labels_of(request)
    suitable, notes = _suitable(models, asked, request)
    plain, numbers = plain_classifier("logistic", request, of_model=bool(models))
    bands = open_scene(request.scenes, plain.card(), Reading(numbers, pictures=request.pictures))
    if suitable:
        first = next(iter(suitable.values()))
        table, examples, places = first.table, first.examples, first.places
    else:
        _, table, used = read_labels(bands, plain.card(), plan, request.classes)
        examples, places = used.examples, used.places
    bands = bands.of_dates(places)
    examples = examples.at_most(_LABELS, np.random.default_rng(plan.seed))
    for card in (*(one.card for one in suitable.values()), plain.card()):
        examples, _ = choose_pictures(card, examples, plan)
    found: dict[Entry, Contender] = {}
    for name, model in suitable.items():
        found |= {Entry(method, name): each for method, each in _of_model(model, examples, request).items()}
    for method, each in _plain(plain, bands, examples, plan).items():
        found.setdefault(Entry(method), each)  # a model's own prototypes go before those of the bands
    return Entries(found, examples, table, tuple(notes))


def _suitable(
    models: Mapping[str, Predictor], asked: Entry, request: MapRequest
) -> tuple[dict[str, _Suitable], list[str]]:
    """Return the models that can map the scene by name, and a sentence on each of the others."""
    found: dict[str, _Suitable] = {}
    errors: dict[str, FewshotError] = {}
    for name, predictor in models.items():
        try:
            found[name] = _try_model(predictor, request, next(iter(found.values()), None))
        except FewshotError as error:
            errors[name] = error
    if asked.model in errors and (not found or asked.method != AUTO):
        raise errors[asked.model]
    return found, [f"{name} is not compared: {error}" for name, error in errors.items()]


def _try_model(predictor: Predictor, request: MapRequest, first: _Suitable | None) -> _Suitable:
    """Open the scene as a model reads it, and read the labels, those of the first model where there is one."""
    card, plan = predictor.card(), labels_of(request)
    require_inductive(card)
    if combines(card):
        card = CombinedPredictor(predictor).card()  # its pictures show what both need
    scene = open_scene(request.scenes, card, request.reading)
    if first is None:
        _, table, used = read_labels(scene, card, plan, request.classes)
        return _Suitable(predictor, card, scene.of_dates(used.places), table, used.examples, used.places)
    names, most = tuple(entry.name for entry in card.classes), card.limits.classes
    if (names and names != first.table.names) or len(first.table.names) > most:
        own = ", ".join(names) or f"the labels' own, {most} at most"
        raise ArtifactError(f"its classes are {own}; expected {', '.join(first.table.names)}.")
    scene.check_units((int(first.examples.rows[0]), int(first.examples.columns[0])))
    return _Suitable(predictor, card, scene.of_dates(first.places), first.table, first.examples, first.places)


def _of_model(model: _Suitable, examples: Examples, request: MapRequest) -> dict[str, Contender]:
    """Return a model adapted; its product with a plain classifier, and one on its features; and its prototypes."""
    predictor, card, plan = model.predictor, model.card, labels_of(request)
    support, _ = read_support(model.scene, card, examples, plan)
    # Steps that labels are to choose are the card's here: to choose them in every fold would take minutes.
    fixed, steps = card.label_space == "global", None if request.steps == "auto" else request.steps

    def each(steps: Steps, one: Predictor = predictor) -> Contender:
        if card.output == "pixel":
            return ManyInAPicture(one, support, steps, fixed, plan.radius)
        return OnePictureEach(one, support, steps, fixed)

    found = {"adapted": each(steps)}
    if combines(card):
        found["combined"] = ManyInAPicture(CombinedPredictor(predictor), support, steps, fixed)
    if has_features(predictor.card()):
        found["features+logistic"] = each(0, FeaturesPredictor(predictor))
    if card.head == "prototype" and (card.steps if steps is None else steps):
        found["prototypes"] = each(0)
    return found


def _plain(plain: PlainPredictor, bands: Scene, examples: Examples, plan: LabelPlan) -> dict[str, Contender]:
    """Return the plain classifiers of a scene's bands."""
    around = PlainPredictor("surroundings", plain.bands)
    tiles, _ = read_support(bands, around.card(), examples, replace(plan, radius=0))
    pixels, _ = read_support(bands, plain.card(), examples, plan)
    found: dict[str, Contender] = {name: OnePictureEach(PlainPredictor(name, plain.bands), pixels) for name in TITLES}
    return found | {"surroundings": ManyInAPicture(around, tiles)}


def plain_classifier(method: str, request: MapRequest, *, of_model: bool) -> tuple[PlainPredictor, tuple[int, ...]]:
    """Return a plain classifier of a scene's bands, and their numbers.

    Args:
        method: One of `TITLES`.
        request: Says which bands, where there is no model whose bands these are.
        of_model: Whether there is one.

    Raises:
        RecipeError: if the scene has not so many bands.
    """
    info = describe_scene(request.scenes, request.reading)
    numbers = [] if of_model else [number for number in request.bands if isinstance(number, int)]
    numbers = numbers or list(range(1, info.bands + 1))
    wrong = [number for number in numbers if not 1 <= number <= info.bands]
    if wrong:
        raise RecipeError(f"--bands {', '.join(map(str, wrong))}: {info.path} has bands 1 to {info.bands}")
    names = tuple(info.names[number - 1] or f"band {number}" for number in numbers)
    return PlainPredictor(method, names), tuple(numbers)


def steps_of(predictor: Predictor, asked: Steps) -> Steps:
    """Return the inner steps to ask of a model: where no number is given, what the labels themselves ask for."""
    return "auto" if asked is None and predictor.chooses_steps() else asked


def labels_of(request: MapRequest) -> LabelPlan:
    """Return the labels to compare on.

    Raises:
        RecipeError: if there are none.
    """
    if request.labels is None:
        raise RecipeError("methods are compared on labels: give some with --labels")
    return request.labels
