"""The plain methods beside a run: trained where they need it, tuned on validation tasks, ready to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from fewshot.data.region import RegionSet
from fewshot.errors import DataNotFoundError
from fewshot.models import FixedHead, Head
from fewshot.training.build import build_body
from fewshot.training.evaluation.measure import Method, of_learner
from fewshot.training.evaluation.pretrain import choose_rate, pretrained_body, prototypical_network
from fewshot.training.kinds.kind import Kind
from fewshot.training.recipe import Recipe


def baseline_methods(
    recipe: Recipe, kind: Kind, parts: Mapping[str, RegionSet], tested: RegionSet, cache: Path, *, minutes: float
) -> dict[str, Method]:
    """Return the baselines of a run.

    Random initialisation and the prototypical network learn the classes of each task from its support alone.
    Pre-training keeps the output layer it has learned where classes mean the same everywhere (labels "global").

    Args:
        recipe: The run's.
        kind: Of its tasks.
        parts: The run's own data, divided as it was trained on.
        tested: Regions that will be tested.
        cache: Folder in which trained baselines are kept.
        minutes: Most time to train each.

    Raises:
        DataNotFoundError: if they would be trained on what is tested.
    """
    require_unseen(parts["train"], tested, split=recipe.data.split)
    tuning, labels = kind.tuning_tasks(parts["validation"], recipe.training), recipe.tasks.labels
    cache.mkdir(exist_ok=True)
    keras.utils.set_random_seed(recipe.training.seed)

    # Bodies first, then heads, in this order: random weights, drawn as they are made, are the same from time to time.
    fresh = build_body(recipe.network, kind.problem(tested))
    trained = pretrained_body(recipe, kind, parts["train"], cache / "pretrained.weights.h5", minutes=minutes)
    classified = {}
    if not kind.targets:
        weights = cache / "protonet.weights.h5"
        prototypical = prototypical_network(recipe, kind, parts["train"], weights, minutes=minutes)
        classified["prototypical network"] = of_learner(prototypical, "task")
        classified["nearest neighbour on pixels"] = Method(kind.nearest, "task", 0)
    untrained = choose_rate(fresh, recipe.views, kind, tuning)
    known = replace(tuning, labels=labels)
    head = (lambda: known_head(trained.head, restrict=recipe.learner.restrict)) if labels == "global" else None
    tuned = choose_rate(trained.body, recipe.views, kind, known, head)
    return {
        "random initialisation": of_learner(untrained, "task"),
        "pre-training + fine-tuning": of_learner(tuned, labels),
        **classified,
    }


def require_unseen(train: RegionSet, tested: RegionSet, *, split: str) -> None:
    """Refuse to train baselines on a place (or, where classes were split, a class) that is under test.

    Args:
        train: Regions that they would be trained on.
        tested: Regions under test.
        split: How the recipe splits its data.

    Raises:
        DataNotFoundError: if a region is among both.
    """
    if split == "classes":
        kind, seen = "classes", {name for region in train.regions for name in region.class_names}
        both = seen & {name for region in tested.regions for name in region.class_names}
    else:
        kind, both = "places", {region.place for region in train.regions} & {region.place for region in tested.regions}
    if both:
        raise DataNotFoundError(
            f"The baselines are trained on the run's own training data, and {len(both)} of its {kind} "
            f"({', '.join(sorted(both)[:5])}) are tested: their figures would mean nothing. Leave --baselines out, or "
            "name data of other regions."
        )


def known_head(trained: tuple[np.ndarray, np.ndarray], *, restrict: bool) -> Head:
    """Return a fixed head that starts from a trained output layer."""
    kernel, bias = trained
    head = FixedHead(len(bias), restrict=restrict, name="head")
    head.build_for(len(kernel))
    head.kernel.assign(kernel)
    head.bias.assign(bias)
    return head
