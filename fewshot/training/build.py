"""From a recipe's tables to data, network, learner and optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from fewshot.data.omniglot import read_omniglot, read_omniglot_tfds, read_runs, with_rotations
from fewshot.data.patches import read_class_folders, read_task_archives
from fewshot.data.region import RegionSet, split_characters, split_regions
from fewshot.data.synthetic import simulate_patches
from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_head, mlp, resnet12
from fewshot.tasks.sources import FixedTasks, Mixture, RegionTasks, SineTasks, TaskSource
from fewshot.tasks.task import TaskSpec
from fewshot.training.recipe import DataTable, LearnerTable, NetworkTable, TasksTable, TrainingTable

SPLITS = ("train", "validation", "test")
BUILT_IN = ("synthetic", "sine")
"""Sources that need no files."""


def read_data(data: DataTable, paths: Sequence[Path]) -> RegionSet:
    """Read a recipe's data from the user's files.

    Raises:
        DataNotFoundError: if a path is missing, or none was given to a source that needs one.
    """
    if data.source == "synthetic":
        return simulate_patches()
    if data.source == "omniglot_tfds":
        return read_omniglot_tfds(paths[0] if paths else None, size=data.size or 28)
    if not paths:
        raise DataNotFoundError(
            f"This recipe reads {data.source} data from files, and none were named. Add --data PATH (several are "
            "allowed); `fewshot recipes show NAME` says where they come from."
        )
    for path in paths:
        if not path.exists():
            raise DataNotFoundError(f"There is no file or folder {path}, named with --data.")
    size = data.size or None
    if data.source == "omniglot":
        if len(paths) == 1 and "all_runs" in paths[0].name:
            return read_runs(paths[0], size=size or 28)
        return read_omniglot(paths, size=size or 28, on_damaged=data.on_damaged)
    if data.source == "task_archives":
        return read_task_archives(paths, size=size, on_damaged=data.on_damaged)
    if len(paths) > 1:
        raise DataNotFoundError(f"class_folders reads one folder of regions; {len(paths)} were named with --data.")
    return read_class_folders(paths[0], size=size, on_damaged=data.on_damaged)


def split_data(region_set: RegionSet, data: DataTable) -> dict[str, RegionSet]:
    """Split into train, validation and test as the recipe says; parts it leaves empty are left out.

    Raises:
        RecipeError: if the parts do not fit the kind of split.
    """
    parts = {name: getattr(data, name) for name in SPLITS}
    counted = [isinstance(part, int) for part in parts.values() if part]
    if data.split == "classes":
        if not all(counted):
            raise RecipeError("data.split = 'classes' needs numbers of classes in data.train, .validation and .test.")
        sizes = {name: part for name, part in parts.items() if part}
        made = split_characters(region_set, tuple(sizes.values()), seed=data.split_seed)
        split = dict(zip(sizes, made, strict=True))
    else:
        if any(counted):
            raise RecipeError("data.split = 'regions' needs names of regions in data.train, .validation and .test.")
        split = split_regions(region_set, {name: part for name, part in parts.items() if part})
    return {name: with_rotations(part) if data.rotations else part for name, part in split.items()}


def evaluation_spec(tasks: TasksTable) -> TaskSpec:
    """Return the specification of validation and test tasks."""
    return TaskSpec(
        tasks.ways,
        tasks.shots,
        tasks.validation_queries,
        labels=tasks.labels,
        disjoint_sources=tasks.disjoint_sources,
        within_region=tasks.evaluation_within_region,
    )


def training_source(tasks: TasksTable, data: DataTable, train: RegionSet | None) -> TaskSource:
    """Return what training draws its tasks from."""
    if data.source == "sine" or train is None:
        if not isinstance(tasks.shots, int):
            raise RecipeError("Sine tasks have one number of shots.")
        return SineTasks(tasks.shots, tasks.queries)
    spec = replace(evaluation_spec(tasks), queries=tasks.queries, within_region=tasks.within_region)
    if tasks.fixed_share == 0:
        return RegionTasks(train, spec)
    fixed = FixedTasks(train, swap=tasks.swap, labels=tasks.labels)
    if tasks.fixed_share >= 1:
        return fixed
    return Mixture([(fixed, tasks.fixed_share), (RegionTasks(train, spec), 1 - tasks.fixed_share)])


def build_body(network: NetworkTable, input_shape: Sequence[int]) -> keras.Model:
    """Build the network, from one example's shape to features."""
    if network.kind == "mlp":
        return mlp(input_shape, units=network.units, normalization=network.normalization)
    if network.kind == "resnet12":
        return resnet12(input_shape, filters=network.widths, normalization=network.normalization)
    return conv4(
        input_shape,
        filters=network.filters,
        blocks=network.blocks,
        normalization=network.normalization,
        downsample=network.downsample,
        readout=network.readout,
    )


@dataclass(frozen=True)
class Problem:
    """What a learner has to fit: the shape of an example and what is predicted of it.

    Attributes:
        input_shape: Of one example, (H, W, bands) or (1,).
        outputs: Global classes, regression targets, or the task's ways: the outputs of a fixed head.
        regression: Whether targets are numbers.
    """

    input_shape: tuple[int, ...]
    outputs: int
    regression: bool = False


def describe_problem(tasks: TasksTable, region_set: RegionSet | None) -> Problem:
    """Return what there is to fit in these tasks of these regions; sine waves where there are no regions."""
    if region_set is None:
        return Problem((1,), 1, regression=True)
    return Problem(region_set.store.shape, len(region_set.classes) if tasks.labels == "global" else tasks.ways)


def build_learner(network: NetworkTable, learner: LearnerTable, problem: Problem) -> MetaLearner:
    """Build the meta-learner, its weights freshly initialised."""
    return MetaLearner(
        build_body(network, problem.input_shape),
        make_head(learner.head, outputs=problem.outputs, restrict=learner.restrict),
        InnerRates(learner.rates, initial=learner.rate, steps=learner.steps),
        InnerLoop(
            steps=learner.steps,
            loss="squared_error" if problem.regression else "cross_entropy",
            first_order=learner.first_order,
            clip_value=learner.clip_value or None,
            clip_norm=learner.clip_norm or None,
        ),
        adapts=learner.adapts,
        evaluation_steps=learner.evaluation_steps or None,
    )


def build_optimizer(training: TrainingTable) -> keras.optimizers.Optimizer:
    """Build the outer optimizer with its schedule."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = training.meta_rate
    if training.schedule == "cosine":
        steps = max(training.updates - training.warmup, 1)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if training.warmup else training.meta_rate,
            steps,
            warmup_target=training.meta_rate if training.warmup else None,
            warmup_steps=training.warmup,
        )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=training.weight_decay, global_clipnorm=training.clip_norm or None
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "rate", "temperature", "share"])
    return optimizer


def outer_loss(training: TrainingTable, problem: Problem) -> keras.losses.Loss:
    """Return the loss of the queries."""
    if problem.regression:
        return keras.losses.MeanSquaredError()
    return TaskCrossEntropy(label_smoothing=training.label_smoothing)


class TaskCrossEntropy(keras.losses.Loss):
    """Cross-entropy of integer labels, smoothed over the classes that the task can answer with."""

    def __init__(self, *, label_smoothing: float = 0.0, name: str = "cross_entropy") -> None:
        """Make the loss; `label_smoothing` is the share of the target spread evenly."""
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss of each query, `[tasks, m]`, from labels `[tasks, m]` and logits `[tasks, m, classes]`."""
        target = tf.one_hot(tf.cast(y_true, tf.int32), tf.shape(y_pred)[-1], dtype=y_pred.dtype)
        if self.label_smoothing:
            possible = tf.cast(y_pred > RULED_OUT, y_pred.dtype)
            spread = possible / tf.reduce_sum(possible, axis=-1, keepdims=True)
            target = (1 - self.label_smoothing) * target + self.label_smoothing * spread
        return -tf.reduce_sum(target * tf.nn.log_softmax(y_pred), axis=-1)


RULED_OUT = -5e3
"""Logits below this belong to classes that a restricted head has ruled out."""


def seed_everything(training: TrainingTable) -> None:
    """Seed initial weights, and ask for deterministic operations and a precision where the recipe does."""
    keras.utils.set_random_seed(training.seed)
    keras.config.set_dtype_policy(training.precision)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()


def seen_names(part: RegionSet) -> dict[str, list[str]]:
    """Return the places and classes of a part, which no test may show again."""
    classes = {name for region in part.regions for name in region.class_names}
    return {"places": sorted({region.place for region in part.regions}), "classes": sorted(classes)}
