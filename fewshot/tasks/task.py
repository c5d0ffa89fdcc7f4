"""What a task is, how it is specified, written down, and turned into arrays."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fewshot.data.region import PixelLabels, RegionSet, Task
from fewshot.errors import DamagedDataError, DataNotFoundError, ShapeError, TaskError
from fewshot.tables import nearest

Labels = Literal["task", "global"]

_FORMAT, _VERSION = "fewshot-tasks", 1


@dataclass(frozen=True)
class TaskSpec:
    """The size and kind of the tasks to draw.

    Attributes:
        ways: Classes in a task.
        shots: Support images a class; one number, or one for each class.
        queries: Query images a class.
        labels: "task" numbers a task's classes 0..ways-1 at random; "global" is the index in the set's classes.
        disjoint_sources: Support and query images come from different patches or drawers.
        within_region: Probability that all classes of a task come from one region; otherwise from any.
    """

    ways: int
    shots: int | tuple[int, ...]
    queries: int
    labels: Labels = "task"
    disjoint_sources: bool = False
    within_region: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            TaskError: if one is out of range.
        """
        if not isinstance(self.shots, int):
            # A recipe's TOML or a frozen list gives a list.
            object.__setattr__(self, "shots", tuple(self.shots))
        if self.ways < 2:
            raise TaskError(f"a task needs at least 2 ways, received ways = {self.ways}")
        if isinstance(self.shots, tuple) and len(self.shots) != self.ways:
            raise TaskError(f"unequal shots name one number a class: expected {self.ways}, received {self.shots}")
        if min(self.shots_per_class) < 1:
            raise TaskError(f"every class needs at least 1 shot, received shots = {self.shots}")
        if self.queries < 1:
            raise TaskError(f"a task needs at least 1 query a class, received queries = {self.queries}")
        if self.labels not in ("task", "global"):
            raise TaskError(f'labels is "task" or "global", received {self.labels!r}')
        if not 0 <= self.within_region <= 1:
            raise TaskError(f"within_region is a probability 0-1, received {self.within_region}")

    @property
    def shots_per_class(self) -> tuple[int, ...]:
        """The shots of each of the task's classes."""
        return self.shots if isinstance(self.shots, tuple) else (self.shots,) * self.ways


@dataclass(frozen=True)
class PixelTaskSpec:
    """The size and kind of tasks whose pixels are labelled.

    Attributes:
        shots: Support windows.
        queries: Query windows.
        labels: "global" is the index in the set's classes; "task" numbers the classes of the region.
        points: Labelled pixels of each class to keep in each support window; 0 keeps them all.
        fewest_points: Where not 0, the points of a task are drawn from this number to `points`.
        disjoint_sources: Support and query windows come from different patches or blocks.
    """

    shots: int
    queries: int
    labels: Labels = "global"
    points: int = 0
    fewest_points: int = 0
    disjoint_sources: bool = True

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            TaskError: if one is out of range.
        """
        if not isinstance(self.shots, int) or self.shots < 1 or self.queries < 1:
            raise TaskError(
                f"a task of labelled pixels needs at least 1 support and 1 query window, received shots = {self.shots}"
                f" and queries = {self.queries}"
            )
        if self.points < 0:
            raise TaskError(f"points is 0 (all pixels) or more, received {self.points}")
        if not 0 <= self.fewest_points <= self.points:
            raise TaskError(f"fewest_points is 0 to points ({self.points}), received {self.fewest_points}")


class TaskBatch(NamedTuple):
    """Tasks of one shape as arrays (NumPy, or TensorFlow inside a stream).

    Attributes:
        support_x: [tasks, n, ...] float32, images [H, W, bands] scaled 0-1, or sine inputs [1].
        support_y: [tasks, n] int32 labels, [tasks, n, H, W] of pixels (-1 ignored), or [tasks, n, 1] float32 targets.
        query_x: [tasks, m, ...] float32.
        query_y: [tasks, m] int32 labels, [tasks, m, H, W] of pixels, or [tasks, m, 1] float32 targets.
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any


class TaskSource(Protocol):
    """Anything that can draw tasks of one shape from a generator."""

    def draw(self, rng: np.random.Generator, tasks: int) -> TaskBatch:
        """Draw `tasks` tasks; the same state of `rng` gives the same tasks."""
        ...


def gather(region_set: RegionSet, tasks: Sequence[Task], *, labels: Labels = "task") -> TaskBatch:
    """Read the images of `tasks` and stack them.

    Args:
        region_set: Whose store and classes the tasks refer to.
        tasks: Of one support size and one query size.
        labels: "task" gives each task's own labels, "global" the index in `region_set.classes`.

    Raises:
        ShapeError: if the tasks differ in size, or there is none.
        TaskError: if a task has a class that the set has not.
    """
    sizes = {(len(task.support), len(task.query)) for task in tasks}
    if len(sizes) != 1:
        raise ShapeError(f"tasks of one meta-batch need one support and one query size, received {sorted(sizes)}")
    support = np.stack([task.support for task in tasks])
    query = np.stack([task.query for task in tasks])
    support_y = np.stack([task.support_y for task in tasks]).astype(np.int32)
    query_y = np.stack([task.query_y for task in tasks]).astype(np.int32)
    if any(task.pixels is not None for task in tasks):
        support_y, query_y = gather_pixel_labels(region_set, tasks, labels=labels)
    elif labels == "global":
        index = {name: i for i, name in enumerate(region_set.classes)}
        numbers = [_global_numbers(task, index, region_set.name) for task in tasks]
        support_y = np.stack([number[y] for number, y in zip(numbers, support_y, strict=True)])
        query_y = np.stack([number[y] for number, y in zip(numbers, query_y, strict=True)])
    # One read for all: [tasks * (n + m)] -> [tasks, n, H, W, bands] and [tasks, m, H, W, bands].
    images = region_set.store.read(np.concatenate([support.ravel(), query.ravel()]))
    support_x = images[: support.size].reshape(*support.shape, *images.shape[1:])
    query_x = images[support.size :].reshape(*query.shape, *images.shape[1:])
    return TaskBatch(support_x, support_y, query_x, query_y)


def gather_pixel_labels(
    region_set: RegionSet, tasks: Sequence[Task], *, labels: Labels
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Read the pixel labels of `tasks`, the support's thinned to the points that each task asks for.

    Args and errors are those of `gather`; the set's pixels must have labels.

    Returns:
        Support [tasks, n, H, W] and query [tasks, m, H, W]; -1 where ignored, and with labels "task" also where the
        class is none of the task's.
    """
    store = region_set.store
    if not store.has_labels:
        raise TaskError(f"the pixels of {region_set.name} have no labels; use tasks of labelled images instead")
    index = {name: i for i, name in enumerate(region_set.classes)}
    support, query = [], []
    for task in tasks:
        found = store.read_labels(np.concatenate([task.support, task.query]))
        numbers = _global_numbers(task, index, region_set.name)
        if labels == "task":
            own = np.full(len(region_set.classes) + 1, -1, np.int32)  # the last entry stands for -1
            own[numbers] = np.arange(len(numbers), dtype=np.int32)
            found = own[found]
        count = len(task.support)
        pixels = task.pixels or PixelLabels()
        support.append(thin(found[:count], pixels.points, np.random.default_rng(pixels.seed)))
        query.append(found[count:])
    return np.stack(support), np.stack(query)


def thin(labels: npt.NDArray[np.int32], points: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Keep at most `points` labelled pixels of each class in each window, chosen at random; 0 keeps all.

    Args:
        labels: [n, H, W] int32, -1 where ignored.
        points: Of each class in each window.
        rng: Chooses them.
    """
    if points == 0:
        return labels
    flat = labels.ravel()
    labelled = np.flatnonzero(flat >= 0)
    window = labelled // (labels.shape[1] * labels.shape[2])
    group = window * (int(labels.max(initial=0)) + 1) + flat[labelled]
    order = np.lexsort((rng.random(len(labelled)), group))
    sorted_group = group[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_group, sorted_group)
    kept = labelled[order[rank < points]]
    thinned = np.full_like(flat, -1)
    thinned[kept] = flat[kept]
    return thinned.reshape(labels.shape)


def _global_numbers(task: Task, index: dict[str, int], set_name: str) -> npt.NDArray[np.int32]:
    """Return the global label of each of the task's classes."""
    unknown = [name for name in task.classes if name not in index]
    if unknown:
        raise TaskError(f"{set_name} has no class {unknown[0]!r}; it has {', '.join(list(index)[:12])}")
    return np.array([index[name] for name in task.classes], np.int32)


def write_tasks(
    path: Path, region_set: RegionSet, tasks: Sequence[Task], *, spec: TaskSpec | PixelTaskSpec | None = None
) -> None:
    """Freeze `tasks` in a JSON list of image names, so that another method meets exactly the same ones.

    Args:
        path: File to write; its folder is made if missing.
        region_set: Whose images the tasks refer to.
        tasks: Any tasks, also of unequal sizes.
        spec: What they were drawn by, kept for the reader's eye.
    """
    names = region_set.store.names
    entries = [
        {
            "name": task.name,
            "region": task.region,
            "classes": list(task.classes),
            "support": [[names[i], int(y)] for i, y in zip(task.support, task.support_y, strict=True)],
            "query": [[names[i], int(y)] for i, y in zip(task.query, task.query_y, strict=True)],
            **({"pixels": asdict(task.pixels)} if task.pixels else {}),
        }
        for task in tasks
    ]
    head = {"format": _FORMAT, "version": _VERSION, "data": region_set.name, "spec": asdict(spec) if spec else None}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**head, "tasks": entries}, indent=None, separators=(",", ":")) + "\n", "utf-8")


def read_tasks(path: Path, region_set: RegionSet) -> tuple[Task, ...]:
    """Read a list that `write_tasks` froze.

    Raises:
        DataNotFoundError: if the file does not exist, or names an image that `region_set` has not.
        DamagedDataError: if it is not such a list, or of another version.
    """
    path = Path(path)
    if not path.exists():
        raise DataNotFoundError(f"there is no task list {path}")
    try:
        content = json.loads(path.read_text("utf-8"))
        found = (content["format"], content["version"])
        if found != (_FORMAT, _VERSION):
            raise DamagedDataError(f"{path} is {found[0]} version {found[1]}, expected {_FORMAT} version {_VERSION}")
        index = {name: i for i, name in enumerate(region_set.store.names)}
        named = (name for entry in content["tasks"] for side in ("support", "query") for name, _ in entry[side])
        for name in named:
            if name not in index:
                hint = nearest(name, region_set.store.names, hint=" The nearest it has is {!r}.", cutoff=0.3)
                raise DataNotFoundError(
                    f"{path} was drawn from {content['data']!r} and names the image {name!r}, which {region_set.name!r}"
                    f" has not.{hint} Name the data it was drawn from."
                )
        return tuple(_task_of(entry, index) for entry in content["tasks"])
    except DamagedDataError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedDataError(f"{path} is not a list of tasks as fewshot writes it: {error!r}") from error


def _task_of(entry: dict[str, Any], index: dict[str, int]) -> Task:
    """Build one task from its JSON entry."""
    sides = {}
    pixels = PixelLabels(**entry["pixels"]) if "pixels" in entry else None
    lowest = 0 if pixels is None else -1
    for side in ("support", "query"):
        images = np.array([index[name] for name, _ in entry[side]], np.int64)
        labels = np.array([label for _, label in entry[side]], np.int32)
        if len(labels) == 0 or labels.min() < lowest or labels.max() >= len(entry["classes"]):
            raise ValueError(f"labels of {side} do not fit the {len(entry['classes'])} classes of {entry['name']!r}")
        sides[side] = (images, labels)
    return Task(entry["region"], tuple(entry["classes"]), *sides["support"], *sides["query"], entry["name"], pixels)
