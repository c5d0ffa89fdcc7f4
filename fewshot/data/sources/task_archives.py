"""Archives of fixed land-cover tasks, made of SEN12MS.

The fixed tasks are those of Russwurm, Wang and Tuia (IGARSS 2022). A region is a season and SEN12MS region,
`spring_122`; its place is the SEN12MS region, so that no split has one season of a place on each side.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from fewshot.data.images import Archive, DamageLog, Decoded, OnDamaged, decode_image, find_archives
from fewshot.data.region import ArrayStore, Region, RegionSet, Task
from fewshot.data.source import Source
from fewshot.errors import DataNotFoundError
from fewshot.geo.landcover import IGBP

_TASK_IMAGE = re.compile(r"(?:.*/)?([^/]+)/(task_[^/]+)/(support|query)/(\d+)_([^/]+)_(\d+)_([^_/]+)\.png$")
_GAME_IMAGE = re.compile(r"(?:.*/)?([^/]+)/(train|test)/(\d+)-(\d+)\.png$")
_GAME_LIST = re.compile(r"(?:.*/)?([^/]+)/(train|test)/meta\.txt$")
_SEASON = re.compile(r"(?:spring|summer|fall|winter)_(.+)$")


@dataclass(frozen=True)
class TaskArchives(Source):
    """Archives of fixed tasks.

    Attributes:
        size: Pixels of an image's side; 0 leaves images as they are.
    """

    name: ClassVar[str] = "task_archives"

    size: int = 0

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the tasks and the pools of images that they were drawn from."""
        return read_task_archives(paths, size=self.size or None, on_damaged=self.on_damaged)


@dataclass(frozen=True, order=True)
class _Entry:
    """One image of a fixed task; sorts by region, task, side, class and shot."""

    region: str
    task: str
    side: str
    number: int
    shot: int
    class_name: str
    patch: str
    member: str

    @property
    def name(self) -> str:
        return f"{self.region}/{self.task}/{self.side}/{self.number}_{self.class_name}_{self.shot}_{self.patch}.png"

    @property
    def source(self) -> int:
        """The number of the SEN12MS patch, whichever its quadrant."""
        found = re.match(r"p?(\d+)", self.patch)
        return int(found[1]) if found else -1


def read_task_archives(paths: Sequence[Path], *, size: int | None = None, on_damaged: OnDamaged = "raise") -> RegionSet:
    """Read archives of fixed land-cover tasks.

    Two layouts are read: `<season>_<region>.zip` with `task_<id>/{support,query}/<k>_<Class>_<j>_<patch>.png`,
    and the one the authors' survey game publishes, `<task>/{train,test}/<k>-<j>.png` with a `meta.txt` of lines
    `<k> <j> <season>/<region>/<Class>/<patch>` beside the images.

    Each task's images were contrast-stretched together; tasks drawn anew from a region's pooled images
    therefore mix stretches, and the same ground may be in the pool more than once: draw them with
    `disjoint_sources`, as the source is the SEN12MS patch whatever its quadrant.

    Args:
        paths: Zips, folders of zips, or extracted folders.
        size: Side to area-average the images to, in pixels; as they are if None.
        on_damaged: What to do with damaged images and incomplete tasks. A task that lost any image is left
            out, and listed in `skipped`; its other images stay in the region's pool.

    Returns:
        One region a season and SEN12MS region; images [H, W, 3] (red, green, blue); the tasks as `fixed_tasks`.

    Raises:
        DataNotFoundError: if a path does not exist or holds no task.
        DamagedDataError: if an image is damaged, of another size, or missing, unless skipped.
    """
    log, decoded = DamageLog(on_damaged), Decoded()
    entries: dict[str, _Entry] = {}
    for path in find_archives(paths):
        with Archive(path) as archive:
            found = [entry for entry in _entries(archive, log) if entry.name not in entries]
            entries.update((entry.name, entry) for entry in found)
            named = [(entry.member, entry.name) for entry in found if entry.member]
            decoded.add_all(archive, named, lambda data, _: decode_image(data, size, "RGB"), log)
    if not entries:
        raise DataNotFoundError(
            f"no task in {', '.join(map(str, paths))}; expected <season>_<region>.zip with"
            " task_<id>/support/<k>_<Class>_<j>_<patch>.png and task_<id>/query/..."
        )
    names, pixels = decoded.stack(log)
    index = {name: i for i, name in enumerate(names)}
    tasks = _fixed_tasks(sorted(entries.values()), index, log)
    regions = _regions_of([entries[name] for name in names])
    extra = sorted({name for region in regions for name in region.class_names} - set(IGBP.names))
    store = ArrayStore(names, pixels)
    classes = (*IGBP.names, *extra)
    return RegionSet("sen12ms-tasks", store, regions, classes, tasks, tuple(log.skipped), manifest="sen12ms-tasks")


def _entries(archive: Archive, log: DamageLog) -> list[_Entry]:
    """List the task images of an archive, in either layout."""
    members = archive.members()
    entries = []
    for member in members:
        if found := _TASK_IMAGE.match(f"{archive.stem}/{member}"):
            region, task, side, number, class_name, shot, patch = found.groups()
            entries.append(_Entry(region, task, side, int(number), int(shot), class_name, patch, member))
    return entries or _game_entries(archive, members, log)


def _game_entries(archive: Archive, members: Sequence[str], log: DamageLog) -> list[_Entry]:
    """List the task images of the survey game's layout; a listed image without a file has member ""."""
    images = {found.groups(): member for member in members if (found := _GAME_IMAGE.match(f"{archive.stem}/{member}"))}
    entries = []
    for member in members:
        listed = _GAME_LIST.match(f"{archive.stem}/{member}")
        if not listed:
            continue
        task, folder = listed.groups()
        for line in filter(None, map(str.strip, archive.read_text(member).splitlines())):
            try:
                number, shot, place = line.split(maxsplit=2)
                season, region, class_name, patch = place.split("/")
                key = (int(number), int(shot))
            except ValueError:
                log.report(
                    f"{archive.path}: {member} has the line {line!r},"
                    " expected '<k> <j> <season>/<region>/<Class>/<patch>'."
                )
                continue
            image = images.get((task, folder, number, shot), "")
            if not image:
                log.report(f"{archive.path}: {member} lists image {number}-{shot}.png, which is not there.")
            side = "support" if folder == "train" else "query"
            task_name = f"task_{int(task):04d}" if task.isdigit() else f"task_{task}"
            entries.append(_Entry(f"{season}_{region}", task_name, side, *key, class_name, patch, image))
    return entries


def _fixed_tasks(entries: Sequence[_Entry], index: dict[str, int], log: DamageLog) -> tuple[Task, ...]:
    """Build the tasks of which no image is missing."""
    grouped: dict[tuple[str, str], list[_Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.region, entry.task].append(entry)
    tasks = []
    for (region, name), members in grouped.items():
        lost = [entry.name for entry in members if entry.name not in index]
        if lost:
            log.report(f"{region}/{name} is left out, having lost {', '.join(PurePosixPath(n).name for n in lost)}.")
            continue
        wrong = _incomplete(members)
        if wrong:
            log.report(f"{region}/{name} {wrong}.")
            continue
        classes = dict(sorted((entry.number, entry.class_name) for entry in members))
        support, query = ([entry for entry in members if entry.side == side] for side in ("support", "query"))
        tasks.append(
            Task(
                region,
                tuple(classes.values()),
                np.array([index[entry.name] for entry in support], np.int64),
                np.array([entry.number for entry in support], np.int32),
                np.array([index[entry.name] for entry in query], np.int64),
                np.array([entry.number for entry in query], np.int32),
                name=f"{region}/{name}",
            )
        )
    return tuple(tasks)


def _incomplete(members: Sequence[_Entry]) -> str:
    """Say which class of a task has no image on one side, or "" if all have."""
    ways = max(entry.number for entry in members) + 1
    for number in range(ways):
        names = {entry.class_name for entry in members if entry.number == number}
        if len(names) > 1:
            return f"calls its class {number} both {' and '.join(sorted(names))}"
        for side in ("support", "query"):
            if not any(entry.number == number and entry.side == side for entry in members):
                which = " ".join([str(number), *names])
                return f"has no {side} image of class {which}, expected at least one"
    return ""


def _regions_of(entries: Sequence[_Entry]) -> tuple[Region, ...]:
    """Pool the images of each region; `entries` are in the order of the store."""
    regions = []
    owners = np.array([entry.region for entry in entries])
    order = {name: i for i, name in enumerate(IGBP.names)}
    for name in sorted(set(owners.tolist())):
        images = np.flatnonzero(owners == name)
        members = [entries[int(i)] for i in images]
        present = {entry.class_name for entry in members}
        classes = tuple(sorted(present, key=lambda c: (order.get(c, len(order)), c)))
        labels = np.array([classes.index(entry.class_name) for entry in members], np.int64)
        sources = np.array([entry.source for entry in members], np.int64)
        season = _SEASON.match(name)
        regions.append(Region(name, classes, images, labels, sources, season[1] if season else name))
    return tuple(regions)
