"""Settings that contradict each other or the data: refused before anything is trained, with the remedy."""

from __future__ import annotations

from collections.abc import Mapping

from fewshot.data.catalogue.manifest import manifest_names
from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.training.build import require_network
from fewshot.training.recipe import Recipe


def require_consistent(recipe: Recipe) -> None:
    """Refuse settings that cannot hold together, whatever the data.

    Raises:
        RecipeError: if some do not.
    """
    data = recipe.data
    require_network(recipe.network.kind)
    if data.split == "published" and data.source.name not in manifest_names():
        raise RecipeError(
            f"data.split = 'published' needs a data set with a published split; {data.source.name} has none. Use "
            "--set data.split=random with numbers in data.train, data.validation and data.test."
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
