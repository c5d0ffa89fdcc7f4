"""From the labels of a region to what a model is adapted to, and to the adapted model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, RasterError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.card import Card
from fewshot.exported.predictor import Predictor, Steps
from fewshot.geo.landcover import ClassTable, read_class_table
from fewshot.geo.points import Examples
from fewshot.geo.sampling import find_examples, split_apart
from fewshot.geo.scene import Scene
from fewshot.mapping.support.classes import find_classes, number_classes, shown_classes
from fewshot.mapping.support.examples import LabelPlan, SupportSet, UsedLabels, read_support

_JUDGED_ON = (
    "Those of --holdout and --validation are compared with the map, which is made of all dates; where methods are "
    "compared, and where it is measured how far the map holds, labels are tested on their own date."
)


def require_inductive(card: Card) -> None:
    """Refuse a model whose answers depend on the other queries of a call.

    Raises:
        ArtifactError: if they do.
    """
    if card.transductive:
        raise ArtifactError(
            f"{card.title!r} is transductive: what it says of a window depends on the windows that happen to be asked "
            "with it, so its map would show seams. Train and export a model with support normalisation."
        )


def adapt_to(predictor: Predictor, support: SupportSet, table: ClassTable, *, steps: Steps) -> AdaptedModel:
    """Adapt a model to a support set.

    Args:
        predictor: The model.
        support: With labels that are places in the table.
        table: The classes of the map.
        steps: Inner steps; the model's own number if None; "auto" lets the support decide.

    Raises:
        ManifestError: if a map cannot hold so many classes.
        FewshotError: what the model raises.
    """
    adapted = predictor.adapt(support.x, support.y, steps=steps)
    return AdaptedModel(adapted, table, number_classes(table), predictor.card().adapted.fingerprint)


def usual_spacing(card: Card, plan: LabelPlan) -> int:
    """Return how many pixels the examples of a line or polygon are apart for a model."""
    return max(1, card.size.rows // 2) if card.output == "patch" else 2 * plan.radius + 1


def read_labels(
    scene: Scene, card: Card, plan: LabelPlan, classes: Path | None
) -> tuple[SupportSet, ClassTable, UsedLabels]:
    """Read the labels, keep some back where that is asked for, and read the pictures around the others.

    Args:
        scene: That the labels lie in.
        card: Of the model.
        plan: Which labels, and what is done with them.
        classes: Class table (CSV or TOML) of the user.

    Returns:
        What the model is shown; the classes of the map, all with colours; and what became of the labels.

    Raises:
        FewshotError: if no labels are left, or they show a single class.
    """
    table = find_classes(card, plan.path, field=plan.field, table=read_class_table(classes) if classes else None)
    size = card.size.rows
    found = find_examples(scene, plan, table, spacing=plan.spacing or usual_spacing(card, plan), seed=plan.seed)
    undated, scene = scene, scene.of_dates(found.places)
    middle = len(found.examples) // 2
    scene.check_units((int(found.examples.rows[middle]), int(found.examples.columns[middle])))
    split = split_apart(found.examples, plan.holdout, plan.apart or size, seed=plan.seed) if plan.holdout else None
    left = split.support if split else found.examples
    support, examples = read_support(scene, card, left, plan)
    notes = list(found.summary.lines())
    if found.places is not None and scene is not undated:
        dated = f"{len(found.places.days)} labels have a date and are read from the nearest picture."
        notes.append(f"{plan.path}: {dated} {_JUDGED_ON}")
    if len(examples) < len(left):
        notes.append(
            f"{plan.path}: {len(examples)} of {len(left)} labelled pixels are shown to the model, which takes "
            f"{card.limits.examples} pictures."
        )
    kept = _shown(card, table, examples, plan.path)
    lost = [name for index, name in enumerate(table.names) if index not in kept]
    if lost:
        notes.append(f"{plan.path}: no example of {', '.join(lost)} is left, so the map does not show it.")
    index = np.full(len(table.names) + 1, -1, np.int32)  # the last is that of label -1
    index[kept] = np.arange(len(kept))
    if split:
        split = replace(split, validation=_renumbered(split.validation, index))
    support = replace(support, y=index[support.y])
    used = UsedLabels(plan, _renumbered(examples, index), split, found.summary, tuple(notes), found.places)
    return support, shown_classes(table, kept), used


def _shown(card: Card, table: ClassTable, examples: Examples, path: Path) -> list[int]:
    """Return the classes of the map, by index: all that the model knows, or those that it is shown."""
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
