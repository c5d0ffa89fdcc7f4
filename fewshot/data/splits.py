"""Splits into training, validation and test: by region or place, by class, as published, or at random."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fewshot.data.region import RegionSet, unturned
from fewshot.errors import DataNotFoundError, TaskError

REST = "*"
"""In a split, stands for every region that no other part of the split names."""


def split_regions(region_set: RegionSet, parts: Mapping[str, Iterable[str]]) -> dict[str, RegionSet]:
    """Split by region, so that no part sees a place of another.

    Args:
        region_set: What to split.
        parts: Region names or places for each part; the one entry "*" means every region not named elsewhere.

    Returns:
        One set a part, named `<set>/<part>`, all over the same store.

    Raises:
        DataNotFoundError: if a region is unknown.
        TaskError: if a place is in two parts, more than one part is "*", or a part is empty.
    """
    lists = {part: [names] if isinstance(names, str) else list(names) for part, names in parts.items()}
    named = {part: region_set.regions_called(names) for part, names in lists.items() if names != [REST]}
    rests = [part for part in lists if part not in named]
    if len(rests) > 1:
        raise TaskError(f"only one part of a split can be {REST!r} (the rest), but {', '.join(rests)} are")
    taken = set().union(*named.values()) if named else set()
    places = {region.place for region in region_set.regions if region.name in taken}
    for part in rests:
        named[part] = {region.name for region in region_set.regions if region.place not in places}
    owner: dict[str, str] = {}
    for part, names in named.items():
        if not names:
            raise TaskError(f"part {part!r} of the split of {region_set.name} has no region left")
        for place in {region.place for region in region_set.regions if region.name in names}:
            if owner.setdefault(place, part) != part:
                raise TaskError(f"place {place!r} of {region_set.name} is in both {owner[place]!r} and {part!r}")
    return {part: region_set.subset(named[part], name=f"{region_set.name}/{part}") for part in lists}


def split_published(region_set: RegionSet, parts: Mapping[str, Sequence[str]]) -> dict[str, RegionSet]:
    """Split by the places that a publisher names for each part; parts without any place here are left out.

    Raises:
        DataNotFoundError: if the publisher names no split, or none of its places is here.
    """
    here = {region.place for region in region_set.regions}
    present = {part: [name for name in names if name in here] for part, names in parts.items()}
    present = {part: names for part, names in present.items() if names}
    if not present:
        raise DataNotFoundError(
            f"no place of {region_set.name} ({', '.join(sorted(here)[:12])}) is in its published split; use "
            "--set data.split=random with numbers of places in data.train, data.validation and data.test"
        )
    return split_regions(region_set, present)


def split_places(region_set: RegionSet, sizes: Sequence[int], *, seed: int = 0) -> tuple[RegionSet, ...]:
    """Deal the places out to parts at random; all regions of a place stay together.

    Args:
        region_set: What to split.
        sizes: Places in each part; their sum may be less than there are.
        seed: Of the shuffle; the same seed gives the same parts on any machine.

    Raises:
        TaskError: if there are fewer places than `sizes` asks for.
    """
    places = sorted({region.place for region in region_set.regions})
    order = [places[i] for i in np.random.default_rng(seed).permutation(len(places))]
    return deal_places(region_set, [[place] for place in order], sizes)


def deal_places(region_set: RegionSet, groups: Sequence[Sequence[str]], sizes: Sequence[int]) -> tuple[RegionSet, ...]:
    """Deal whole groups of places out to parts, in order, until each part has at least as many places as asked for.

    Args:
        region_set: What to split.
        groups: Places that must stay together.
        sizes: Places in each part.

    Raises:
        TaskError: if the groups do not reach.
    """
    parts, left = [], [list(group) for group in groups]
    for number, size in enumerate(sizes):
        taken: list[str] = []
        while len(taken) < size and left:
            taken += left.pop(0)
        if len(taken) < size:
            raise TaskError(
                f"{region_set.name} has {sum(map(len, groups))} places (regions that share ground are one; it has "
                f"{len(region_set.regions)} regions), too few for a split into {' + '.join(map(str, sizes))}. Name "
                "more data, or smaller numbers with --set data.train, data.validation and data.test."
            )
        parts.append(region_set.subset(taken, name=f"{region_set.name}/places{number}"))
    return tuple(parts)


def split_characters(
    region_set: RegionSet, sizes: Sequence[int] = (1200, 423), *, seed: int = 0
) -> tuple[RegionSet, ...]:
    """Split by class at random, whatever the region (Omniglot's usual 1200/423 characters).

    Every region keeps only its classes of that part. A class and its quarter turns are one class here
    and stay together.

    Args:
        region_set: What to split.
        sizes: Classes in each part; their sum may be less than there are.
        seed: Of the shuffle; the same seed gives the same parts on any machine.

    Raises:
        TaskError: if there are fewer classes than `sizes` asks for.
    """
    bases = sorted({unturned(name) for region in region_set.regions for name in region.class_names})
    if sum(sizes) > len(bases):
        raise TaskError(
            f"{region_set.name} has {len(bases)} classes, but a split into {' + '.join(map(str, sizes))} needs"
            f" {sum(sizes)}. Name more data, or smaller sizes."
        )
    order = [bases[i] for i in np.random.default_rng(seed).permutation(len(bases))]
    parts, start = [], 0
    for number, size in enumerate(sizes):
        chosen = set(order[start : start + size])
        parts.append(_keep_classes(region_set, chosen, f"{region_set.name}/characters{number}"))
        start += size
    return tuple(parts)


def _keep_classes(region_set: RegionSet, chosen: set[str], name: str) -> RegionSet:
    """Keep the classes whose unturned name is in `chosen`, and the regions that have any."""
    regions = []
    for region in region_set.regions:
        kept = [i for i, class_name in enumerate(region.class_names) if unturned(class_name) in chosen]
        if not kept:
            continue
        renumber = np.full(len(region.class_names), -1, np.int64)
        renumber[kept] = np.arange(len(kept))
        mask = renumber[region.labels] >= 0
        regions.append(
            replace(
                region,
                class_names=tuple(region.class_names[i] for i in kept),
                images=region.images[mask],
                labels=renumber[region.labels[mask]],
                sources=region.sources[mask],
            )
        )
    classes = tuple(class_name for class_name in region_set.classes if unturned(class_name) in chosen)
    tasks = tuple(task for task in region_set.fixed_tasks if all(unturned(c) in chosen for c in task.classes))
    return replace(region_set, name=name, regions=tuple(regions), classes=classes, fixed_tasks=tasks)
