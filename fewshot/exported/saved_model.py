"""Loads a SavedModel to ask it; nobody asks one for its gradient."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_UNWANTED = "Importing a function (%s) with ops with unsaved custom gradients"


def load_saved_model(folder: Path) -> Any:
    """Return what `tf.saved_model.load` gives, without its warnings of gradients.

    Args:
        folder: That holds `saved_model.pb`.

    Raises:
        OSError: if there is no model, or part of it is missing.
        ValueError: if it is damaged.
        tf.errors.OpError: if TensorFlow cannot load it.
    """
    import tensorflow as tf  # servers' clients do without it

    with without_gradient_warnings():
        return tf.saved_model.load(str(folder))


@contextmanager
def without_gradient_warnings() -> Iterator[None]:
    """Load a graph that answers only.

    TensorFlow warns of each function that computes a part of a gradient, dozens of them, that it could not
    differentiate it once more: true, and nothing to those who ask for answers.
    """
    logger = logging.getLogger("absl")
    logger.addFilter(_is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_UNWANTED)
