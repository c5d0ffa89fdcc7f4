"""Graphs that run much as they were traced, for work that is a first call more often than it is a long run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

_REWRITES = (
    "arithmetic_optimization",
    "constant_folding",
    "function_optimization",
    "implementation_selector",
    "layout_optimizer",
    "loop_optimization",
    "remapping",
    "shape_optimization",
)


@contextmanager
def only_pruned() -> Iterator[None]:
    """Let TensorFlow prune graphs of the CPU, and rewrite them little further; with a GPU it goes on doing so.

    What only hands a tensor on is pruned too ("dependency optimization"): the gradient of pooling is oneDNN's own only
    where it follows the pooling itself.

    An unpruned meta-update of Conv-4 with pooling is a fifth to a quarter slower; all other rewriting makes the first
    one longer by up to a quarter and none after it faster (docs/results.md, "Speed of a meta-update").
    """
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(dict.fromkeys(_REWRITES, False))
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before.get(name, True) for name in _REWRITES})
