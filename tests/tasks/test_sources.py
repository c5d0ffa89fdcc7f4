from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewshot.data.region import RegionSet
from fewshot.data.sources.task_archives import read_task_archives
from fewshot.errors import ShapeError, TaskError
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.sources import FixedTasks, Mixture, RegionTasks, SineTasks
from fewshot.tasks.task import TaskSpec

Make = Callable[..., RegionSet]


@pytest.fixture
def made(make_set: Make) -> RegionSet:
    drawn = make_set({"x": {"a": 6, "b": 6, "c": 6}, "y": {"c": 6, "d": 6, "a": 6}})
    return replace(drawn, fixed_tasks=sample_tasks(drawn, TaskSpec(3, 2, 2), 4, seed=0))


def images(part: np.ndarray) -> np.ndarray:
    """The index of each image, which its pixels show."""
    return np.rint(part[..., 0, 0, 0] * 255).astype(int)


def test_region_tasks_follow_the_generator(made: RegionSet) -> None:
    source = RegionTasks(made, TaskSpec(2, 1, 3, labels="global"))
    first, again = source.draw(np.random.default_rng(1), 5), source.draw(np.random.default_rng(1), 5)
    assert [part.shape for part in first] == [(5, 2, 4, 4, 1), (5, 2), (5, 6, 4, 4, 1), (5, 6)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for image, label in zip(images(first.query_x).ravel(), first.query_y.ravel(), strict=True):
        assert made.store.names[image].split("/")[1] == made.classes[label]


def test_fixed_tasks_are_drawn_as_they_are_with_global_labels(made: RegionSet) -> None:
    batch = FixedTasks(made, labels="global").draw(np.random.default_rng(0), 60)
    supports = {tuple(task.support.tolist()) for task in made.fixed_tasks}
    assert {tuple(row.tolist()) for row in images(batch.support_x)} == supports
    for image, label in zip(images(batch.support_x).ravel(), batch.support_y.ravel(), strict=True):
        assert made.store.names[image].split("/")[1] == made.classes[label]


def test_fixed_tasks_get_new_task_labels_in_every_draw_alike_in_support_and_query(made: RegionSet) -> None:
    batch = FixedTasks(made).draw(np.random.default_rng(0), 200)
    orders: dict[tuple[int, ...], Counter] = {}
    for x, y, query_x, query_y in zip(
        images(batch.support_x), batch.support_y, images(batch.query_x), batch.query_y, strict=True
    ):
        name_of = {int(label): made.store.names[i].split("/")[1] for i, label in zip(x, y, strict=True)}
        assert sorted(name_of) == [0, 1, 2]
        assert all(made.store.names[i].split("/")[1] == name_of[int(k)] for i, k in zip(query_x, query_y, strict=True))
        orders.setdefault(tuple(x.tolist()), Counter())[tuple(y.tolist())] += 1
    assert all(len(counter) == 6 for counter in orders.values())  # all six orders of three classes


def test_swap_exchanges_support_and_query_half_of_the_time(made: RegionSet) -> None:
    supports = {tuple(task.support.tolist()) for task in made.fixed_tasks}
    queries = {tuple(task.query.tolist()) for task in made.fixed_tasks}
    batch = FixedTasks(made, swap=True).draw(np.random.default_rng(0), 400)
    swapped = 0
    for support, query in zip(images(batch.support_x), images(batch.query_x), strict=True):
        if tuple(support.tolist()) in queries:
            assert tuple(query.tolist()) in supports
            swapped += 1
        else:
            assert tuple(support.tolist()) in supports
    assert 150 < swapped < 250


def test_fixed_tasks_refuse_none_two_shapes_and_an_uneven_swap(made: RegionSet) -> None:
    with pytest.raises(TaskError, match="no tasks of its own"):
        FixedTasks(replace(made, fixed_tasks=()))
    more = sample_tasks(made, TaskSpec(3, 1, 2), 1, seed=0)
    with pytest.raises(TaskError, match=r"\(3, 6\), \(6, 6\)"):
        FixedTasks(replace(made, fixed_tasks=made.fixed_tasks + more))
    with pytest.raises(TaskError, match="cannot swap 3 support images with 6 queries"):
        FixedTasks(replace(made, fixed_tasks=more), swap=True)


def test_mixture_draws_by_weight_and_repeats_by_seed(made: RegionSet) -> None:
    fixed, new = FixedTasks(made, labels="global"), RegionTasks(made, TaskSpec(3, 2, 2, labels="global"))
    mixture = Mixture([(fixed, 3.0), (new, 1.0)])
    supports = {tuple(task.support.tolist()) for task in made.fixed_tasks}
    batch = mixture.draw(np.random.default_rng(0), 800)
    is_fixed = np.array([tuple(row.tolist()) in supports for row in images(batch.support_x)])
    assert 540 < is_fixed.sum() < 660
    assert is_fixed[:400].sum() == pytest.approx(is_fixed[400:].sum(), rel=0.2)  # not one source after the other
    for one, other in zip(batch, mixture.draw(np.random.default_rng(0), 800), strict=True):
        np.testing.assert_array_equal(one, other)
    for image, label in zip(images(batch.query_x).ravel(), batch.query_y.ravel(), strict=True):
        assert made.store.names[image].split("/")[1] == made.classes[label]


def test_mixture_refuses_different_shapes_and_bad_weights(made: RegionSet) -> None:
    one, other = RegionTasks(made, TaskSpec(3, 1, 2)), RegionTasks(made, TaskSpec(3, 2, 2))
    with pytest.raises(ShapeError, match="different shapes"):
        Mixture([(one, 1.0), (other, 1.0)]).draw(np.random.default_rng(0), 20)
    for parts in ([], [(one, -1.0), (other, 2.0)], [(one, 0.0)]):
        with pytest.raises(TaskError):
            Mixture(parts)


def test_sine_tasks() -> None:
    batch = SineTasks(5, 10).draw(np.random.default_rng(0), 3)
    assert [part.shape for part in batch] == [(3, 5, 1), (3, 5, 1), (3, 10, 1), (3, 10, 1)]
    with pytest.raises(TaskError, match="at least 1 shot and 1 query"):
        SineTasks(0, 10)


def test_real_tasks_redrawn_from_a_region_share_no_patch(sen12ms_root: Path) -> None:
    read = read_task_archives([sen12ms_root / "fall_122.zip"], size=16)
    for task in sample_tasks(read, TaskSpec(4, 2, 2, disjoint_sources=True), 30, seed=0):
        patches = [
            {read.store.names[i].rsplit("_p", 1)[1].removesuffix(".png")[:-2] for i in side}
            for side in (task.support, task.query)
        ]
        assert not patches[0] & patches[1]
