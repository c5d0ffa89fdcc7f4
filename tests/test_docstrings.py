"""What public functions say: `Args:` where there are three parameters or more, `Raises:` where one raises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FEW = 2
"""Parameters that a docstring may leave to their names and types."""

PLACES = sorted(
    path.relative_to(ROOT).as_posix() for wing in ("fewshot", "serving") for path in (ROOT / wing).rglob("*.py")
)

LACKING: frozenset[str] = frozenset(
    (
        "fewshot/data/catalogue/listing.py",
        "fewshot/data/earth/climate.py",
        "fewshot/data/earth/people.py",
        "fewshot/data/images.py",
        "fewshot/data/region.py",
        "fewshot/data/sources/sen12ms.py",
        "fewshot/data/sources/sen12ms_index.py",
        "fewshot/data/splits.py",
        "fewshot/demo/mapping.py",
        "fewshot/demo/serving.py",
        "fewshot/exported/adapted.py",
        "fewshot/exported/client.py",
        "fewshot/exported/status.py",
        "fewshot/geo/bands.py",
        "fewshot/geo/labels.py",
        "fewshot/geo/windows.py",
        "fewshot/geo/writing.py",
        "fewshot/mapping/classify.py",
        "fewshot/mapping/predict/blend.py",
        "fewshot/mapping/product/outputs.py",
        "fewshot/mapping/product/report.py",
        "fewshot/mapping/region_map.py",
        "fewshot/mapping/scene.py",
        "fewshot/mapping/support/adaptation.py",
        "fewshot/mapping/support/examples.py",
        "serving/graph/checks.py",
        "serving/graph/export.py",
        "serving/graph/signatures.py",
        "serving/graph/warmup_records.py",
        "serving/server/handlers.py",
        "serving/server/inference.py",
        "serving/server/metrics.py",
        "serving/server/servables.py",
    )
)
"""Files whose docstrings are not written yet; this list may only become shorter."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions and methods whose names do not begin with `_`, and `__init__`.

    A method that overrides one of a class of ours is left out: what the other says holds for it.
    """
    classes = ours() | {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            before = {method.name for base in bases_of(node, classes) for method in methods(base)} - {"__init__"}
            for method in methods(node):
                if method.name not in before and (not method.name.startswith("_") or method.name == "__init__"):
                    yield f"{node.name}.{method.name}", method


@cache
def ours() -> dict[str, ast.ClassDef]:
    """Every class of ours by its name, which no other has."""
    trees = [ast.parse((ROOT / place).read_text(encoding="utf-8")) for place in PLACES]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def bases_of(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """The classes of ours that a class inherits from."""
    for name in map(ast.unparse, node.bases):
        if name in classes and classes[name] is not node:
            yield classes[name]
            yield from bases_of(classes[name], classes)


def methods(node: ast.ClassDef) -> list[Function]:
    """The methods that a class defines itself."""
    return [method for method in node.body if isinstance(method, Function)]


def parameters(function: Function) -> list[str]:
    """Names of the parameters, without self and cls, `*args` and `**kwargs`."""
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def raises(function: Function) -> bool:
    """Whether a function itself raises an error of its own, not one that it caught and passes on as it is."""

    def own(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
                yield child
                yield from own(child)

    named = [node.exc for node in own(function) if isinstance(node, ast.Raise) and node.exc is not None]
    return any(ast.unparse(error).split("(")[0] not in ("NotImplementedError", "AttributeError") for error in named)


def is_command(function: Function) -> bool:
    """Whether click calls it, whose options say in their help what they are."""
    return any("command" in ast.unparse(decorator) for decorator in function.decorator_list)


def lacking(source: str) -> list[str]:
    """What the docstrings of a file lack."""
    found = []
    for name, function in public_functions(ast.parse(source)):
        text = ast.get_docstring(function) or ""
        told = "Args:" in text or "Args and " in text  # "Args and errors are those of ..."
        if is_command(function):
            continue
        if len(parameters(function)) > FEW and not told:
            found.append(f"{function.lineno}: {name} has {len(parameters(function))} parameters and no Args:")
        if raises(function) and "Raises:" not in text and "errors are" not in text:
            found.append(f"{function.lineno}: {name} raises and has no Raises:")
    return found


@pytest.mark.parametrize("place", PLACES)
def test_public_functions_say_what_they_take_and_raise(place: str) -> None:
    found = lacking((ROOT / place).read_text(encoding="utf-8"))
    if place in LACKING:
        assert found, f"{place} lacks nothing any more: take it off LACKING."
        return
    assert not found, "\n".join(f"{place}:{line}" for line in found)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("def f(a, b, c): ...", ["f has 3 parameters"]),
        ("def f(a, *, b, c):\n    'Do.'", ["f has 3 parameters"]),
        ("def f(a, b, c):\n    '''Do.\n\n    Args:\n        a: It.\n    '''", []),
        ("def f(a, b):\n    raise ValueError('x')", ["f raises"]),
        ("def f():\n    try: g()\n    except OSError: raise", []),
        ("def f():\n    def g():\n        raise ValueError", []),
        ("class C:\n    def m(self, a, b): ...\n    def n(self, a, b, c): ...", ["C.n has 3"]),
        ("class A:\n    def m(self): ...\nclass B(A):\n    def m(self, a, b, c): ...", []),
        ("class _C:\n    def n(self, a, b, c): ...", []),
        ("def _f(a, b, c): ...", []),
    ],
)
def test_what_is_lacking(source: str, wanted: list[str]) -> None:
    found = lacking(source)
    assert len(found) == len(wanted)
    assert all(words in line for words, line in zip(wanted, found, strict=True))
