"""A room's public names, loaded when they are first used, so that importing a room does not wait for what it needs.

The names are listed once, in a stub beside the room's `__init__.py`, where type checkers and editors find them too:

    # fewshot/geo/__init__.pyi
    from fewshot.geo.windows import Window as Window

    # fewshot/geo/__init__.py
    __all__, __getattr__, __dir__ = public.names(__name__, __file__)
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path


def names(room: str, file: str) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """Return what a room's module needs to offer the names of its stub: `__all__`, `__getattr__` and `__dir__`.

    Args:
        room: The module's name.
        file: Its file; the stub is beside it.
    """
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.name: str(node.module) for node in imports for alias in node.names}
    listed = sorted(homes, key=lambda name: (not name.isupper(), name))

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return listed, load, lambda: listed
