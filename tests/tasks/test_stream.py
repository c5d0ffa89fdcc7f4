import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import ShapeError, TaskError
from fewshot.tasks.augment import Augmentation, make_augment
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.sources import RegionTasks, SineTasks
from fewshot.tasks.stream import batches, stream
from fewshot.tasks.task import TaskSpec, gather

Make = Callable[..., RegionSet]


@pytest.fixture
def made(make_set: Make) -> RegionSet:
    return make_set({"x": {"a": 6, "b": 6, "c": 6}, "y": {"c": 6, "d": 6, "a": 6}})


def take(dataset: tf.data.Dataset, count: int) -> list[list[np.ndarray]]:
    return [[part.numpy() for part in tf.nest.flatten(element)] for element in dataset.take(count)]


def assert_same(first: list[list[np.ndarray]], second: list[list[np.ndarray]]) -> None:
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_elements_are_what_keras_fit_takes_with_all_axes_known(made: RegionSet) -> None:
    dataset = stream(RegionTasks(made, TaskSpec(2, 1, 3)), meta_batch_size=4, seed=0)
    (support_x, support_y, query_x), query_y = dataset.element_spec
    assert support_x.shape == (4, 2, 4, 4, 1)
    assert query_x.shape == (4, 6, 4, 4, 1)
    assert (support_y.shape, query_y.shape) == ((4, 2), (4, 6))
    assert (support_x.dtype, query_y.dtype) == (tf.float32, tf.int32)


@pytest.mark.parametrize("augmented", [False, True])
def test_a_resumed_stream_continues_exactly(made: RegionSet, augmented: bool) -> None:  # noqa: FBT001
    source = RegionTasks(made, TaskSpec(2, 1, 3))
    augment = make_augment(Augmentation(turns="image", noise=0.1, rotation=20)) if augmented else None
    whole = take(stream(source, meta_batch_size=3, seed=5, augment=augment), 7)
    rest = take(stream(source, meta_batch_size=3, seed=5, start=4, augment=augment, prefetch=1), 3)
    assert_same(whole[4:], rest)
    assert not np.array_equal(whole[3][0], whole[4][0])


def test_batch_i_is_drawn_from_seed_and_i(made: RegionSet) -> None:
    source = RegionTasks(made, TaskSpec(2, 1, 3))
    for number, parts in enumerate(take(stream(source, meta_batch_size=3, seed=5, start=10), 3), start=10):
        assert_same([parts], [list(source.draw(np.random.default_rng([5, number]), 3))])
    other = take(stream(source, meta_batch_size=3, seed=6, start=10), 1)
    assert not np.array_equal(other[0][0], source.draw(np.random.default_rng([5, 10]), 3).support_x)


def test_sine_stream_has_float_targets() -> None:
    dataset = stream(SineTasks(5, 10), meta_batch_size=4, seed=0)
    assert dataset.element_spec[1].dtype == tf.float32
    assert dataset.element_spec[1].shape == (4, 10, 1)


def test_stream_refuses_bad_numbers(made: RegionSet) -> None:
    source = RegionTasks(made, TaskSpec(2, 1, 3))
    for wrong in ({"meta_batch_size": 0}, {"start": -1}, {"seed": -1}):
        numbers = {"meta_batch_size": 1, "seed": 0, "start": 0, **wrong}
        with pytest.raises(TaskError, match="meta_batch_size >= 1"):
            stream(source, meta_batch_size=numbers["meta_batch_size"], seed=numbers["seed"], start=numbers["start"])


def test_batches_are_the_listed_tasks_once_in_order(made: RegionSet) -> None:
    tasks = sample_tasks(made, TaskSpec(3, 2, 1), 7, seed=0)
    dataset = batches(made, tasks, meta_batch_size=3, labels="global")
    assert dataset.element_spec[0][0].shape[1:] == (6, 4, 4, 1)
    parts = take(dataset, 99)
    assert [len(part[0]) for part in parts] == [3, 3, 1]
    expected = gather(made, tasks, labels="global")
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    assert_same([joined], [list(expected)])


def test_batches_refuse_tasks_of_two_sizes(made: RegionSet) -> None:
    tasks = sample_tasks(made, TaskSpec(3, 2, 1), 2, seed=0)
    with pytest.raises(ShapeError, match="one support and one query size"):
        batches(
            made, [*tasks, replace(tasks[0], query=tasks[0].query[:1], query_y=tasks[0].query_y[:1])], meta_batch_size=2
        )


@pytest.mark.slow
def test_a_program_ends_while_its_stream_still_runs_ahead() -> None:
    """Without care, Python now and then waits at exit for ever for the draws that `tf.data` has begun."""
    program = (
        "import atexit, time\n"
        "from fewshot.tasks.sources import SineTasks\n"
        "begun = ended = 0\n"
        "class Slow(SineTasks):\n"
        "    def draw(self, rng, tasks):\n"
        "        global begun, ended\n"
        "        begun += 1\n"
        "        time.sleep(1.0 if begun > 1 else 0.0)\n"
        "        ended += 1\n"
        "        return super().draw(rng, tasks)\n"
        # Registered before the stream's own care, so called after it.
        "atexit.register(lambda: print(begun > 1, begun - ended))\n"
        "from fewshot.tasks.stream import stream\n"
        "iterator = iter(stream(Slow(50_000, 50_000), meta_batch_size=4, seed=0, prefetch=4))\n"
        "next(iterator)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=True)
    assert ended.stdout == "True 0\n"
