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
from pathlib import Path
from typing import Any, Literal

from fewshot.data.source import Source, make_source
from fewshot.errors import RecipeError
from fewshot.meta import Views
from fewshot.tables import make_table, nearest
from fewshot.tasks.augment import Augmentation
from fewshot.training.shipped import recipe_text

Table = dict[str, Any]


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
class TasksTable:
    """The tasks that training draws.

    Attributes:
        target: `images`, each of one class; or `pixels`, each of a class of its own (segmentation).
        points: With pixels: labelled pixels of each class to keep in each support window; 0 for all.
        ways: Classes of a task; with pixels, a region has as many as it has.
        shots: Support examples a class, a list gives each class its own; with pixels, support windows.
        queries: Query examples a class; with pixels, query windows.
        labels: `task` numbers a task's classes 0..ways-1 at random; `global` is the class itself.
        disjoint_sources: Draw support and query from different patches or drawers.
        within_region: Probability that a task's classes come from one region.
        fixed_share: Share of the tasks that are the source's own fixed tasks.
        swap: Swap support and query of fixed tasks at random.
        validation_queries: Queries a class in validation and evaluation.
        evaluation_within_region: As `within_region`, for validation and evaluation.
    """

    target: Literal["images", "pixels"] = "images"
    points: int = 0
    ways: int = 5
    shots: tuple[int, ...] | int = 1
    queries: int = 1
    labels: Literal["task", "global"] = "task"
    disjoint_sources: bool = False
    within_region: float = 1.0
    fixed_share: float = 0.0
    swap: bool = False
    validation_queries: int = 1
    evaluation_within_region: float = 1.0


@dataclass(frozen=True)
class NetworkTable:
    """The network that is adapted.

    Attributes:
        kind: `conv4`, `mlp`, `resnet12` or `unet`.
        normalization: A kind of `fewshot.models.normalization`.
        filters: Of conv4.
        blocks: Of conv4.
        downsample: `pool` or `stride`, of conv4.
        readout: `flatten` or `average`, of conv4. (resnet12 averages, or keeps its pixels where these are labelled.)
        units: Of mlp's layers.
        widths: Filters of resnet12's blocks or unet's levels.
    """

    kind: Literal["conv4", "mlp", "resnet12", "unet"] = "conv4"
    normalization: str = "support"
    filters: int = 64
    blocks: int = 4
    downsample: Literal["pool", "stride"] = "pool"
    readout: Literal["flatten", "average"] = "flatten"
    units: tuple[int, ...] = (256, 128, 64, 64)
    widths: tuple[int, ...] = (64, 128, 256, 512)


@dataclass(frozen=True)
class LearnerTable:
    """How the learner adapts.

    Attributes:
        head: `fixed`, `shared` or `prototype`.
        restrict: A fixed head rules out classes that the support set does not show; the others always do.
        balanced: Each class of the support counts equally in the inner loss.
        rates: `constant` (MAML), `per_tensor` (MAML++) or `per_parameter` (Meta-SGD).
        rate: The inner rate, or where learned rates start.
        steps: Inner steps in training; 0 with prototypes is a prototypical network.
        evaluation_steps: Inner steps in validation and evaluation; 0 for as many as in training.
        first_order: Treat inner gradients as constants (FOMAML).
        adapts: `all`, `head` (ANIL) or `no_normalization`.
        clip_value: Clip inner gradients elementwise; 0 for no clipping.
        clip_norm: Clip the norm of inner gradients; 0 for no clipping.
    """

    head: Literal["fixed", "shared", "prototype"] = "fixed"
    restrict: bool = False
    balanced: bool = False
    rates: Literal["constant", "per_tensor", "per_parameter"] = "constant"
    rate: float = 0.01
    steps: int = 1
    evaluation_steps: int = 0
    first_order: bool = False
    adapts: Literal["all", "head", "no_normalization"] = "all"
    clip_value: float = 0.0
    clip_norm: float = 0.0


@dataclass(frozen=True)
class TrainingTable:
    """The outer loop.

    Attributes:
        updates: Meta-updates.
        meta_batch_size: Tasks in an update.
        meta_rate: Learning rate of the outer optimizer.
        schedule: `constant`, or `cosine` down to zero at the last update.
        warmup: Updates over which the rate rises from zero.
        weight_decay: Of AdamW, on kernels alone; 0 for plain Adam.
        clip_norm: Clip the norm of the meta-gradient; 0 for no clipping.
        label_smoothing: Share of the target spread over the task's classes.
        balanced: Each class of a task's queries counts equally in the loss.
        validate_every: Updates between validations.
        validation_tasks: Tasks in a validation.
        minutes: Stop after this time; 0 for no limit.
        seed: Of initial weights, tasks and augmentation.
        deterministic: Ask TensorFlow for deterministic operations.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
    """

    updates: int = 1000
    meta_batch_size: int = 4
    meta_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    label_smoothing: float = 0.0
    balanced: bool = False
    validate_every: int = 250
    validation_tasks: int = 100
    minutes: float = 0.0
    seed: int = 0
    deterministic: bool = False
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"


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


TABLES = {f.name: f for f in fields(Recipe) if f.name not in ("name", "description", "learner_name")}


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
    where = f"Recipe {tables.get('name', '')}".rstrip()
    data = _make_data(tables.get("data", {}), where)
    return make_table(Recipe, {"description": "", **tables, "data": data}, where, error=RecipeError)


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
