"""What a room says is public is what it shows, no more and no less, and importing it waits for nothing."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fewshot import public

ROOT = Path(__file__).resolve().parent.parent
ROOF = {"commands"}  # for the command line alone
ROOMS = [
    "fewshot",
    *sorted(f"fewshot.{name}" for name in {p.parent.name for p in (ROOT / "fewshot").glob("*/__init__.py")} - ROOF),
    "serving",
]
STUBS = sorted(
    path.relative_to(ROOT).as_posix() for wing in ("fewshot", "serving") for path in ROOT.glob(f"{wing}/**/*.pyi")
)
HEAVY = ("fewshot.models", "fewshot.meta")  # made of TensorFlow; every other room waits until it is needed
ABOVE = ("fewshot", "serving")  # their names are those of their rooms


def shown_names(package: ModuleType) -> set[str]:
    """Public names that are not modules, lazy ones included."""
    names = {name for name in {*dir(package), *vars(package)} if not name.startswith("_")}
    return {name for name in names if not isinstance(getattr(package, name), ModuleType)} - {"annotations"}


@pytest.mark.parametrize("name", ROOMS)
def test_all_lists_the_public_names_and_only_those(name: str) -> None:
    package = importlib.import_module(name)
    declared = list(package.__all__)
    for declared_name in declared:  # resolves the lazy ones
        getattr(package, declared_name)
    modules = {public for public in declared if isinstance(getattr(package, public), ModuleType)}
    assert declared, f"{name} offers nothing."
    assert shown_names(package) == set(declared) - modules
    assert modules == set(), f"{name}.__all__ names modules; name what they define."


@pytest.mark.parametrize("name", ROOMS)
def test_all_is_sorted_without_repeats(name: str) -> None:
    declared = list(importlib.import_module(name).__all__)
    constants = [public for public in declared if public.isupper()]
    classes = [public for public in declared if public[0].isupper() and not public.isupper()]
    others = [public for public in declared if public[0].islower()]
    # The order that ruff's RUF022 gives: constants, classes, functions, each by name.
    assert declared == sorted(constants) + sorted(classes) + sorted(others)
    assert len(set(declared)) == len(declared)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("stub", STUBS)
def test_a_stub_is_a_list_of_the_rooms_own_names(stub: str) -> None:
    """Nothing but `from module import name as name`, so that what runs and what type checkers read is one list."""
    room = Path(stub).parent.as_posix().replace("/", ".")
    seen = []
    for node in ast.parse((ROOT / stub).read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom) and node.module and not node.level, ast.unparse(node)
        assert room in ABOVE or node.module.startswith(f"{room}."), f"{stub}: {node.module} is another room's."
        for alias in node.names:
            assert alias.asname == alias.name, f"{stub}: write `{alias.name} as {alias.name}`, which is what is public."
            seen.append(alias.name)
    assert len(set(seen)) == len(seen)
    # Importing a module sets its name in the package, where it would hide the public name from then on.
    folder = (ROOT / stub).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert not modules & set(seen), f"{stub} gives a public name the name of a module."


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    listed, load, show = public.names("fewshot.geo", str(ROOT / "fewshot" / "geo" / "__init__.py"))
    assert listed == show()
    with pytest.raises(AttributeError, match=r"^module 'fewshot\.geo' has no attribute 'Widow'$"):
        load("Widow")


def test_importing_rooms_is_quick() -> None:
    """`import fewshot.training`, and so `fewshot --help`, does not wait for TensorFlow."""
    rooms = [name for name in ROOMS if name not in HEAVY]
    code = (
        "import importlib, json, sys\n"
        f"for name in {rooms!r}: importlib.import_module(name)\n"
        "print(json.dumps([name for name in ('tensorflow', 'keras', 'rasterio', 'numpy') if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [], f"Importing {', '.join(rooms)} loads these."
