"""Settings that contradict each other or the data: refused before anything is trained, with the remedy."""

from __future__ import annotations

from collections.abc import Mapping

from fewshot.data.catalogue.manifest import manifest_names
from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.training.recipe import DataTable, Recipe

USED: Mapping[str, tuple[str, ...]] = {
    "size": ("omniglot", "omniglot_tfds", "task_archives", "class_folders", "sen12ms", "deepglobe"),
    "window": ("sen12ms", "deepglobe"),
    "bands": ("sen12ms",),
    "purity": ("sen12ms",),
    "scale": ("class_folders",),
}
"""The sources that read a setting of the data; the others would pass over it without a word."""

INSTEAD = {
    "size": "size under [patches] in the list of scenes",
    "window": "size under [patches] in the list of scenes",
    "bands": "[[bands]] in the list of scenes",
    "purity": "purity under [patches] in the list of scenes",
    "scale": "scale, or [[bands]], in the list of scenes",
}


def require_consistent(recipe: Recipe) -> None:
    """Refuse settings that cannot hold together, whatever the data.

    Raises:
        RecipeError: if some do not.
    """
    data = recipe.data
    for key, sources in USED.items():
        value = getattr(data, key)
        if value != getattr(DataTable(), key) and data.source not in sources:
            instead = f" Set {INSTEAD[key]} instead." if data.source == "scenes" else ""
            raise RecipeError(
                f"data.{key} = {value!r} means nothing to data.source = {data.source!r}; it is read by "
                f"{', '.join(sources)}.{instead}"
            )
    if data.split == "published" and data.source not in manifest_names():
        raise RecipeError(
            f"data.split = 'published' needs a data set with a published split; {data.source} has none. Use "
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
