"""From a recipe's tables to regions, their split, and the tasks that are drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fewshot.data.catalogue.manifest import read_manifest
from fewshot.data.region import RegionSet
from fewshot.data.splits import split_characters, split_places, split_published, split_regions
from fewshot.errors import RecipeError
from fewshot.training.clusters import split_clusters
from fewshot.training.recipe import DataTable
from fewshot.training.recipe_tables import TasksTable

SPLITS = ("train", "validation", "test")


def read_data(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    """Read a recipe's data from the user's files.

    Raises:
        DataNotFoundError: if a path is missing, or none was given to a source that needs one.
    """
    return data.source.open(paths)


def read_parts(data: DataTable, paths: Sequence[Path]) -> dict[str, RegionSet]:
    """Read a recipe's data and split it, as `read_data` and `split_data` say."""
    return split_data(read_data(data, paths), data)


def split_data(region_set: RegionSet, data: DataTable) -> dict[str, RegionSet]:
    """Split into train, validation and test as the recipe says; parts it leaves empty are left out.

    Raises:
        RecipeError: if the parts do not fit the kind of split.
    """
    parts = {name: getattr(data, name) for name in SPLITS}
    counted = [isinstance(part, int) for part in parts.values() if part]
    if data.split in BY_NUMBER:
        if not all(counted):
            raise RecipeError(f"data.split = {data.split!r} needs numbers in data.train, .validation and .test.")
        sizes = {name: part for name, part in parts.items() if part}
        made = BY_NUMBER[data.split](region_set, tuple(sizes.values()), seed=data.split_seed)
        split = dict(zip(sizes, made, strict=True))
    elif data.split == "published":
        split = split_published(region_set, read_manifest(data.source.name).splits)
    else:
        if any(counted):
            raise RecipeError("data.split = 'regions' needs names of regions in data.train, .validation and .test.")
        split = split_regions(region_set, {name: part for name, part in parts.items() if part})
    return {name: data.source.after_split(part) for name, part in split.items()}


BY_NUMBER: Mapping[str, Callable[..., tuple[RegionSet, ...]]] = {
    "classes": split_characters,
    "random": split_places,
    "clusters": split_clusters,
}


def describe_images(region_set: RegionSet, tasks: TasksTable) -> dict[str, list[Any]]:
    """Return what a network's weights take for granted: shape, bands by name where known, and any global classes."""
    bands = [band.name for band in region_set.store.bands]
    classes = list(region_set.classes) if tasks.labels == "global" else []
    return {"shape": list(region_set.store.shape), "bands": bands, "classes": classes}


def seen_names(parts: Mapping[str, RegionSet]) -> dict[str, dict[str, list[str]]]:
    """Return the places and classes of each part; those that a run has seen no test may show again."""
    found = {}
    for name, part in parts.items():
        classes = {own for region in part.regions for own in region.class_names}
        found[name] = {"places": sorted({region.place for region in part.regions}), "classes": sorted(classes)}
    return found
