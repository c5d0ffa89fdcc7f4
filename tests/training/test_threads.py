"""As many threads as tasks, one each, before TensorFlow begins; and nothing where it would not help or is too late."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import os
cores = 4
os.sched_getaffinity = lambda process: set(range(cores))
import tensorflow as tf
from fewshot import read_recipe, train
from fewshot.training.threads import a_thread_a_task

def say(case, tasks):
    done, threads = a_thread_a_task(tasks), tf.config.threading
    print(case, done, threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads(), sep=",")

read_recipe("demo")
say("fewer tasks than cores", 3)
cores = 1
say("one core", 1)
cores = 4
os.environ["TF_NUM_INTRAOP_THREADS"] = "2"
say("said otherwise", 4)
del os.environ["TF_NUM_INTRAOP_THREADS"]
devices, tf.config.list_physical_devices = tf.config.list_physical_devices, lambda kind: [kind]
say("a GPU", 4)
tf.config.list_physical_devices = devices
say("as many tasks as cores", 4)
tf.constant(1)
cores = 2
say("too late", 2)
"""


def test_every_task_has_a_thread_where_that_helps_and_nothing_changes_elsewhere() -> None:
    """In one process, for TensorFlow takes long to load."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("TF_NUM")}
    done = subprocess.run([sys.executable, "-c", CODE], env=env, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == [
        "fewer tasks than cores,False,0,0",
        "one core,False,0,0",
        "said otherwise,False,0,0",
        "a GPU,False,0,0",
        "as many tasks as cores,True,1,4",
        "too late,False,1,4",
    ]
