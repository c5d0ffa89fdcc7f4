"""Settings that contradict each other or the data: refused before anything is trained, with the remedy."""

from __future__ import annotations

from collections.abc import Mapping

from fewshot.data.catalogue.manifest import manifest_names
from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.training.recipe import Recipe


def require_consistent(recipe: Recipe) -> None:
    """Refuse settings that cannot hold together, whatever the data.

    Raises:
        RecipeError: if some do not.
    """
    data, tasks = recipe.data, recipe.tasks
    if data.split == "published" and data.source.name not in manifest_names():
        raise RecipeError(
            f"data.split = 'published' needs a data set with a published split; {data.source.name} has none. Use "
            "--set data.split=random with numbers in data.train, data.validation and data.test."
        )
    if tasks.target == "pixels":
        if data.split == "classes":
            raise RecipeError(
                "data.split = 'classes' keeps classes apart, which pixels of one picture cannot be; use "
                "--set data.split=random or regions."
            )
        if recipe.learner.head == "fixed" and tasks.labels == "task":
            raise RecipeError(
                "learner.head = 'fixed' has one output a class, but with tasks.labels = 'task' regions have as many "
                "classes as they have. Use --set learner.head=prototype or shared, or tasks.labels=global."
            )


def require_fitting(recipe: Recipe, parts: Mapping[str, RegionSet]) -> None:
    """Refuse settings that do not fit the pictures.

    Raises:
        RecipeError: if some do not.
    """
    for part in parts.values():
        rows, columns, _ = part.store.shape
        if rows != columns and recipe.augment.turns != "none":
            raise RecipeError(
                f"the pictures of {part.name} have {rows}x{columns} pixels, and quarter turns need squares. Use "
                "--set augment.turns=none, or cut the pictures to squares."
            )
