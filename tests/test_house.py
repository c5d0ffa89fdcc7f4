"""The shape of the house: how deep imports go, that they never run in a circle, and that files and names stay small.

Imports inside functions count as well. What is looked up by name in a list (a command, a source, a public name) is not
an import: whoever lists it does not depend on it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache, lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_DEEP = 10
MOST_LINES = 400
MOST_BODY = 40
JOBS = {"train", "map_scene"}
"""The two jobs, which read top to bottom."""


@lru_cache(maxsize=1)
def modules() -> dict[str, Path]:
    """Every module of ours by name."""
    files = [path for wing in ("fewshot", "serving") for path in (ROOT / wing).rglob("*.py")] + [ROOT / "cli.py"]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of ours that a module imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inner & modules().keys() or {node.module})
    return frozenset((found & modules().keys()) - {name})


def longest_chain(name: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The longest chain of imports that begins at a module."""
    if name in above:
        raise AssertionError("A circle of imports: " + " -> ".join((*above[above.index(name) :], name)))
    return _longest(name, above)


_CHAINS: dict[str, tuple[str, ...]] = {}


def _longest(name: str, above: tuple[str, ...]) -> tuple[str, ...]:
    if name not in _CHAINS:
        below = [longest_chain(other, (*above, name)) for other in imports(name)]
        _CHAINS[name] = (name, *max(below, key=len, default=()))
    return _CHAINS[name]


def test_imports_are_no_deeper_than_ten_and_never_run_in_a_circle() -> None:
    chain = max((longest_chain(name) for name in modules()), key=len)
    assert len(chain) <= MOST_DEEP, " > ".join(chain)


def test_no_name_of_a_class_means_two_things() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for name in modules():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


@pytest.mark.parametrize("name", sorted(modules()))
def test_files_and_functions_fit_a_page(name: str) -> None:
    lines = modules()[name].read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{name} has {lines} lines"
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in JOBS:
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= MOST_BODY, f"{name}.{node.name} has {length} lines"
