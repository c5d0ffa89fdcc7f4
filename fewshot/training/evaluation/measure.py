"""The parts of an evaluation: which regions, which tasks, and what one method makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import ArtifactError, DataNotFoundError, RecipeError, TaskError
from fewshot.meta import MetaLearner
from fewshot.meta.adapt import divergence_as_error
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.sources import SineTasks
from fewshot.tasks.task import Labels, PixelTaskSpec, Task, gather, read_tasks
from fewshot.training import build, datasets
from fewshot.training.evaluation.segmentation import overall_accuracy, task_confusion
from fewshot.training.recipe import Recipe
from fewshot.training.run import RunFolder

TEST_SEED = 2_000_003
"""Seeds the test tasks, apart from those of training and validation."""
TASKS_AT_ONCE = 4
CLASSES_SHOWN = 30
"""More classes than this have no confusion matrix and no table."""

Array = npt.NDArray[Any]
Predict = Callable[[Sequence[tf.Tensor]], tf.Tensor]
"""From (support_x, support_y, query_x) to logits `[steps, tasks, m, classes]`."""


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        split: Part of the recipe's own split to draw from when no other data is named.
        tasks: How many tasks to draw; fixed tasks are all used.
        ways: Classes a task; the recipe's if None.
        shots: Support examples a class, several for a table by shots; the recipe's if empty.
        steps: Inner steps of the curve.
        seed: Of the drawn tasks.
        bands: Bands that the test regions have; the others are missing there. All of them if empty.
        task_list: A frozen task list to use instead of drawing.
        save_tasks: Where to write the tasks as a frozen list.
        settings: Changes of the run's recipe, as `change_after_training` takes them.
    """

    split: str = "test"
    tasks: int = 600
    ways: int | None = None
    shots: tuple[int, ...] = ()
    steps: tuple[int, ...] = (0, 1, 2, 5, 10)
    seed: int = 0
    bands: tuple[str, ...] = ()
    task_list: Path | None = None
    save_tasks: Path | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What one method made of the tasks.

    Attributes:
        steps: The numbers of inner steps measured.
        scores: [steps, tasks] float, the accuracy of each task, or its mean squared error.
        at: Index in `steps` of the method's own number of steps.
        predictions: For each task its predicted labels `[m]` at `at`; empty for regression and labelled pixels.
        counts: With labelled pixels: [steps, tasks, true class, predicted class], classes as in the set.
    """

    steps: tuple[int, ...]
    scores: Array
    at: int
    predictions: list[Array] = field(default_factory=list)
    counts: Array | None = None

    @property
    def per_task(self) -> Array:
        """Scores [tasks] at the method's own number of steps."""
        return self.scores[self.at]


@dataclass(frozen=True)
class TestTasks:
    """The tasks of an evaluation and the images they are made of."""

    region_set: RegionSet
    tasks: tuple[Task, ...]
    labels: Labels
    fixed: bool

    __test__ = False  # not a test class, whatever its name begins with


def load_run(
    folder: RunFolder, region_set: RegionSet | None, settings: Sequence[str] = ()
) -> tuple[Recipe, MetaLearner]:
    """Return a run's recipe and its learner with the best weights.

    Args:
        folder: Of the run.
        region_set: The run's data; None for sine waves.
        settings: As `RunFolder.recipe` takes them.

    Raises:
        ArtifactError: if the folder is not a run, or has no weights yet, or its weights do not fit the data.
        RecipeError: if a setting cannot be changed any more.
    """
    recipe = folder.recipe(settings)
    weights = folder.best_weights
    if not weights.exists():
        raise ArtifactError(f"{folder.path} has no best.weights.h5 yet: training did not reach its first validation.")
    problem = build.describe_problem(recipe.tasks, region_set)
    learner = build.build_learner(recipe.network, recipe.learner, problem, recipe.views)
    try:
        learner.load_weights(weights, skip_mismatch=False)
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{weights} is damaged, or does not fit the run's recipe and data: {error} Train again, or name data like "
            "the run's with --data."
        ) from error
    return recipe, learner


def mean_and_interval(values: Array) -> dict[str, float]:
    """Return the mean and half the width of its 95 % interval, normal approximation over tasks."""
    half = 1.96 * float(np.std(values, ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return {"mean": float(np.mean(values)), "ci95": half}


def own_parts(recipe: Recipe, folder: RunFolder, paths: Sequence[Path] = ()) -> dict[str, RegionSet]:
    """Read the data that a run was trained on, divided as it was then.

    Args:
        recipe: Of the run.
        folder: Of the run.
        paths: Where the data is now, if it has moved.

    Raises:
        DataNotFoundError: if it is not there.
        ArtifactError: if it is no longer divided as it was.
    """
    paths = paths or [Path(path) for path in folder.read_json("run.json").get("data", ())]
    parts = datasets.split_data(datasets.read_data(recipe.data, paths), recipe.data)
    folder.require_same_parts(datasets.seen_names(parts))
    return parts


def run_data(recipe: Recipe, folder: RunFolder, paths: Sequence[Path], split: str) -> RegionSet:
    """Return the regions to evaluate on: a part of the run's own data, or other data without what the run has seen.

    Raises:
        DataNotFoundError: if the data is missing, or nothing unseen is left of it.
        RecipeError: if the recipe has no such part, or other data is of another kind.
        ArtifactError: if the run's own data is no longer divided as it was.
    """
    record = folder.read_json("run.json")
    if not paths:
        parts = own_parts(recipe, folder)
        if split not in parts:
            raise RecipeError(
                f"Recipe {recipe.name} sets no {split} regions of its own data apart; it has: {', '.join(parts)}. "
                "Name data of other regions with --data, or choose a part with --split."
            )
        return parts[split]
    found = datasets.read_data(recipe.data, paths)
    require_same_images(
        record.get("images", {}),
        datasets.describe_images(found, recipe.tasks),
        found.name,
        any_size=recipe.network.kind in ("unet", "resnet12") or recipe.network.readout == "average",
    )
    if split != "test":
        return datasets.split_data(found, recipe.data)[split]
    seen = {
        kind: {name for part in ("train", "validation") for name in record["parts"].get(part, {}).get(kind, ())}
        for kind in ("places", "classes")
    }
    return unseen_regions(found, recipe, seen)


def require_same_images(
    ours: Mapping[str, Sequence[Any]], theirs: Mapping[str, Sequence[Any]], name: str, *, any_size: bool = False
) -> None:
    """Refuse data whose pictures a run cannot read.

    Args:
        ours: Of the run, as `run.json` holds it.
        theirs: Of the data.
        name: Of the data.
        any_size: Whether the network reads pictures of any size, and only the number of bands must be the same.

    Raises:
        RecipeError: if shape, bands or global classes differ.
    """
    words = {"shape": "pictures of rows x columns x bands", "bands": "the bands", "classes": "the classes"}
    for kind, what in words.items():
        known, found = list(ours.get(kind, ())), list(theirs[kind])
        alike = known[-1:] == found[-1:] if kind == "shape" and any_size else known == found
        if known and found and not alike:
            raise RecipeError(
                f"{name} has {what} {_listed(found)}; the run was trained with {_listed(known)}, in this order. Name "
                "data of the same kind (for scenes: the same [[bands]], classes and [patches] size in their list)."
            )


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")


def unseen_regions(found: RegionSet, recipe: Recipe, seen: Mapping[str, set[str]]) -> RegionSet:
    """Leave out the regions (or, where classes were split, the classes) that a run was trained or validated on."""
    if recipe.data.split == "classes":
        kept = found.select(lambda region: not set(region.class_names) <= seen["classes"])
    else:
        kept = found.select(lambda region: region.place not in seen["places"])
    if not kept.regions:
        raise DataNotFoundError(
            f"The run was trained or validated on every region of this data ({', '.join(found.region_names)}); "
            "testing on them would mean nothing. Name data of other regions, or use --split validation."
        )
    return kept


def choose_tasks(recipe: Recipe, region_set: RegionSet, request: Request, shots: int | None) -> TestTasks:
    """Choose the tasks: a frozen list, the data's own fixed tasks, or tasks drawn by seed."""
    labels = recipe.tasks.labels
    if request.task_list is not None:
        return TestTasks(region_set, read_tasks(request.task_list, region_set), labels, fixed=True)
    if region_set.fixed_tasks and request.ways is None:
        tasks = region_set.fixed_tasks
        if shots is not None:
            tasks = tuple(fewer_shots(task, shots) for task in tasks)
        return TestTasks(region_set, tasks, labels, fixed=True)
    spec = datasets.evaluation_spec(recipe.tasks)
    if isinstance(spec, PixelTaskSpec):
        if request.ways is not None:
            raise RecipeError("--ways does not apply where pixels are labelled: a region has the classes it has.")
        spec = replace(spec, shots=shots or spec.shots)
    else:
        spec = replace(spec, ways=request.ways or spec.ways, shots=shots or spec.shots)
    drawn = sample_tasks(region_set, spec, request.tasks, seed=TEST_SEED + request.seed)
    return TestTasks(region_set, drawn, labels, fixed=False)


def fewer_shots(task: Task, shots: int) -> Task:
    """Keep the first examples of each class of a fixed task.

    Raises:
        TaskError: if the task has fewer.
    """
    kept = [np.flatnonzero(task.support_y == label)[:shots] for label in range(len(task.classes))]
    if any(len(part) < shots for part in kept):
        most = min(int((task.support_y == label).sum()) for label in range(len(task.classes)))
        raise TaskError(f"Fixed task {task.name or task.region} has {most} shots a class; {shots} were asked for.")
    chosen = np.sort(np.concatenate(kept))
    return replace(task, support=task.support[chosen], support_y=task.support_y[chosen])


def learner_predict(learner: MetaLearner, steps: Sequence[int]) -> Predict:
    """Return a compiled prediction after each of `steps`; it raises DivergedError where adaptation diverges."""
    compiled = tf.function(lambda inputs: learner.predict_after(inputs, tuple(steps)), autograph=False)

    def predict(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        with divergence_as_error("Evaluate with fewer --steps, or train with clipped inner gradients."):
            return compiled(tuple(inputs))

    return predict


def measure(predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
    """Let one method predict every task; tasks of equal shape run together."""
    scores = np.zeros([len(steps), len(chosen.tasks)])
    predictions: list[Array] = [np.zeros(0)] * len(chosen.tasks)
    for group in groups_of_tasks(chosen):
        batch = gather(chosen.region_set, [chosen.tasks[i] for i in group], labels=chosen.labels)
        inputs = tuple(tf.constant(part) for part in (batch.support_x, batch.support_y, batch.query_x))
        answers = tf.argmax(predict(inputs), axis=-1).numpy()  # [steps, tasks, m]
        scores[:, group] = (answers == batch.query_y[None]).mean(axis=-1)
        for position, number in enumerate(group):
            predictions[number] = answers[at, position]
    return Outcome(tuple(steps), scores, at, predictions)


def measure_pixels(predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
    """Let one method predict every pixel of the queries of every task; scores are overall accuracies."""
    classes = len(chosen.region_set.classes)
    index = {name: i for i, name in enumerate(chosen.region_set.classes)}
    counts = np.zeros([len(steps), len(chosen.tasks), classes, classes], np.int64)
    for group in groups_of_tasks(chosen):
        tasks = [chosen.tasks[i] for i in group]
        batch = gather(chosen.region_set, tasks, labels=chosen.labels)
        inputs = tuple(tf.constant(part) for part in (batch.support_x, batch.support_y, batch.query_x))
        answers = tf.argmax(predict(inputs), axis=-1).numpy()  # [steps, tasks, m, H, W]
        for position, (number, task) in enumerate(zip(group, tasks, strict=True)):
            true, predicted = batch.query_y[position], answers[:, position]
            if chosen.labels == "task":
                names = np.array([index[name] for name in task.classes])
                true, predicted = np.where(true >= 0, names[true], -1), names[predicted]
            for step in range(len(steps)):
                counts[step, number] = task_confusion(true, predicted[step], classes)
    return Outcome(tuple(steps), overall_accuracy(counts), at, counts=counts)


def measure_tasks(predict: Predict, chosen: TestTasks, steps: Sequence[int], at: int) -> Outcome:
    """Measure one method on tasks of either kind."""
    by_pixels = chosen.tasks[0].pixels is not None
    return (measure_pixels if by_pixels else measure)(predict, chosen, steps, at)


def groups_of_tasks(chosen: TestTasks) -> Iterator[list[int]]:
    """Yield the numbers of tasks to predict together: of equal shape, a few at a time."""
    order: dict[tuple[int, ...], list[int]] = {}
    for number, task in enumerate(chosen.tasks):
        order.setdefault((len(task.support), len(task.query), len(task.classes)), []).append(number)
    for numbers in order.values():
        for first in range(0, len(numbers), TASKS_AT_ONCE):
            yield numbers[first : first + TASKS_AT_ONCE]


def measure_sines(predict: Predict, shots: int, queries: int, tasks: int, seed: int) -> Array:
    """Return the mean squared error [steps, tasks] on sine waves drawn by seed."""
    errors = []
    source = SineTasks(shots, queries)
    for first in range(0, tasks, TASKS_AT_ONCE):
        count = min(TASKS_AT_ONCE, tasks - first)
        batch = source.draw(np.random.default_rng([TEST_SEED + seed, first]), count)
        outputs = predict(tuple(tf.constant(part) for part in batch[:3])).numpy()
        errors.append(((outputs - batch.query_y[None]) ** 2).mean(axis=(2, 3)))
    return np.concatenate(errors, axis=1)


def curve_steps(request: Request, own: int) -> tuple[tuple[int, ...], int]:
    """Return the ascending numbers of steps to measure, the learner's own among them, and its index."""
    steps = tuple(sorted({*request.steps, own}))
    if steps[0] < 0:
        raise RecipeError(f"--steps are numbers of inner steps, 0 or more; received {steps[0]}.")
    return steps, steps.index(own)


def true_and_predicted(chosen: TestTasks, outcome: Outcome) -> tuple[Array, Array]:
    """Return the true and the predicted class of every query, as indices in the set's classes."""
    index = {name: i for i, name in enumerate(chosen.region_set.classes)}
    true, predicted = [], []
    for task, answers in zip(chosen.tasks, outcome.predictions, strict=True):
        names = np.array([index[name] for name in task.classes])
        true.append(names[task.query_y])
        predicted.append(answers if chosen.labels == "global" else names[answers])
    return np.concatenate(true), np.concatenate(predicted)


def confusion(chosen: TestTasks, outcome: Outcome) -> Array | None:
    """Return counts [true class, predicted class], or None where the classes are too many to show."""
    classes = len(chosen.region_set.classes)
    if classes > CLASSES_SHOWN:
        return None
    true, predicted = true_and_predicted(chosen, outcome)
    counts = np.zeros([classes, classes], int)
    np.add.at(counts, (true, predicted), 1)
    return counts


def by_region(chosen: TestTasks, outcome: Outcome) -> dict[str, dict[str, float]]:
    """Return mean, interval and number of tasks for each region."""
    regions = np.array([task.region for task in chosen.tasks])
    return {
        name: {**mean_and_interval(outcome.per_task[regions == name]), "tasks": int((regions == name).sum())}
        for name in sorted(set(regions))
    }
