"""Threads for work on several tasks at once."""

from __future__ import annotations

import os

import tensorflow as tf

_SAID = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def a_thread_a_task(tasks: int) -> bool:
    """Give each task of a meta-batch a thread of its own, in place of dividing every operation among all of them.

    An update of as many tasks as there are cores, or more, then takes half to six sevenths of the time
    (docs/results.md, "Speed of a meta-update"). It holds for the whole process, from the first operation on, so
    a command asks for it, not `train`. Nothing changes with a GPU, with fewer tasks than cores, after the first
    operation, or where TF_NUM_INTRAOP_THREADS or TF_NUM_INTEROP_THREADS says otherwise.

    Args:
        tasks: Of a meta-batch.

    Returns:
        Whether it was done.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = any(name in os.environ for name in _SAID)
    if said or cores < 2 or tasks < cores or tf.config.list_physical_devices("GPU"):  # noqa: PLR2004
        return False
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
    except RuntimeError:  # operations have run
        return False
    return True
