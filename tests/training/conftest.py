"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def eager() -> Iterator[None]:
    """Graphs are not traced: it takes longer than the few updates of a run whose figures nobody reads."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
