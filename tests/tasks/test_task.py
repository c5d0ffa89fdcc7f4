import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewshot.data.region import RegionSet
from fewshot.errors import DamagedDataError, DataNotFoundError, ShapeError, TaskError
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.task import TaskSpec, gather, read_tasks, write_tasks

Make = Callable[..., RegionSet]


@pytest.fixture
def made(make_set: Make) -> RegionSet:
    return make_set({"north": {"Water": 8, "Forests": 8}, "south": {"Forests": 8, "Barren": 8, "Water": 8}})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ways": 1}, "at least 2 ways, received ways = 1"),
        ({"shots": 0}, "at least 1 shot"),
        ({"shots": (1, 2, 3)}, r"expected 2, received \(1, 2, 3\)"),
        ({"queries": 0}, "at least 1 query"),
        ({"labels": "local"}, "received 'local'"),
        ({"within_region": 1.5}, "probability 0-1, received 1.5"),
    ],
)
def test_spec_refuses(wrong: dict, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        TaskSpec(**{"ways": 2, "shots": 1, "queries": 1, **wrong})


def test_spec_takes_a_list_of_shots_as_a_recipe_gives_it() -> None:
    spec = TaskSpec(2, [1, 3], 1)  # type: ignore[arg-type]
    assert spec.shots == spec.shots_per_class == (1, 3)
    assert spec == TaskSpec(2, (1, 3), 1)


def test_gather_reads_each_image_to_its_place(made: RegionSet) -> None:
    tasks = sample_tasks(made, TaskSpec(2, (1, 3), 2), 5, seed=0)
    batch = gather(made, tasks)
    assert [part.shape for part in batch] == [(5, 4, 4, 4, 1), (5, 4), (5, 4, 4, 4, 1), (5, 4)]
    assert [part.dtype for part in batch] == [np.float32, np.int32, np.float32, np.int32]
    for number, task in enumerate(tasks):
        # An image's pixels are its index.
        np.testing.assert_allclose(batch.support_x[number, :, 0, 0, 0] * 255, task.support, rtol=1e-5)
        np.testing.assert_allclose(batch.query_x[number, :, 3, 3, 0] * 255, task.query, rtol=1e-5)
        np.testing.assert_array_equal(batch.query_y[number], task.query_y)


def test_global_labels_are_indices_in_the_sets_classes(made: RegionSet) -> None:
    tasks = sample_tasks(made, TaskSpec(2, 2, 2), 20, seed=1)
    batch = gather(made, tasks, labels="global")
    for images, labels in ((batch.support_x, batch.support_y), (batch.query_x, batch.query_y)):
        for image, label in zip(images.reshape(-1, 16)[:, 0], labels.ravel(), strict=True):
            assert made.store.names[round(float(image) * 255)].split("/")[1] == made.classes[label]
    assert len(np.unique(batch.support_y)) == 3


def test_gather_refuses_tasks_of_two_sizes_none_and_unknown_classes(made: RegionSet, make_set: Make) -> None:
    small, large = sample_tasks(made, TaskSpec(2, 1, 1), 1, seed=0), sample_tasks(made, TaskSpec(2, 2, 1), 1, seed=0)
    with pytest.raises(ShapeError, match=r"\(2, 2\), \(4, 2\)"):
        gather(made, small + large)
    with pytest.raises(ShapeError):
        gather(made, [])
    with pytest.raises(TaskError, match="has no class"):
        gather(make_set({"x": {"Snow": 60}}), small, labels="global")


def test_frozen_list_round_trip(made: RegionSet, tmp_path: Path) -> None:
    spec = TaskSpec(2, (1, 2), 3)
    tasks = sample_tasks(made, spec, 7, seed=2)
    write_tasks(tmp_path / "new" / "tasks.json", made, tasks, spec=spec)
    for before, after in zip(tasks, read_tasks(tmp_path / "new" / "tasks.json", made), strict=True):
        assert (before.name, before.region, before.classes) == (after.name, after.region, after.classes)
        for part in ("support", "support_y", "query", "query_y"):
            np.testing.assert_array_equal(getattr(before, part), getattr(after, part))
            assert getattr(before, part).dtype == getattr(after, part).dtype
    head = json.loads((tmp_path / "new" / "tasks.json").read_text())
    assert (head["version"], head["data"], head["spec"]["shots"]) == (1, "made-up", [1, 2])


def test_frozen_list_finds_its_images_in_another_order(made: RegionSet, make_set: Make, tmp_path: Path) -> None:
    tasks = sample_tasks(made, TaskSpec(2, 1, 1), 3, seed=2)
    write_tasks(tmp_path / "tasks.json", made, tasks)
    other = make_set(
        {"more": {"Water": 3}, "south": {"Forests": 8, "Barren": 8, "Water": 8}, "north": {"Water": 8, "Forests": 8}}
    )
    for before, after in zip(tasks, read_tasks(tmp_path / "tasks.json", other), strict=True):
        assert [made.store.names[i] for i in before.query] == [other.store.names[i] for i in after.query]


def test_frozen_list_of_other_data_is_refused_kindly(made: RegionSet, make_set: Make, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    write_tasks(path, made, sample_tasks(made.subset(["north"]), TaskSpec(2, 2, 2), 3, seed=2))
    with pytest.raises(DataNotFoundError, match=r"drawn from 'made-up' and names the image 'north/.*nearest it has is"):
        read_tasks(path, make_set({"nord": {"Water": 8, "Forests": 8}}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "not a list of tasks"),
        ("[]", "not a list of tasks"),
        ('{"format": "fewshot-tasks", "version": 9, "tasks": []}', "version 9, expected fewshot-tasks version 1"),
        ('{"format": "fewshot-tasks", "version": 1, "data": "x", "tasks": [{"region": "a"}]}', "not a list of tasks"),
        (
            '{"format": "fewshot-tasks", "version": 1, "data": "x", "tasks": [{"region": "a", "name": "t",'
            ' "classes": ["Water"], "support": [["north/Water/0.png", 1]], "query": [["north/Water/1.png", 0]]}]}',
            "labels of support do not fit the 1 classes",
        ),
    ],
)
def test_frozen_list_that_is_none_is_refused(made: RegionSet, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "tasks.json").write_text(content)
    with pytest.raises(DamagedDataError, match=message):
        read_tasks(tmp_path / "tasks.json", made)


def test_frozen_list_that_is_missing(made: RegionSet, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no task list"):
        read_tasks(tmp_path / "tasks.json", made)
