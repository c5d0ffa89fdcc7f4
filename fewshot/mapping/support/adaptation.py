"""From the labels of a region to a model that is adapted to them."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.exported.adapted import AdaptedModel, Card, Predictor
from fewshot.geo.labels import LabelSummary, require_georeference
from fewshot.geo.landcover import ClassTable, read_class_table
from fewshot.geo.points import Examples
from fewshot.geo.scene import Scene
from fewshot.mapping.predict.work import WorkFolder
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.classes import find_classes, number_classes, with_classes, with_colours
from fewshot.mapping.support.examples import Split, Support, find_examples, read_support, split_apart


@dataclass(frozen=True, eq=False)
class Learned:
    """An adapted model, and what it was adapted to.

    Attributes:
        model: Adapted.
        examples: In the support; None where the model was adapted before.
        split: Where examples were kept back.
        summary: What became of the labels.
        notes: Remarks on the labels.
    """

    model: AdaptedModel
    examples: Examples | None = None
    split: Split | None = None
    summary: LabelSummary | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Gathered:
    """Labels that were read, and the pictures around them.

    Attributes:
        support: What the model is shown.
        examples: In it.
        table: The classes of the map, all with colours.
        split: Where examples were kept back.
        summary: What became of the labels.
        notes: Remarks on them.
    """

    support: Support
    examples: Examples
    table: ClassTable
    split: Split | None
    summary: LabelSummary
    notes: tuple[str, ...] = field(default=())


def learn(predictor: Predictor, scene: Scene, request: MapRequest, work: WorkFolder) -> Learned:
    """Adapt the model to the labels, or take one that was adapted before.

    Args:
        predictor: The model.
        scene: That the labels lie in.
        request: Which labels, and what is done with them.
        work: Keeps the adapted model, so that a resumed map goes on with the very same.

    Raises:
        FewshotError: if the labels or the model cannot be used.
    """
    card = predictor.card()
    if request.adapted is not None:
        model = AdaptedModel.load(request.adapted)
        model.require_model(card, where=str(request.adapted))
        scene.check_units()
        return Learned(model)
    found = gather(card, scene, request)
    if request.resume and work.adapted.exists():
        model = AdaptedModel.load(work.adapted)
        model.require_model(card, where=str(work.adapted))
    else:
        adapted = predictor.adapt(found.support.x, found.support.y, steps=request.steps)
        before, after = (float(value) for value in adapted.support_loss)
        values, _ = number_classes(found.table)
        vector = np.array(adapted.vector, np.float32)
        model = AdaptedModel(vector, found.table, values, (before, after), card.adapted.fingerprint)
        model.save(work.adapted)
    return Learned(model, found.examples, found.split, found.summary, found.notes)


def gather(card: Card, scene: Scene, request: MapRequest) -> Gathered:
    """Read the labels, keep some back where that is asked for, and read the pictures around the others.

    Raises:
        FewshotError: if no labels are left, or they show a single class.
    """
    plan = request.labels
    if plan is None:
        raise RasterError("a model is adapted to labels, and none were named")
    require_georeference(scene.info, "scene")
    own = read_class_table(request.classes) if request.classes else None
    table = find_classes(card, plan.path, field=plan.field, table=own)
    size = card.size.rows
    spacing = max(1, size // 2) if card.output == "patch" else 2 * plan.radius + 1
    found = find_examples(scene, plan, table, spacing=spacing)
    middle = len(found.examples) // 2
    scene.check_units((int(found.examples.rows[middle]), int(found.examples.columns[middle])))
    split = split_apart(found.examples, plan.holdout, plan.apart or size, seed=plan.seed) if plan.holdout else None
    left = split.support if split else found.examples
    support, examples = read_support(scene, card, left, plan)
    notes = list(found.summary.lines())
    if len(examples) < len(left):
        notes.append(
            f"{plan.path}: {len(examples)} of {len(left)} labelled pixels are shown to the model, which takes "
            f"{card.limits.examples} pictures."
        )
    kept = shown_classes(card, table, examples, plan.path)
    lost = [name for index, name in enumerate(table.names) if index not in kept]
    if lost:
        notes.append(f"{plan.path}: no example of {', '.join(lost)} is left, so the map does not show it.")
    index = np.full(len(table.names) + 1, -1, np.int32)  # the last is that of label -1
    index[kept] = np.arange(len(kept))
    if split:
        split = replace(
            split, support=_renumbered(split.support, index), validation=_renumbered(split.validation, index)
        )
    return Gathered(
        Support(support.x, index[support.y]),
        _renumbered(examples, index),
        with_colours(with_classes(table, kept)),
        split,
        found.summary,
        tuple(notes),
    )


def shown_classes(card: Card, table: ClassTable, examples: Examples, path: Path) -> list[int]:
    """Return the classes of the map, by index: all that the model knows, or those that it is shown.

    Raises:
        RasterError: if one class alone is shown, or more than the model takes.
    """
    shown = np.flatnonzero(examples.counts(len(table.names))).tolist()
    if len(shown) < 2:
        raise RasterError(f"{path} shows one class alone, {table.names[shown[0]]}; expected at least two to tell apart")
    if card.label_space == "global":
        return list(range(len(table.names)))
    if len(shown) > card.limits.classes:
        raise RasterError(f"{path} shows {len(shown)} classes; the model takes {card.limits.classes} at most")
    return shown


def _renumbered(examples: Examples, index: npt.NDArray[np.int32]) -> Examples:
    """Number the classes anew, and leave out examples of classes that the map does not show."""
    labels = index[examples.labels]
    return Examples(examples.rows, examples.columns, labels).keep(labels >= 0)
