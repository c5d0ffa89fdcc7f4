from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.errors import TaskError
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.task import PixelTaskSpec, gather, read_tasks, thin, write_tasks

CLASSES = ("Forests", "Water", "Barren", "Urban")


class Masked(ArrayStore):
    """Windows whose every pixel is labelled."""

    def __init__(self, labels: np.ndarray) -> None:
        super().__init__([f"w{i}" for i in range(len(labels))], np.zeros((*labels.shape, 1), np.uint8))
        self.labels, self.has_labels = labels, True

    def read_labels(self, indices: npt.ArrayLike) -> np.ndarray:
        return self.labels[np.asarray(indices)]


@pytest.fixture
def windows() -> RegionSet:
    """Two regions of 20 windows in five blocks; the second has only the last three classes."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([rng.integers(-1, 4, (20, 6, 6)), rng.integers(1, 4, (20, 6, 6))]).astype(np.int32)
    regions = tuple(
        Region(name, names, np.arange(20) + first, np.zeros(20, np.int64), np.arange(20) // 4)
        for name, names, first in (("a", CLASSES, 0), ("b", CLASSES[1:], 20))
    )
    return RegionSet("windows", Masked(labels), regions, CLASSES)


def test_support_and_query_windows_come_from_different_blocks_of_one_region(windows: RegionSet) -> None:
    for task in sample_tasks(windows, PixelTaskSpec(3, 5), 50, seed=1):
        assert len(task.support) == 3
        assert len(task.query) == 5
        assert len(set(task.support // 20) | set(task.query // 20)) == 1
        assert set(task.support // 4).isdisjoint(task.query // 4)


def test_labels_are_global_or_those_of_the_region(windows: RegionSet) -> None:
    spec = PixelTaskSpec(2, 2)
    task = next(task for task in sample_tasks(windows, spec, 20, seed=2) if task.region == "b")
    store = windows.store
    known, own = gather(windows, [task], labels="global"), gather(windows, [task], labels="task")
    np.testing.assert_array_equal(known.query_y[0], store.read_labels(task.query))
    np.testing.assert_array_equal(own.query_y[0], known.query_y[0] - 1)


@given(st.integers(0, 2**31), st.integers(1, 5))
def test_thinning_keeps_so_many_labels_of_each_class_in_each_window(seed: int, points: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, 4, (3, 5, 5)).astype(np.int32)
    kept = thin(labels, points, np.random.default_rng(seed))
    assert np.all((kept == labels) | (kept == -1))
    for before, after in zip(labels, kept, strict=True):
        for number in range(4):
            assert (after == number).sum() == min(points, (before == number).sum())


def test_sparse_labels_are_the_same_whenever_the_task_is_read(windows: RegionSet) -> None:
    (task,) = sample_tasks(windows, PixelTaskSpec(2, 2, points=2), 1, seed=3)
    first, second = (gather(windows, [task], labels="global").support_y for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert 0 < (first >= 0).sum() <= 2 * 2 * 4


def test_a_frozen_list_keeps_sparse_labels(windows: RegionSet, tmp_path: Path) -> None:
    tasks = sample_tasks(windows, PixelTaskSpec(2, 2, points=2), 3, seed=3)
    write_tasks(tmp_path / "tasks.json", windows, tasks)
    for before, after in zip(tasks, read_tasks(tmp_path / "tasks.json", windows), strict=True):
        np.testing.assert_array_equal(
            gather(windows, [before], labels="global").support_y, gather(windows, [after], labels="global").support_y
        )


def test_regions_too_small_are_named(windows: RegionSet) -> None:
    with pytest.raises(
        TaskError, match="no region of windows has 15 support and 6 query windows.*nearest is a with 20"
    ):
        sample_tasks(windows, PixelTaskSpec(15, 6), 1, seed=0)


def test_images_without_pixel_labels_are_refused(make_set: Callable[..., RegionSet]) -> None:
    made = make_set({"a": {"x": 8, "y": 8}})
    (task,) = sample_tasks(made, PixelTaskSpec(2, 2), 1, seed=0)
    with pytest.raises(TaskError, match="pixels of made-up have no labels"):
        gather(made, [task])
