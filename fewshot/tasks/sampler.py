"""Draws tasks from regions: NumPy only, every draw from an explicit generator."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fewshot.data.region import IntArray, PixelLabels, Region, RegionSet, Task
from fewshot.errors import TaskError
from fewshot.tasks.task import PixelTaskSpec, TaskSpec

ANY_REGION = "*"
"""The region of a task whose classes come from any regions."""

_ATTEMPTS = 40


@dataclass(frozen=True, eq=False)
class _Pool:
    """The images of one class in one region, and the source of each."""

    class_name: str
    images: IntArray
    sources: IntArray

    @cached_property
    def several_sources(self) -> bool:
        """Whether the images come from more than one source."""
        return len(np.unique(self.sources)) > 1


class TaskSampler:
    """Draws tasks of one specification from one set of regions.

    What each region can give is worked out once; a draw is then a few array operations.
    """

    def __init__(self, region_set: RegionSet, spec: TaskSpec) -> None:
        """Prepare to draw.

        Raises:
            TaskError: if no region (or, for tasks across regions, not all of them together) is large enough.
        """
        self.spec = spec
        # The most demanding slots choose first: whoever can serve them can serve the others, so no draw gets stuck.
        self._slots = np.argsort(-np.array(spec.shots_per_class), kind="stable")
        places = sorted({region.place for region in region_set.regions})
        regions = {region.name: _pools(region, places.index(region.place)) for region in region_set.regions}
        self._check_sources(region_set)
        self._regions: list[tuple[str, list[list[_Pool]]]] = []
        if spec.within_region > 0:
            grouped = {name: [[pool] for pool in pools] for name, pools in regions.items()}
            self._regions = [(name, groups) for name, groups in grouped.items() if self._shortage(groups) == 0]
            if not self._regions:
                raise TaskError(self._too_small(region_set.name, grouped))
        self._across: list[list[_Pool]] = []
        if spec.within_region < 1:
            self._across = _by_class(regions.values())
            if self._shortage(self._across):
                raise TaskError(self._too_small(region_set.name, {"all regions together": self._across}))

    def sample(self, rng: np.random.Generator) -> Task:
        """Draw one task.

        Raises:
            TaskError: if support and query cannot be kept to different sources in forty attempts.
        """
        for _ in range(_ATTEMPTS):
            region, groups = ANY_REGION, self._across
            if self.spec.within_region >= 1 or (self.spec.within_region > 0 and rng.random() < self.spec.within_region):
                region, groups = self._regions[rng.integers(len(self._regions))]
            pools = self._choose(groups, rng)
            drawn = self._draw_disjoint(pools, rng) if self.spec.disjoint_sources else self._draw(pools, rng)
            if drawn is not None:
                return self._task(region, pools, *drawn)
        raise TaskError(
            f"no {self._words()} task with support and query from different sources in {_ATTEMPTS} attempts;"
            " ask for fewer shots or queries, or set disjoint_sources = false"
        )

    def _choose(self, groups: list[list[_Pool]], rng: np.random.Generator) -> list[_Pool]:
        """Choose a pool for every slot: distinct classes, each with enough images."""
        order = rng.permutation(len(groups))
        chosen: dict[int, _Pool] = {}
        free = [groups[i] for i in order]
        for slot in self._slots:
            for position, group in enumerate(free):
                able = [pool for pool in group if self._able(pool, slot)]
                if able:
                    chosen[slot] = able[rng.integers(len(able))] if len(able) > 1 else able[0]
                    del free[position]
                    break
        return [chosen[slot] for slot in range(self.spec.ways)]

    def _draw(self, pools: list[_Pool], rng: np.random.Generator) -> tuple[list[IntArray], list[IntArray]]:
        """Draw distinct images of each class: the first as support, the next as queries."""
        support, query = [], []
        for pool, shots in zip(pools, self.spec.shots_per_class, strict=True):
            order = rng.permutation(len(pool.images))[: shots + self.spec.queries]
            support.append(pool.images[order[:shots]])
            query.append(pool.images[order[shots:]])
        return support, query

    def _draw_disjoint(
        self, pools: list[_Pool], rng: np.random.Generator
    ) -> tuple[list[IntArray], list[IntArray]] | None:
        """Draw as `_draw`, with no source on both sides of the task; None if this attempt fails.

        Sources go to a side when first used. The class with the fewest images to spare goes first.
        """
        needs = [shots + self.spec.queries for shots in self.spec.shots_per_class]
        scarce = np.argsort([len(pool.images) - need for pool, need in zip(pools, needs, strict=True)], kind="stable")
        side_of: dict[int, int] = {}
        drawn: dict[int, tuple[IntArray, IntArray]] = {}
        for slot in scarce:
            pool, quota = pools[slot], [self.spec.shots_per_class[slot], self.spec.queries]
            taken: tuple[list[int], list[int]] = ([], [])
            for position in rng.permutation(len(pool.images)):
                source = int(pool.sources[position])
                open_sides = [side for side in (0, 1) if len(taken[side]) < quota[side]]
                if not open_sides:
                    break
                side = side_of.get(source)
                if side is None:
                    side = open_sides[0] if len(open_sides) == 1 or rng.random() * sum(quota) < quota[0] else 1
                if side in open_sides:
                    side_of[source] = side
                    taken[side].append(int(pool.images[position]))
            if [len(taken[0]), len(taken[1])] != quota:
                return None
            drawn[slot] = (np.array(taken[0], np.int64), np.array(taken[1], np.int64))
        return [drawn[i][0] for i in range(self.spec.ways)], [drawn[i][1] for i in range(self.spec.ways)]

    def _task(self, region: str, pools: list[_Pool], support: list[IntArray], query: list[IntArray]) -> Task:
        """Put the drawn images together, class by class."""
        labels = np.arange(self.spec.ways, dtype=np.int32)
        support_y = np.repeat(labels, [len(images) for images in support])
        query_y = np.repeat(labels, [len(images) for images in query])
        classes = tuple(pool.class_name for pool in pools)
        return Task(region, classes, np.concatenate(support), support_y, np.concatenate(query), query_y)

    def _able(self, pool: _Pool, slot: int) -> bool:
        enough = len(pool.images) >= self.spec.shots_per_class[slot] + self.spec.queries
        return enough and (pool.several_sources or not self.spec.disjoint_sources)

    def _shortage(self, groups: list[list[_Pool]]) -> int:
        """Return how many of the task's classes these groups cannot give."""
        able = [sum(any(self._able(pool, slot) for pool in group) for group in groups) for slot in self._slots]
        return max(0, *(rank + 1 - count for rank, count in enumerate(able)))

    def _words(self) -> str:
        shots = self.spec.shots if isinstance(self.spec.shots, int) else "/".join(map(str, self.spec.shots))
        return f"{self.spec.ways}-way {shots}-shot {self.spec.queries}-query"

    def _too_small(self, set_name: str, candidates: dict[str, list[list[_Pool]]]) -> str:
        """Say what was asked, which region came nearest, and what it has."""
        if not any(candidates.values()):
            return f"{set_name} has no region with images to draw {self._words()} tasks from"
        nearest = min(candidates, key=lambda name: self._shortage(candidates[name]))
        groups = sorted(candidates[nearest], key=lambda group: -max(len(pool.images) for pool in group))
        has = ", ".join(f"{group[0].class_name} {max(len(pool.images) for pool in group)}" for group in groups[:12])
        sources = " from different sources" if self.spec.disjoint_sources else ""
        most = max(self.spec.shots_per_class) + self.spec.queries
        return (
            f"no region of {set_name} is large enough for {self._words()} tasks, which need {self.spec.ways} classes of"
            f" up to {most} images{sources}. Nearest is {nearest}, with {len(groups)} classes: {has}"
            f"{', ...' if len(groups) > 12 else ''}. Ask for fewer ways, shots or queries."
        )

    def _check_sources(self, region_set: RegionSet) -> None:
        """Refuse disjoint sources where sources are unknown."""
        unknown = [region.name for region in region_set.regions if np.any(region.sources < 0)]
        if self.spec.disjoint_sources and unknown:
            raise TaskError(
                f"{region_set.name} does not know which source its images of {unknown[0]} come from, so support and"
                " query cannot be kept to different ones; set disjoint_sources = false"
            )


class WindowSampler:
    """Draws tasks of labelled pixels: whole windows of one region, apart where their sources say so."""

    def __init__(self, region_set: RegionSet, spec: PixelTaskSpec) -> None:
        """Prepare to draw.

        Raises:
            TaskError: if no region is large enough.
        """
        self.spec = spec
        self._regions = [region for region in region_set.regions if self._shortage(region) == 0]
        if not self._regions:
            nearest = min(region_set.regions, key=self._shortage, default=None)
            has = "no region" if nearest is None else f"nearest is {nearest.name} with {len(nearest.images)} windows"
            sources = " from different sources" if spec.disjoint_sources else ""
            raise TaskError(
                f"no region of {region_set.name} has {spec.shots} support and {spec.queries} query windows{sources};"
                f" {has}. Ask for fewer shots or queries, or set disjoint_sources = false."
            )

    def sample(self, rng: np.random.Generator) -> Task:
        """Draw one task.

        Raises:
            TaskError: if support and query cannot be kept to different sources in forty attempts.
        """
        wanted = (self.spec.shots, self.spec.queries)
        for _ in range(_ATTEMPTS):
            region = self._regions[rng.integers(len(self._regions))]
            sides = self._apart(region, rng) if self.spec.disjoint_sources else self._anywhere(region, rng)
            if (len(sides[0]), len(sides[1])) == wanted:
                support, query = sides
                none = [np.full(len(side), -1, np.int32) for side in sides]
                points = self.spec.points
                if self.spec.fewest_points:
                    points = int(rng.integers(self.spec.fewest_points, points + 1))
                pixels = PixelLabels(points, int(rng.integers(2**31)))
                return Task(region.name, region.class_names, support, none[0], query, none[1], pixels=pixels)
        raise TaskError(
            f"no {self.spec.shots}-shot task with support and query from different sources in {_ATTEMPTS} attempts;"
            " ask for fewer shots or queries, or set disjoint_sources = false"
        )

    def _anywhere(self, region: Region, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        order = rng.permutation(len(region.images))[: self.spec.shots + self.spec.queries]
        return region.images[order[: self.spec.shots]], region.images[order[self.spec.shots :]]

    def _apart(self, region: Region, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Deal whole sources to the two sides until the support has enough; the others are the queries'."""
        sources, source_of = np.unique(region.sources, return_inverse=True)
        order = rng.permutation(len(sources))
        # A share of the sources as large as the support's share of the windows, but at least one on either side.
        share = self.spec.shots / (self.spec.shots + self.spec.queries)
        dealt = int(np.clip(np.round(share * len(sources)), 1, len(sources) - 1))
        on_support = np.isin(source_of, order[:dealt])
        sides = []
        for members, count in ((on_support, self.spec.shots), (~on_support, self.spec.queries)):
            images = region.images[members]
            sides.append(images[rng.permutation(len(images))[:count]])
        return sides[0], sides[1]

    def _shortage(self, region: Region) -> int:
        """Return how many windows the region lacks; one more where all come from one source."""
        missing = max(0, self.spec.shots + self.spec.queries - len(region.images))
        if self.spec.disjoint_sources and (len(np.unique(region.sources)) < 2 or np.any(region.sources < 0)):
            missing += 1
        return missing


AnySpec = TaskSpec | PixelTaskSpec


def make_sampler(region_set: RegionSet, spec: AnySpec) -> TaskSampler | WindowSampler:
    """Return the sampler of a specification.

    Raises:
        TaskError: if no region is large enough.
    """
    return WindowSampler(region_set, spec) if isinstance(spec, PixelTaskSpec) else TaskSampler(region_set, spec)


def _pools(region: Region, place: int) -> list[_Pool]:
    """Return the pools of one region; sources are numbered apart from those of other places.

    A turned alphabet has the drawers of the upright one: they are told apart by place, not by region.
    """
    sources = region.sources + (place << 32)
    members = [np.flatnonzero(region.labels == label) for label in range(len(region.class_names))]
    named = zip(region.class_names, members, strict=True)
    return [_Pool(name, region.images[own], sources[own]) for name, own in named]


def _by_class(regions: Iterable[list[_Pool]]) -> list[list[_Pool]]:
    """Group pools by class name: a class that several regions have is one class of a task."""
    groups: dict[str, list[_Pool]] = {}
    for pools in regions:
        for pool in pools:
            groups.setdefault(pool.class_name, []).append(pool)
    return list(groups.values())


def sample_task(region_set: RegionSet, spec: AnySpec, rng: np.random.Generator) -> Task:
    """Draw one task; to draw many, keep a sampler.

    Args:
        region_set: To draw from.
        spec: Of the task.
        rng: Every draw comes from it.

    Raises:
        TaskError: if no region is large enough.
    """
    return make_sampler(region_set, spec).sample(rng)


def sample_tasks(region_set: RegionSet, spec: AnySpec, count: int, *, seed: int) -> tuple[Task, ...]:
    """Draw `count` tasks; task `i` depends on `seed` and `i` only.

    Args:
        region_set: To draw from.
        spec: Of the tasks.
        count: How many.
        seed: Of every draw.

    Raises:
        TaskError: if no region is large enough.
    """
    sampler = make_sampler(region_set, spec)
    return tuple(sampler.sample(np.random.default_rng([seed, i])) for i in range(count))
