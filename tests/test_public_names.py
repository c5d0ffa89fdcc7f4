"""What a package says is public is what it shows, no more and no less."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["fewshot", *sorted(f"fewshot.{path.parent.name}" for path in (ROOT / "fewshot").glob("*/__init__.py"))]


def shown_names(package: ModuleType) -> set[str]:
    """Public names that are not modules, lazy ones included."""
    names = {name for name in {*dir(package), *vars(package)} if not name.startswith("_")}
    return {name for name in names if not isinstance(getattr(package, name), ModuleType)} - {"annotations"}


@pytest.mark.parametrize("name", PACKAGES)
def test_all_lists_the_public_names_and_only_those(name: str) -> None:
    package = importlib.import_module(name)
    declared = list(getattr(package, "__all__", []))
    for public in declared:  # resolves the lazy ones
        getattr(package, public)
    modules = {public for public in declared if isinstance(getattr(package, public), ModuleType)}
    assert shown_names(package) == set(declared) - modules
    assert modules == set(), f"{name}.__all__ names modules; name what they define."


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_without_repeats(name: str) -> None:
    declared = list(getattr(importlib.import_module(name), "__all__", []))
    constants = [public for public in declared if public.isupper()]
    classes = [public for public in declared if public[0].isupper() and not public.isupper()]
    others = [public for public in declared if public[0].islower()]
    # The order that ruff's RUF022 gives: constants, classes, functions, each by name.
    assert declared == sorted(constants) + sorted(classes) + sorted(others)
    assert len(set(declared)) == len(declared)


def test_the_package_has_public_names_and_a_docstring() -> None:
    package = importlib.import_module("fewshot")
    assert package.__all__
    assert package.__doc__


def test_importing_the_package_alone_is_quick() -> None:
    """`import fewshot`, and so `fewshot --help`, does not wait for TensorFlow."""
    code = "import sys, fewshot; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr or "import fewshot loads TensorFlow or Keras."
