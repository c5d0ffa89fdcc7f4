"""Graphs that run as they were traced, for work that is a first call more often than it is a long run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

_REWRITING = "disable_meta_optimizer"


@contextmanager
def as_traced() -> Iterator[None]:
    """Let TensorFlow run graphs of the CPU as they are; with a GPU it goes on rewriting them.

    Of a meta-update's graph the rewriting takes as long as the tracing, and makes no update faster (docs/results.md,
    "Speed of a meta-update").
    """
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    before = tf.config.optimizer.get_experimental_options().get(_REWRITING, False)
    tf.config.optimizer.set_experimental_options({_REWRITING: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_REWRITING: before})
