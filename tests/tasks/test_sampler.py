from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fewshot.data.region import RegionSet, Task
from fewshot.data.sources.omniglot import with_rotations
from fewshot.errors import TaskError
from fewshot.tasks.sampler import ANY_REGION, TaskSampler, sample_task, sample_tasks
from fewshot.tasks.task import TaskSpec

Make = Callable[..., RegionSet]

COUNTS = {
    "north": {"a": 6, "b": 9, "c": 12},
    "south": {"a": 10, "c": 10, "d": 7, "e": 20},
    "tiny": {"a": 1, "b": 1},
}


def sources_of(made: RegionSet, images: np.ndarray) -> set[tuple[str, int]]:
    known = {
        int(image): (region.place, int(source))
        for region in made.regions
        for image, source in zip(region.images, region.sources, strict=True)
    }
    return {known[int(image)] for image in images}


def check(made: RegionSet, spec: TaskSpec, task: Task) -> None:
    """What holds for every task, whatever was asked."""
    shots = list(spec.shots_per_class)
    assert len(set(task.classes)) == spec.ways
    assert np.bincount(task.support_y, minlength=spec.ways).tolist() == shots
    assert np.bincount(task.query_y, minlength=spec.ways).tolist() == [spec.queries] * spec.ways
    images = np.concatenate([task.support, task.query])
    assert len(set(images.tolist())) == len(images)
    for image, label in zip(images, np.concatenate([task.support_y, task.query_y]), strict=True):
        region, class_name, _ = made.store.names[image].split("/")
        assert class_name == task.classes[label]
        assert task.region in (region, ANY_REGION)
    if spec.disjoint_sources:
        assert not sources_of(made, task.support) & sources_of(made, task.query)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ways=st.integers(2, 4),
    shots=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    queries=st.integers(1, 3),
    unequal=st.booleans(),
    disjoint=st.booleans(),
    within=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_every_task_is_what_was_asked(make_set: Make, **drawn: int) -> None:
    made = make_set(COUNTS)
    shots = tuple(drawn["shots"][: drawn["ways"]]) if drawn["unequal"] else drawn["shots"][0]  # type: ignore[index]
    spec = TaskSpec(
        drawn["ways"],
        shots,
        drawn["queries"],
        disjoint_sources=bool(drawn["disjoint"]),
        within_region=drawn["within"],
    )
    sampler = TaskSampler(made, spec)
    for number in range(3):
        check(made, spec, sampler.sample(np.random.default_rng([drawn["seed"], number])))


def test_same_seed_same_tasks_whatever_came_before(make_set: Make) -> None:
    made, spec = make_set(COUNTS), TaskSpec(3, 2, 2)
    many, few = sample_tasks(made, spec, 6, seed=9), sample_tasks(made, spec, 2, seed=9)
    for first, second in zip(many, few, strict=False):
        np.testing.assert_array_equal(first.support, second.support)
        np.testing.assert_array_equal(first.query, second.query)
    assert not np.array_equal(many[0].support, sample_tasks(made, spec, 1, seed=10)[0].support)


def test_a_seeds_tasks_never_change(make_set: Make) -> None:
    """Published figures name seeds: a change of the draws must be noticed."""
    task = sample_task(make_set(COUNTS), TaskSpec(2, 1, 1), np.random.default_rng(0))
    assert (task.region, task.classes, task.support.tolist(), task.query.tolist()) == (
        "south",
        ("d", "a"),
        [51, 29],
        [52, 36],
    )


def test_regions_classes_and_images_are_all_drawn_evenly(make_set: Make) -> None:
    made = make_set({"x": {"a": 4, "b": 4, "c": 4}, "y": {"a": 40, "b": 40}})
    tasks = sample_tasks(made, TaskSpec(2, 1, 1), 3000, seed=0)
    regions = Counter(task.region for task in tasks)
    assert abs(regions["x"] - 1500) < 140  # five standard deviations
    first = Counter(task.classes[0] for task in tasks if task.region == "x")
    assert all(abs(first[name] - regions["x"] / 3) < 100 for name in "abc")
    images = Counter(int(i) for task in tasks if task.region == "x" for i in [*task.support, *task.query])
    assert len(images) == 12
    assert max(images.values()) < 1.35 * min(images.values())


def test_tasks_across_regions_mix_regions_and_never_repeat_a_class(make_set: Make) -> None:
    made = make_set(COUNTS)
    tasks = sample_tasks(made, TaskSpec(3, 1, 1, within_region=0.0), 40, seed=0)
    assert {task.region for task in tasks} == {ANY_REGION}
    mixed = [len({made.store.names[i].split("/")[0] for i in task.support}) > 1 for task in tasks]
    assert any(mixed)


def test_within_region_is_a_probability(make_set: Make) -> None:
    tasks = sample_tasks(make_set(COUNTS), TaskSpec(3, 1, 1, within_region=0.3), 600, seed=0)
    assert 130 < sum(task.region != ANY_REGION for task in tasks) < 230


def test_across_regions_can_give_more_ways_than_any_region(make_set: Make) -> None:
    made = make_set({f"r{i}": {f"c{i}": 4} for i in range(6)})
    assert len(sample_task(made, TaskSpec(6, 1, 1, within_region=0.0), np.random.default_rng(0)).classes) == 6
    with pytest.raises(TaskError):
        TaskSampler(made, TaskSpec(6, 1, 1))


def test_unequal_shots_go_to_the_classes_that_can_give_them(make_set: Make) -> None:
    made = make_set({"x": {"rare": 3, "common": 30, "other": 3}})
    spec = TaskSpec(3, (2, 20, 1), 1)
    for task in sample_tasks(made, spec, 20, seed=0):
        check(made, spec, task)
        assert task.classes[1] == "common"
    with pytest.raises(TaskError, match="3-way 2/20/3-shot"):
        TaskSampler(made, TaskSpec(3, (2, 20, 3), 1))


def test_too_small_says_which_region_came_nearest_and_what_it_has(make_set: Make) -> None:
    with pytest.raises(TaskError) as caught:
        TaskSampler(make_set(COUNTS), TaskSpec(4, 5, 5))
    message = str(caught.value)
    assert "4-way 5-shot 5-query" in message
    assert "4 classes of up to 10 images" in message
    assert "Nearest is south, with 4 classes: e 20, a 10, c 10, d 7" in message
    with pytest.raises(TaskError, match="all regions together"):
        TaskSampler(make_set(COUNTS), TaskSpec(9, 1, 1, within_region=0.0))


def test_disjoint_sources_need_known_and_several_sources(make_set: Make) -> None:
    with pytest.raises(TaskError, match="does not know which source.*disjoint_sources = false"):
        TaskSampler(make_set(COUNTS, sources=False), TaskSpec(2, 1, 1, disjoint_sources=True))
    one_source_each = make_set({"x": {"a": 2, "b": 2}})
    assert sample_task(one_source_each, TaskSpec(2, 1, 1), np.random.default_rng(0)).region == "x"
    with pytest.raises(TaskError, match="from different sources"):
        TaskSampler(one_source_each, TaskSpec(2, 1, 1, disjoint_sources=True))


def test_disjoint_sources_that_cannot_be_kept_end_in_an_error(make_set: Make) -> None:
    # Two sources of two images each class: one for each side leaves two images, not three, for the queries.
    sampler = TaskSampler(make_set({"x": {"a": 4, "b": 4}}), TaskSpec(2, 1, 3, disjoint_sources=True))
    with pytest.raises(TaskError, match="different sources in 40 attempts"):
        sampler.sample(np.random.default_rng(0))


def test_drawers_are_kept_apart_over_the_whole_task(make_set: Make) -> None:
    """Twenty drawers drew every character: a drawer of any support image draws no query of any class."""
    made = make_set({"Greek": {f"c{i}": 20 for i in range(20)}})
    for region in made.regions:
        region.sources[:] = np.tile(np.arange(20), 20)
    spec = TaskSpec(20, 1, 5, disjoint_sources=True)
    for task in sample_tasks(made, spec, 10, seed=0):
        check(made, spec, task)


def test_a_drawer_of_a_turned_alphabet_is_the_drawer_of_the_upright_one(make_set: Make) -> None:
    made = with_rotations(make_set({"Greek": {f"Greek/c{i}": 8 for i in range(4)}}))
    drawers = {int(i): int(s) for r in made.regions for i, s in zip(r.images, r.sources, strict=True)}
    spec = TaskSpec(6, 2, 2, disjoint_sources=True, within_region=0.0)
    for task in sample_tasks(made, spec, 20, seed=0):
        assert not {drawers[int(i)] for i in task.support} & {drawers[int(i)] for i in task.query}


def test_no_regions_at_all(make_set: Make) -> None:
    with pytest.raises(TaskError, match="no region with images"):
        TaskSampler(make_set({}), TaskSpec(2, 1, 1))
