"""As many threads as tasks, one each, before TensorFlow begins; and nothing where it would not help or is too late."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os
os.sched_getaffinity = lambda process: set(range({cores}))
import tensorflow as tf
{before}
from fewshot.training.threads import a_thread_a_task
done = a_thread_a_task({tasks})
threads = tf.config.threading
print(done, threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads())
"""


def found(*, tasks: int, cores: int = 4, before: str = "", **variables: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("TF_NUM")} | variables
    code = CODE.format(tasks=tasks, cores=cores, before=before)
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_every_task_has_a_thread_where_there_are_as_many_tasks_as_cores() -> None:
    assert found(tasks=4, before='from fewshot import read_recipe, train; read_recipe("demo")') == "True 1 4"


@pytest.mark.parametrize(
    "given",
    [
        {"tasks": 3},
        {"tasks": 1, "cores": 1},
        {"tasks": 4, "before": "tf.constant(1)"},
        {"tasks": 4, "TF_NUM_INTRAOP_THREADS": "2"},
        {"tasks": 4, "before": "tf.config.list_physical_devices = lambda kind: [kind]"},
    ],
    ids=["fewer tasks than cores", "one core", "too late", "said otherwise", "a GPU"],
)
def test_else_nothing_changes(given: dict[str, object]) -> None:
    assert found(**given).startswith("False")  # type: ignore[arg-type]
