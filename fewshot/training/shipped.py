"""The recipes that ship with the program, as text: listed and shown without waiting for TensorFlow."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

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


def print_recipes() -> None:
    """Print the shipped recipes with their learners."""
    table = Table()
    for column in ("recipe", "learners", "what it does"):
        table.add_column(column, no_wrap=column == "recipe")
    for name in recipe_names():
        recipe = tomllib.loads(recipe_text(name))
        table.add_row(name, ", ".join(recipe.get("learners", {})), recipe.get("description", ""))
    Console().print(table)
