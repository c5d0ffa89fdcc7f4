"""Running without graphs: tracing takes longer than the few updates of a run whose figures nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_graphs() -> Iterator[None]:
    """Trace no graph; what is exported meanwhile would hold none."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
