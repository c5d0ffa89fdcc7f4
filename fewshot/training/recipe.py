"""Recipes: everything that decides a training run, typed and frozen.

A recipe is a TOML file with a table for each class below. `[learners.NAME.TABLE]` tables hold what a named learner
(maml, meta-sgd, ...) changes, so that one file serves the same task with every learner. Functions elsewhere take the
tables they use, never the whole recipe.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from fewshot.errors import RecipeError
from fewshot.meta.views import Views
from fewshot.tables import make_table, nearest
from fewshot.tasks.augment import Augmentation
from fewshot.training.recipe_tables import LearnerTable, NetworkTable, TasksTable, TrainingTable

Table = dict[str, Any]


@dataclass(frozen=True)
class DataTable:
    """Where images come from and how regions are split.

    Attributes:
        source: `omniglot` (the official zips or folders), `omniglot_tfds` (TensorFlow Datasets; --data is its folder),
            `task_archives`, `class_folders`, `sen12ms` (its published layout, or records made of it by
            `fewshot data prepare`), `deepglobe`, `scenes` (a scenes.toml that lists rasters and their labels),
            `synthetic` (small simulated patches) or `sine`.
        size: Pixels of an image's side; 0 leaves images as they are.
        window: Pixels of the source that become one image (sen12ms, deepglobe); 0 for the source's own.
        bands: Bands in the network's order (sen12ms); empty for all of Sentinel-1 and 2.
        purity: Least share of a window's pixels that must be of its most common class (sen12ms patches).
        scale: What one unit of a picture is worth (class_folders), such as 1e-4 for reflectance x 10,000; 0 for 8-bit
            pictures, whose 255 is 1.
        simulate: Regions of the simulated Earth to train on where no --data is named (sen12ms); 0 for none.
        rotations: Take each class's quarter turns as further classes (Omniglot).
        split: `regions` keeps whole regions apart by name, `classes` whole classes; `published` is the split of the
            source's manifest, `random` deals out numbers of regions, and `clusters` too, but regions that look alike
            stay in one part.
        train: Regions to train on, `["*"]` for all that are named nowhere else; or a number of classes or regions.
        validation: Regions to choose the best checkpoint on; or a number.
        test: Regions to evaluate on by default; or a number. Empty where other data is meant for that.
        split_seed: Of a split by numbers.
        on_damaged: `raise`, or `skip` and count.
    """

    source: Literal[
        "omniglot",
        "omniglot_tfds",
        "task_archives",
        "class_folders",
        "sen12ms",
        "deepglobe",
        "scenes",
        "synthetic",
        "sine",
    ] = "task_archives"
    size: int = 0
    window: int = 0
    bands: tuple[str, ...] = ()
    purity: float = 0.0
    scale: float = 0.0
    simulate: int = 0
    rotations: bool = False
    split: Literal["regions", "classes", "published", "random", "clusters"] = "regions"
    train: tuple[str, ...] | int = ("*",)
    validation: tuple[str, ...] | int = ()
    test: tuple[str, ...] | int = ()
    split_seed: int = 0
    on_damaged: Literal["raise", "skip"] = "raise"


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        name: Of the recipe.
        description: One line for `fewshot recipes`.
        learner_name: Which of the recipe's learners this is.
    """

    name: str
    description: str
    learner_name: str
    data: DataTable = field(default_factory=DataTable)
    tasks: TasksTable = field(default_factory=TasksTable)
    augment: Augmentation = field(default_factory=Augmentation)
    network: NetworkTable = field(default_factory=NetworkTable)
    learner: LearnerTable = field(default_factory=LearnerTable)
    training: TrainingTable = field(default_factory=TrainingTable)
    views: Views = field(default_factory=Views)

    def as_tables(self) -> Table:
        """Return the recipe as plain tables, as JSON writes them."""
        return json.loads(json.dumps(asdict(self)))


TABLES = {f.name: f for f in fields(Recipe) if f.name not in ("name", "description", "learner_name")}


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the program."""
    folder = resources.files("fewshot.training") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


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


def read_recipe(name: str, *, learner: str | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply a learner and settings to it.

    Args:
        name: A shipped recipe's name, or the path of a TOML file.
        learner: One of the recipe's `[learners]`; the first one if None.
        settings: `table.key=value` in TOML's notation, applied last.

    Raises:
        RecipeError: if a name, key or value is unknown or of the wrong type.
    """
    try:
        tables = tomllib.loads(recipe_text(name))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"Recipe {name} is not valid TOML: {error}.") from None
    learners = tables.pop("learners", {})
    chosen = learner or next(iter(learners), "custom")
    if learners and chosen not in learners:
        hint = nearest(chosen, list(learners))
        raise RecipeError(f"Recipe {name} has no learner {chosen!r}.{hint} It has: {', '.join(learners)}.")
    for table, changes in learners.get(chosen, {}).items():
        tables.setdefault(table, {}).update(changes)
    for setting in settings:
        _apply(tables, setting)
    return make_recipe({"name": Path(name).stem, "learner_name": chosen, **tables})


def make_recipe(tables: Mapping[str, Any]) -> Recipe:
    """Make a recipe from plain tables.

    Raises:
        RecipeError: if a key is unknown or a value is of the wrong type.
    """
    for key in tables:
        if key not in {f.name for f in fields(Recipe)}:
            raise RecipeError(f"A recipe has no table {key!r}.{nearest(key, list(TABLES))}")
    return make_table(
        Recipe, {"description": "", **tables}, f"Recipe {tables.get('name', '')}".rstrip(), error=RecipeError
    )


def change_after_training(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change what a finished run's weights do not depend on: its views, and its inner steps outside training.

    Args:
        recipe: Of the run.
        settings: `table.key=value` in TOML's notation.

    Raises:
        RecipeError: if a setting is another, unknown or of the wrong type.
    """
    tables = recipe.as_tables()
    for setting in settings:
        path = setting.partition("=")[0].strip()
        if not path.startswith("views.") and path != "learner.evaluation_steps":
            raise RecipeError(
                f"--set {setting}: of a finished run only views.* and learner.evaluation_steps can be changed; "
                "everything else needs a training of its own (`fewshot train ... --set`)."
            )
        _apply(tables, setting)
    return make_recipe(tables)


def differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """Return `table.key: ours against theirs` for every setting in which two recipes differ."""
    found = []
    left, right = _flat(ours.as_tables()), _flat(theirs.as_tables())
    for key in sorted({*left, *right}):
        if left.get(key) != right.get(key):
            found.append(f"{key}: {left.get(key)!r} against {right.get(key)!r}")
    return found


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _apply(tables: Table, setting: str) -> None:
    """Apply one `table.key=value` to plain tables."""
    path, equals, text = setting.partition("=")
    table, dot, key = path.strip().partition(".")
    if not equals or not dot:
        raise RecipeError(f"--set expects table.key=value, such as training.updates=500; received {setting!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word
    if table not in TABLES:
        raise RecipeError(f"--set {setting}: a recipe has no table {table!r}.{nearest(table, list(TABLES))}")
    tables.setdefault(table, {})[key] = value
