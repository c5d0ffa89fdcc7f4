"""The recipes that ship with the program, as text: listed and shown without waiting for TensorFlow."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fewshot.errors import RecipeError
from fewshot.tables import nearest

PAPERS = "papers/"
"""Before the name of a recipe that has learners as their papers have them."""


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the program, those of the papers' own settings last."""
    folder = resources.files("fewshot.training") / "recipes"
    return [
        *sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml")),
        *sorted(PAPERS + Path(entry.name).stem for entry in (folder / PAPERS).iterdir()),
    ]


def recipe_text(name: str) -> str:
    """Return a recipe's TOML: one that ships with the program, or a file.

    Raises:
        RecipeError: if there is none of that name.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise RecipeError(f"There is no recipe file {name}.")
        return Path(name).read_text(encoding="utf-8")
    known = recipe_names()
    if name not in known:
        raise RecipeError(f"Unknown recipe {name!r}.{nearest(name, known)} `fewshot recipes` lists them all.")
    return (resources.files("fewshot.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def recipe_tables(name: str) -> dict[str, Any]:
    """Return a recipe's tables, laid over those of the recipe that it extends.

    Args:
        name: Of a recipe that ships with the program, or of a file.

    Raises:
        RecipeError: if there is none of that name, it is not TOML, or recipes extend each other in a circle.
    """
    tables, names = _parsed(name), [name]
    while (base := tables.pop("extends", None)) is not None:
        if not isinstance(base, str) or base in names:
            raise RecipeError(f"Recipe {name}: extends = {base!r}: expected another recipe, or a .toml file.")
        names.append(base)
        tables = _laid_over(_parsed(base), tables)
    return tables


def _parsed(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(recipe_text(name))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"Recipe {name} is not valid TOML: {error}.") from None


def _laid_over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with changes, table by table down to single values."""
    found = dict(base)
    for key, value in changes.items():
        below = found.get(key)
        found[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return found


def print_recipes() -> None:
    """Print the shipped recipes with their learners."""
    table = Table()
    for column in ("recipe", "learners", "what it does"):
        table.add_column(column, no_wrap=column == "recipe")
    for name in recipe_names():
        recipe = recipe_tables(name)
        table.add_row(name, ", ".join(recipe.get("learners", {})), recipe.get("description", ""))
    Console().print(table)
