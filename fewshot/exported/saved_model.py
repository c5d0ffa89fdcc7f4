"""Loads a SavedModel to ask it; nobody asks one for its gradient."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

_UNWANTED = "Importing a function (%s) with ops with unsaved custom gradients"


def load_saved_model(folder: Path) -> Any:
    """Return what `tf.saved_model.load` gives.

    It warns of each function that computes a meta-gradient's parts, dozens of them, that TensorFlow could not
    differentiate it once more: true, and nothing to those who ask for answers.

    Args:
        folder: That holds `saved_model.pb`.

    Raises:
        OSError: if there is no model, or part of it is missing.
        ValueError: if it is damaged.
        tf.errors.OpError: if TensorFlow cannot load it.
    """
    import tensorflow as tf  # servers' clients do without it

    logger = logging.getLogger("absl")
    logger.addFilter(_is_wanted)
    try:
        return tf.saved_model.load(str(folder))
    finally:
        logger.removeFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_UNWANTED)
