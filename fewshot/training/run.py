"""A finished run: its recipe, the regions it was trained and may be tested on, and its learner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from fewshot.data.region import RegionSet
from fewshot.errors import ArtifactError, DataNotFoundError, RecipeError
from fewshot.meta import MetaLearner
from fewshot.training import datasets
from fewshot.training.build import build_learner, build_parts, reads_any_size
from fewshot.training.folder import RunFolder
from fewshot.training.frozen import kept_network
from fewshot.training.kinds import kind_of
from fewshot.training.kinds.kind import Kind
from fewshot.training.recipe import Recipe, change_after_training

SEEN = ("train", "validation")


@dataclass(frozen=True)
class Run:
    """A run that is read, not written.

    Attributes:
        folder: What training wrote.
        recipe: That it was started with, and what was changed of it since.
    """

    folder: RunFolder
    recipe: Recipe

    @classmethod
    def open(cls, path: Path, settings: Sequence[str] = ()) -> Self:
        """Open a run folder; `settings` change what the weights do not depend on, as in `change_after_training`.

        Raises:
            ArtifactError: if this is not a run folder.
            RecipeError: if a setting cannot be changed any more.
        """
        folder = RunFolder(path)
        recipe = change_after_training(folder.recipe(), settings)
        return cls(folder, replace(recipe, network=kept_network(recipe.network, path)))

    @property
    def kind(self) -> Kind:
        """The kind of its tasks."""
        return kind_of(self.recipe)

    def parts(self, paths: Sequence[Path] = ()) -> Mapping[str, RegionSet]:
        """Return the data that the run was trained on, divided as it was then; `paths` say where it is if it has moved.

        Where it has not, it is read once.

        Raises:
            DataNotFoundError: if it is not there.
            ArtifactError: if it is no longer divided as it was.
        """
        if self.kind.made_up:
            return self.kind.made_up
        return self._read(paths) if paths else self._own_parts

    @cached_property
    def _own_parts(self) -> Mapping[str, RegionSet]:
        return self._read([Path(path) for path in self.folder.read_json("run.json").get("data", ())])

    def _read(self, paths: Sequence[Path]) -> Mapping[str, RegionSet]:
        parts = datasets.read_parts(self.recipe.data, paths)
        self.folder.require_same_parts(datasets.seen_names(parts))
        return parts

    def regions(self, split: str, paths: Sequence[Path] = ()) -> RegionSet:
        """Return the regions to test on: a part of the run's own data, or other data without what the run has seen.

        Raises:
            DataNotFoundError: if the data is missing, or nothing unseen is left of it.
            RecipeError: if the recipe has no such part, or other data is of another kind.
            ArtifactError: if the run's own data is no longer divided as it was.
        """
        if not paths or self.kind.made_up:
            parts = self.parts()
            if split not in parts:
                raise RecipeError(
                    f"Recipe {self.recipe.name} sets no {split} regions of its own data apart; it has: "
                    f"{', '.join(parts)}. Name data of other regions with --data, or choose a part with --split."
                )
            return parts[split]
        found = self.recipe.data.source.open(paths)
        record = self.folder.read_json("run.json")
        if images := record.get("images"):
            problem = replace(self.kind.problem(found), input_shape=tuple(images["shape"]))
            frozen, body = build_parts(self.recipe.network, problem)
            any_size = reads_any_size(frozen.model if frozen else body)
            theirs = datasets.describe_images(found, self.recipe.tasks)
            require_same_images(images, theirs, found.name, any_size=any_size)
        if split != "test":
            return datasets.split_data(found, self.recipe.data)[split]
        return self._unseen(found, [record["parts"].get(part, {}) for part in SEEN])

    def _unseen(self, found: RegionSet, seen: Sequence[Mapping[str, Sequence[str]]]) -> RegionSet:
        """Leave out the regions (or, where classes were split, the classes) that the run has seen."""
        if self.recipe.data.split == "classes":
            classes = {name for part in seen for name in part.get("classes", ())}
            kept = found.select(lambda region: not set(region.class_names) <= classes)
        else:
            places = {name for part in seen for name in part.get("places", ())}
            kept = found.select(lambda region: region.place not in places)
        if not kept.regions:
            raise DataNotFoundError(
                f"The run was trained or validated on every region of this data ({', '.join(found.region_names)}); "
                "testing on them would mean nothing. Name data of other regions, or use --split validation."
            )
        return kept

    def learner(self, region_set: RegionSet | None = None) -> MetaLearner:
        """Return the learner with the best weights, for pictures of `region_set` or of those it was trained on.

        Raises:
            ArtifactError: if there are no weights yet, or they are damaged or do not fit the data.
        """
        weights = self.folder.best_weights
        if not weights.exists():
            raise ArtifactError(
                f"{self.folder.path} has no best.weights.h5 yet: training did not reach its first validation."
            )
        problem = self.kind.problem(self.parts()["train"] if region_set is None else region_set)
        learner = build_learner(self.recipe.network, self.recipe.learner, problem, self.recipe.views)
        try:
            learner.load_weights(weights, skip_mismatch=False)
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactError(
                f"{weights} is damaged, or does not fit the run's recipe and data: {error} Train again, or name data "
                "like the run's with --data."
            ) from error
        return learner

    def evaluation(self, path: Path | None = None) -> Mapping[str, Any]:
        """Return what `evaluation.json`, or a file of `fewshot evaluate --json`, says, in the keys of `Report`.

        Nothing if it cannot be read.
        """
        try:
            found = json.loads((path or self.folder.evaluation).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def require_same_images(
    ours: Mapping[str, Sequence[Any]], theirs: Mapping[str, Sequence[Any]], name: str, *, any_size: bool
) -> None:
    """Refuse data whose pictures a run cannot read.

    Args:
        ours: Of the run, as `run.json` holds it.
        theirs: Of the data.
        name: Of the data.
        any_size: Whether the network reads pictures of any size, and only the number of bands must be the same.

    Raises:
        RecipeError: if shape, bands or global classes differ.
    """
    words = {"shape": "pictures of rows x columns x bands", "bands": "the bands", "classes": "the classes"}
    for kind, what in words.items():
        known, found = list(ours.get(kind, ())), list(theirs[kind])
        alike = known[-1:] == found[-1:] if kind == "shape" and any_size else known == found
        if known and found and not alike:
            raise RecipeError(
                f"{name} has {what} {_listed(found)}; the run was trained with {_listed(known)}, in this order. Name "
                "data of the same kind (for scenes: the same [[bands]], classes and [patches] size in their list)."
            )


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
