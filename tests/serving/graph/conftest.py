"""Exports that only the graph's own tests look at, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exported.models import VIEWS, Exported, exported_once


@pytest.fixture(scope="session")
def seeing(make_pictures_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A learner that sees each example in eight views."""
    return exported_once(tmp_path_factory, "seeing", lambda: make_pictures_run(*VIEWS))
