"""A recipe's data: read, split into training, validation and test, and what a run writes down of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.cluster import KMeans

from fewshot.data.catalogue.manifest import read_manifest
from fewshot.data.region import RegionSet
from fewshot.data.splits import deal_places, split_characters, split_places, split_published, split_regions
from fewshot.errors import RecipeError
from fewshot.models import conv4
from fewshot.training.recipe import DataTable
from fewshot.training.recipe_tables import TasksTable

SPLITS = ("train", "validation", "test")
IMAGES = 16
"""Images of each region that its features are the mean of."""
GROUP = 8
"""Places in a group, on average."""
FILTERS = 64


def read_parts(data: DataTable, paths: Sequence[Path]) -> dict[str, RegionSet]:
    """Read a recipe's data and split it, as `Source.open` and `split_data` say."""
    return split_data(data.source.open(paths), data)


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


def split_clusters(region_set: RegionSet, sizes: Sequence[int], *, seed: int = 0) -> tuple[RegionSet, ...]:
    """Group places by k-means on the features of their images, and deal whole groups out to the parts.

    The features are those of a Conv-4 of 64 filters with random weights of seed 0, averaged over pixels and images:
    colour and texture, from a network that is named here and made anew anywhere, without a download.

    Args:
        region_set: What to split.
        sizes: Least number of places in each part; a part ends with a whole group.
        seed: Of k-means and of the order of the groups.

    Raises:
        TaskError: if there are too few places.
    """
    places = sorted({region.place for region in region_set.regions})
    features = place_features(region_set, places)
    count = max(len(sizes), min(len(places), round(len(places) / GROUP)))
    count = min(count, len(places))
    found = KMeans(count, n_init=10, random_state=seed).fit_predict(features)
    groups = [[place for place, cluster in zip(places, found, strict=True) if cluster == k] for k in range(count)]
    order = np.random.default_rng(seed).permutation(count)
    return deal_places(region_set, [groups[k] for k in order], sizes)


def place_features(region_set: RegionSet, places: Sequence[str]) -> np.ndarray:
    """Return [places, FILTERS] features, each scaled to a standard deviation of one over the places."""
    keras.utils.set_random_seed(0)
    height, width, _ = region_set.store.shape
    blocks = int(min(4, np.log2(min(height, width))))
    network = conv4(region_set.store.shape, filters=FILTERS, blocks=blocks, normalization="none", readout="average")
    features = []
    for place in places:
        images = np.concatenate([region.images for region in region_set.regions if region.place == place])
        spread = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(np.int64)
        features.append(np.asarray(network(region_set.store.read(images[spread]))).mean(axis=0))
    stacked = np.stack(features)
    return (stacked - stacked.mean(axis=0)) / (stacked.std(axis=0) + 1e-9)


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
