"""Recipes: everything that decides a training run, typed and frozen.

A recipe is a TOML file with a table for each class below. `[learners.NAME.TABLE]` tables hold what a named learner
(maml, meta-sgd, ...) changes, so that one file serves the same task with every learner; `extends = "RECIPE"` takes all
that the file does not say from another. Functions elsewhere take the
tables they use, never the whole recipe.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from fewshot.data.source import Source, make_source
from fewshot.errors import RecipeError
from fewshot.meta.views import Views
from fewshot.tables import make_table, nearest
from fewshot.tasks.augment import Augmentation
from fewshot.training.recipe_tables import LearnerTable, NetworkTable, TasksTable, TrainingTable
from fewshot.training.shipped import recipe_tables

Table = dict[str, Any]
_FREE = ("learner.evaluation_steps", "learner.kept", "learner.draws")
"""What the weights of a run do not depend on, besides views."""


@dataclass(frozen=True)
class DataTable:
    """Where images come from and how regions are split.

    In TOML and JSON the table is flat: `source` is the name of a source, and its keys lie beside those of the split.

    Attributes:
        source: One of `fewshot.data.sources.SOURCES`, with its keys.
        split: `regions` keeps whole regions apart by name, `classes` whole classes; `published` is the split of the
            source's manifest, `random` deals out numbers of regions, and `clusters` too, but regions that look alike
            stay in one part.
        train: Regions to train on, `["*"]` for all that are named nowhere else; or a number of classes or regions.
        validation: Regions to choose the best checkpoint on; or a number.
        test: Regions to evaluate on by default; or a number. Empty where other data is meant for that.
        split_seed: Of a split by numbers.
    """

    source: Source
    split: Literal["regions", "classes", "published", "random", "clusters"] = "regions"
    train: tuple[str, ...] | int = ("*",)
    validation: tuple[str, ...] | int = ()
    test: tuple[str, ...] | int = ()
    split_seed: int = 0


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
    data: DataTable
    tasks: TasksTable = field(default_factory=TasksTable)
    augment: Augmentation = field(default_factory=Augmentation)
    network: NetworkTable = field(default_factory=NetworkTable)
    learner: LearnerTable = field(default_factory=LearnerTable)
    training: TrainingTable = field(default_factory=TrainingTable)
    views: Views = field(default_factory=Views)

    def as_tables(self) -> Table:
        """Return the recipe as plain tables, as JSON writes them."""
        tables = asdict(self)
        source = tables["data"].pop("source")
        tables["data"] = {"source": self.data.source.name, **source, **tables["data"]}
        return json.loads(json.dumps(tables))


TABLES = [f.name for f in fields(Recipe) if f.name not in ("name", "description", "learner_name")]


def read_recipe(name: str, *, learner: str | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply a learner and settings to it.

    Args:
        name: A shipped recipe's name, or the path of a TOML file.
        learner: One of the recipe's `[learners]`; the first one if None.
        settings: `table.key=value` in TOML's notation, applied last.

    Raises:
        RecipeError: if a name, key or value is unknown or of the wrong type.
    """
    tables = recipe_tables(name)
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
    where = f"Recipe {tables.get('name', '')}".rstrip()
    data = _make_data(tables.get("data", {}), where)
    known = {"description": "", **tables, "data": data}
    if "learner" in tables:
        known["learner"] = _of_today(tables["learner"])
    return make_table(Recipe, known, where, error=RecipeError)


def _of_today(learner: Any) -> Any:
    """Return `[learner]` as it is written today: `first_order = true` was what `backward = "first_order"` is."""
    if not isinstance(learner, Mapping) or not isinstance(learner.get("first_order"), bool):
        return learner
    kept = {key: value for key, value in learner.items() if key != "first_order"}
    return kept | {"backward": "first_order"} if learner["first_order"] else kept


def _make_data(table: Mapping[str, Any], where: str) -> DataTable:
    """Make `[data]` of its flat form."""
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}: data = {table!r}: expected a table.")
    ours = [f.name for f in fields(DataTable)]
    keys = {key: value for key, value in table.items() if key not in ours}
    source = make_source(table.get("source", "task_archives"), keys, where, besides=ours)
    split = {key: value for key, value in table.items() if key in ours}
    return make_table(DataTable, {**split, "source": source}, where, error=RecipeError, at="data")


def change_after_training(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change what a finished run's weights do not depend on: views, examples kept, steps and draws outside training.

    Settings are `table.key=value` in TOML's notation.

    Raises:
        RecipeError: if a setting is another, unknown or of the wrong type.
    """
    tables = recipe.as_tables()
    for setting in settings:
        path = setting.partition("=")[0].strip()
        if not path.startswith("views.") and path not in _FREE:
            raise RecipeError(
                f"--set {setting}: of a finished run only views.*, {', '.join(_FREE[:-1])} and {_FREE[-1]} can be "
                "changed; everything else needs a training of its own (`fewshot train ... --set`)."
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
        raise RecipeError(f"--set {setting}: a recipe has no table {table!r}.{nearest(table, TABLES)}")
    tables.setdefault(table, {})[key] = value
