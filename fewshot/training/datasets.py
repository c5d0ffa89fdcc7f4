"""From a recipe's tables to regions, their split, and the tasks that are drawn from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fewshot.data.catalogue.manifest import read_manifest
from fewshot.data.earth.files import write_earth
from fewshot.data.region import RegionSet
from fewshot.data.sources.deepglobe import read_deepglobe
from fewshot.data.sources.omniglot import read_omniglot, read_omniglot_tfds, read_runs, with_rotations
from fewshot.data.sources.patches import read_class_folders, read_task_archives
from fewshot.data.sources.prepared import Prepared
from fewshot.data.sources.scene_list import read_scene_list
from fewshot.data.sources.sen12ms import PREPARED, Cut, read_sen12ms
from fewshot.data.sources.sen12ms_index import prepare
from fewshot.data.sources.synthetic import simulate_patches
from fewshot.data.splits import split_characters, split_places, split_published, split_regions
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.training.clusters import split_clusters
from fewshot.training.recipe import DataTable
from fewshot.training.recipe_tables import TasksTable

SPLITS = ("train", "validation", "test")
Reader = Callable[[DataTable, Sequence[Path]], RegionSet]


def read_data(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    """Read a recipe's data from the user's files.

    Raises:
        DataNotFoundError: if a path is missing, or none was given to a source that needs one.
    """
    if data.source == "synthetic":
        return simulate_patches()
    if data.source == "sen12ms" and data.simulate and not paths:
        paths = [simulated_earth(data.simulate, window=data.window or 128)]
    if data.source == "omniglot_tfds":
        return read_omniglot_tfds(paths[0] if paths else None, size=data.size or 28)
    if not paths:
        raise DataNotFoundError(
            f"This recipe reads {data.source} data from files, and none were named. Add --data PATH (several are "
            "allowed); `fewshot recipes show NAME` says where they come from."
        )
    for path in paths:
        if not path.exists():
            raise DataNotFoundError(f"There is no file or folder {path}, named with --data.")
    if len(paths) > 1 and data.source in ONE_FOLDER:
        raise DataNotFoundError(f"{data.source} reads one file or folder; {len(paths)} were named with --data.")
    return READERS[data.source](data, paths)


def simulated_earth(regions: int, *, window: int) -> Path:
    """Return a folder with a simulated Earth, prepared; made the first time, which takes about a minute.

    It is kept in `$FEWSHOT_CACHE`, or in `~/.cache/fewshot`.
    """
    cache = Path(os.environ.get("FEWSHOT_CACHE") or Path.home() / ".cache" / "fewshot")
    tree = cache / f"simulated-earth-{regions}x{SIMULATED_PATCHES}"
    made = tree / PREPARED.format(window=window)
    if not Prepared.is_one(made):
        with progress_bar(f"Simulating {regions} regions in {tree}", "files") as show:
            write_earth(tree, regions=regions, patches_per_region=SIMULATED_PATCHES, progress=show)
        with progress_bar(f"Preparing windows of {window} pixels", "regions") as show:
            prepare(tree, made, window=window, records=True, progress=show)
    return tree


SIMULATED_PATCHES = 9
"""Patches of each region of the simulated Earth that a recipe makes for itself."""


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a long work is done; yields a function of done and total."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _omniglot(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    if len(paths) == 1 and "all_runs" in paths[0].name:
        return read_runs(paths[0], size=data.size or 28)
    return read_omniglot(paths, size=data.size or 28, on_damaged=data.on_damaged)


def _task_archives(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    return read_task_archives(paths, size=data.size or None, on_damaged=data.on_damaged)


def _class_folders(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    return read_class_folders(paths[0], size=data.size or None, scale=data.scale or None, on_damaged=data.on_damaged)


def _sen12ms(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    cut = Cut(data.window or 128, data.size, data.bands, data.purity)
    return read_sen12ms(paths[0], cut, on_damaged=data.on_damaged)


def _deepglobe(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    return read_deepglobe(paths[0], size=data.size, on_damaged=data.on_damaged)


def _scenes(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    return read_scene_list(paths[0])


READERS: Mapping[str, Reader] = {
    "scenes": _scenes,
    "omniglot": _omniglot,
    "task_archives": _task_archives,
    "class_folders": _class_folders,
    "sen12ms": _sen12ms,
    "deepglobe": _deepglobe,
}
ONE_FOLDER = ("class_folders", "sen12ms", "deepglobe", "scenes")


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
        split = split_published(region_set, read_manifest(data.source).splits)
    else:
        if any(counted):
            raise RecipeError("data.split = 'regions' needs names of regions in data.train, .validation and .test.")
        split = split_regions(region_set, {name: part for name, part in parts.items() if part})
    return {name: with_rotations(part) if data.rotations else part for name, part in split.items()}


BY_NUMBER: Mapping[str, Callable[..., tuple[RegionSet, ...]]] = {
    "classes": split_characters,
    "random": split_places,
    "clusters": split_clusters,
}


def describe_images(region_set: RegionSet, tasks: TasksTable) -> dict[str, list[Any]]:
    """Return what a network's weights take for granted: shape, bands by name where known, and any global classes."""
    bands = [band.name for band in getattr(region_set.store, "bands", ())]
    classes = list(region_set.classes) if tasks.labels == "global" else []
    return {"shape": list(region_set.store.shape), "bands": bands, "classes": classes}


def seen_names(parts: Mapping[str, RegionSet]) -> dict[str, dict[str, list[str]]]:
    """Return the places and classes of each part; those that a run has seen no test may show again."""
    found = {}
    for name, part in parts.items():
        classes = {own for region in part.regions for own in region.class_names}
        found[name] = {"places": sorted({region.place for region in part.regions}), "classes": sorted(classes)}
    return found
