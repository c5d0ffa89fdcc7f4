"""The house plan, enforced: a room imports only from the rooms named in its row of `ROWS`.

The rows are those of `docs/architecture.md`. Imports are read from the source, inside functions and `TYPE_CHECKING`
too, so a forbidden one fails here whether or not anything runs it.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("fewshot", "serving", "cli")
ANYTHING = "*"
EVERYTHING = "everything"
PLAN = ROOT / "docs" / "architecture.md"
GROUND = ("fewshot.files", "fewshot.html", "fewshot.public", "fewshot.tables")
"""Whoever may raise our errors may use these."""


@dataclass(frozen=True)
class Row:
    """What the files at `place` may import: rooms of ours, and packages of others besides the standard library.

    A row's `lazily` packages may be imported inside functions only: they are heavy, and few callers need them.
    """

    place: str
    rooms: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    lazily: tuple[str, ...] = ()


def read_plan(text: str) -> tuple[Row, ...]:
    """Read the rows of the plan's table: place, purpose, rooms, packages, packages inside functions."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:2] == "| "]
    rows = []
    for place, _, rooms, packages, lazily in (line + [""] * (5 - len(line)) for line in lines[1:]):
        named = OURS if rooms == EVERYTHING else tuple(map(full_name, rooms.split()))
        rows.append(Row(place.strip("`"), named, tuple(packages.split()), tuple(lazily.split())))
    return tuple(rows)


def full_name(room: str) -> str:
    """The module that a room is called in the plan: `fewshot.geo` for `geo`, `serving.graph` for `serving/graph`."""
    return room.replace("/", ".") if room.split("/")[0] in OURS else f"fewshot.{room.replace('/', '.')}"


ROWS = read_plan(PLAN.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Import:
    """One imported module: its full name, where it stands, and whether it is inside a function."""

    module: str
    line: int
    lazy: bool


def source_files() -> list[str]:
    """Paths of every module of ours, from the root."""
    files = [path for wing in ("fewshot", "serving") for path in (ROOT / wing).rglob("*.py")]
    files += [path for path in [ROOT / "cli.py"] if path.exists()]
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


def read_imports(place: str, source: str) -> list[Import]:
    """Every import of a file, `from` imports of ours taken down to the module or name they bring."""
    package = place.removesuffix(".py").split("/")[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, *, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            whole = module.split(".")[0] not in OURS
            names = [module] if whole else [f"{module}.{alias.name}" for alias in node.names]
            found.extend(Import(name, node.lineno, lazy) for name in names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.append(Import(first.value, node.lineno, lazy))
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, lazy=inside)

    visit(ast.parse(source, filename=place), lazy=False)
    return found


def row_of(place: str) -> Row | None:
    """The most specific row that a file lies in."""
    rows = [row for row in ROWS if place == row.place or place.startswith(row.place + "/")]
    return max(rows, key=lambda row: len(row.place), default=None)


def room_of(place: str) -> str:
    """The room of a file, as a module's name: `fewshot.geo` for `fewshot/geo/bands.py`."""
    parts = place.removesuffix(".py").split("/")
    return ".".join(parts[:2]) if len(parts) > 1 and parts[1] != "__init__" else parts[0]


def lies_in(module: str, room: str) -> bool:
    """Whether a module is a room or inside it."""
    return module == room or module.startswith(room + ".")


def is_allowed(imported: Import, place: str, row: Row) -> bool:
    """Whether a row allows an import."""
    top = imported.module.split(".")[0]
    if top in OURS:
        own = () if place == "fewshot/__init__.py" else (room_of(place),)
        small = GROUND if "fewshot.errors" in row.rooms else ()
        return any(lies_in(imported.module, room) for room in (*row.rooms, *own, *small))
    if top in sys.stdlib_module_names or ANYTHING in row.packages or top in row.packages:
        return True
    return imported.lazy and top in row.lazily


def violations(place: str, source: str) -> list[str]:
    """One message for each import of a file that its row does not allow."""
    row = row_of(place)
    if row is None:
        return [f"{place}: no row of the house plan covers this file; move it to a room or add a row."]
    rooms = ", ".join((*row.rooms, room_of(place)))
    packages = ", ".join(row.packages) or "none"
    lazily = f"; inside functions only: {', '.join(row.lazily)}" if row.lazily else ""
    return [
        f"{place}:{imported.line}: imports {imported.module}; allowed here are the rooms {rooms} "
        f"and the packages {packages}{lazily}."
        for imported in read_imports(place, source)
        if not is_allowed(imported, place, row)
    ]


@pytest.mark.parametrize("place", source_files())
def test_each_file_imports_only_what_its_room_may(place: str) -> None:
    found = violations(place, (ROOT / place).read_text(encoding="utf-8"))
    assert not found, "\n" + "\n".join(found)


def needs_tensorflow(row: Row) -> bool:
    """Whether a row may import a room that is made with TensorFlow as a whole."""
    return any(
        "tensorflow" in other.packages for other in ROWS for room in row.rooms if other.place == room.replace(".", "/")
    )


def test_nothing_but_the_lightest_files_is_read_to_import_the_earth_wing() -> None:
    """Mapping, data and drawing tasks work without waiting for TensorFlow to load, and where it is broken."""
    light = [
        place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for place in source_files()
        if (row := row_of(place)) and not {"tensorflow", ANYTHING} & set(row.packages) and not needs_tensorflow(row)
    ]
    code = (
        "import importlib, json, sys\n"
        f"for name in {light!r}: importlib.import_module(name)\n"
        "print(json.dumps([name for name in ('tensorflow', 'keras', 'tensorflow_datasets') if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [], f"Importing {', '.join(light)} loads these."


@pytest.mark.parametrize(
    ("place", "source", "named"),
    [
        ("fewshot/models/conv4.py", "from fewshot.geo import bands", "fewshot.geo.bands"),
        ("fewshot/models/conv4.py", "def f():\n    import fewshot.tasks.sampler", "fewshot.tasks.sampler"),
        ("fewshot/models/conv4.py", "from fewshot import training", "fewshot.training"),
        ("fewshot/models/conv4.py", "from ..geo import bands", "fewshot.geo.bands"),
        ("fewshot/models/conv4.py", "import fewshot", "fewshot"),
        ("fewshot/geo/bands.py", "import keras.ops", "keras.ops"),
        ("fewshot/geo/windows.py", "import rasterio", "rasterio"),
        ("fewshot/data/sources/sine.py", "from tensorflow import math", "tensorflow"),
        ("fewshot/data/sources/omniglot.py", "import tensorflow_datasets as tfds", "tensorflow_datasets"),
        ("fewshot/data/region.py", "def f():\n    import tensorflow_datasets", "tensorflow_datasets"),
        ("serving/server/handlers.py", "from serving.graph import export", "serving.graph.export"),
        ("fewshot/tasks/sampler.py", "import tensorflow as tf", "tensorflow"),
        ("fewshot/mapping/predict/groups.py", "import importlib\nimportlib.import_module('keras')", "keras"),
        ("fewshot/meta/adapt.py", "import cli", "cli"),
        ("fewshot/errors.py", "import numpy", "numpy"),
        ("fewshot/exported/client.py", "from fewshot.training import build", "fewshot.training.build"),
        ("fewshot/training/train.py", "from serving.graph import export", "serving.graph.export"),
        ("cli.py", "from fewshot.training import train", "fewshot.training.train"),
        ("fewshot/commands/train.py", "def f():\n    import tensorflow", "tensorflow"),
        ("fewshot/new_room/file.py", "import os", "no row"),
    ],
)
def test_a_forbidden_import_is_caught_and_explained(place: str, source: str, named: str) -> None:
    (message,) = violations(place, source)
    assert message.startswith(place)
    assert named in message


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("fewshot/meta/learner.py", "import keras\nfrom fewshot.models import conv4\nfrom .adapt import adapt"),
        ("fewshot/data/sources/omniglot.py", "def f():\n    import tensorflow_datasets"),
        ("fewshot/geo/rasters.py", "import rasterio.windows\nfrom fewshot.geo import bands"),
        ("fewshot/tasks/stream.py", "import tensorflow as tf"),
        ("serving/graph/export.py", "from fewshot.training import build"),
        ("fewshot/commands/train.py", "import click\nfrom fewshot.training import train\nimport serving.graph.export"),
        ("cli.py", "from fewshot.commands import main"),
    ],
)
def test_what_the_plan_allows_passes(place: str, source: str) -> None:
    assert violations(place, source) == []


def test_every_folder_of_modules_is_a_package() -> None:
    bare = {Path(place).parent.as_posix() for place in source_files() if "/" in place}
    bare = {folder for folder in bare if not (ROOT / folder / "__init__.py").exists()}
    assert bare == set(), "These lack an __init__.py with a line on what the room is for."


def drawn_imports() -> set[tuple[str, str]]:
    """Rooms and what they are drawn to import, as modules' names: the arrows of the plan's first drawing."""
    drawing = PLAN.read_text(encoding="utf-8").split("```mermaid\n")[1].split("```")[0]
    named = dict(re.findall(r'(\w+)\["([^"]+)"\]', drawing))
    chains = [re.findall(r"\w+", re.sub(r'\["[^"]+"\]', "", line)) for line in drawing.splitlines() if "-->" in line]
    arrows = {(below, above) for chain in chains for below, above in itertools.pairwise(chain)}
    return {
        (full_name(named.get(above, above)), full_name(room))
        for below, above in arrows
        for room in named.get(below, below).split(", ")
    }


def test_the_drawing_shows_only_imports_that_the_table_allows() -> None:
    allowed = {full_name(row.place): {*row.rooms, *GROUND} for row in ROWS}
    drawn = drawn_imports()
    assert len(drawn) > 12
    wrong = {pair for pair in drawn if not any(lies_in(pair[1], room) for room in allowed[pair[0]])}
    assert wrong == set()
