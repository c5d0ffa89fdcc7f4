"""The training job, top to bottom: recipe and data in, run folder out."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.meta import MetaLearner
from fewshot.tasks.augment import make_augment
from fewshot.tasks.sampler import sample_tasks
from fewshot.tasks.sources import SineTasks
from fewshot.tasks.stream import batches, stream
from fewshot.tasks.task import Task, read_tasks, write_tasks
from fewshot.training import build, datasets
from fewshot.training.checks import require_consistent, require_fitting
from fewshot.training.progress import SaveRun, TaskSpeed, trim_history
from fewshot.training.recipe import Recipe
from fewshot.training.run import RunFolder, State

VALIDATION_SEED = 1_000_003
"""Seeds the tasks of validation, apart from those of training."""


@dataclass(frozen=True)
class Validation:
    """The tasks every validation uses: a stream of meta-batches and how many there are."""

    batches: tf.data.Dataset
    count: int


def train(
    recipe: Recipe,
    paths: Sequence[Path],
    out: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    verbose: int | str = "auto",
) -> State:
    """Meta-train a recipe on the user's data.

    Args:
        recipe: What to train and how.
        paths: Files or folders of the recipe's data.
        out: The run folder, new or to be resumed.
        minutes: Stop after this time, whatever the recipe says.
        resume: Go on with the run in `out`.
        verbose: As in `keras.Model.fit`.

    Returns:
        Where training ended.

    Raises:
        FewshotError: if recipe, data or run folder are not as expected, or training diverges.
    """
    require_consistent(recipe)
    folder = RunFolder(out)
    state = folder.open(recipe, resume=resume)
    if state.finished:
        return state
    build.seed_everything(recipe.training)

    # Data: regions, split; nothing of validation or test reaches the training stream.
    parts = read_parts(recipe, paths)
    require_fitting(recipe, parts)
    record_run(folder, recipe, paths, parts, resumed=bool(state.checkpoint))
    training_set = parts.get("train")
    source = datasets.training_source(recipe.tasks, recipe.data, training_set)
    augment = make_augment(recipe.augment)
    validation = make_validation(recipe, parts.get("validation"), folder)

    # Learner: network, head and rates, compiled; resumed weights replace the fresh ones.
    problem = build.describe_problem(recipe.tasks, training_set)
    learner = build.build_learner(recipe.network, recipe.learner, problem, recipe.views)
    compile_learner(learner, recipe, problem)
    if state.checkpoint:
        learner.load_weights(out / state.checkpoint)

    # Fit: Keras's own loop. The epoch that an interruption cut short is finished first.
    save = SaveRun(
        folder,
        state,
        monitor=build.monitored(problem),
        minutes=recipe.training.minutes if minutes is None else minutes,
    )
    epoch_updates = min(recipe.training.validate_every, recipe.training.updates)
    trim_history(folder, state.validated // epoch_updates)
    callbacks = [
        TaskSpeed(recipe.training.meta_batch_size),
        keras.callbacks.CSVLogger(str(folder.history), append=True),
        keras.callbacks.TensorBoard(str(out / "tensorboard"), write_graph=False),
        save,
    ]
    while save.state.updates < recipe.training.updates and not learner.stop_training:
        epoch, done = divmod(save.state.updates, epoch_updates)
        left = min(epoch_updates - done, recipe.training.updates - save.state.updates)
        whole_epochs = 1 if done else max((recipe.training.updates - save.state.updates) // epoch_updates, 1)
        learner.fit(
            stream(
                source,
                meta_batch_size=recipe.training.meta_batch_size,
                seed=recipe.training.seed,
                start=save.state.updates,
                augment=augment,
            ),
            initial_epoch=epoch,
            epochs=epoch + whole_epochs,
            steps_per_epoch=left,
            validation_data=validation.batches,
            validation_steps=validation.count,
            callbacks=callbacks,
            shuffle=False,
            verbose=verbose,
        )
    return save.finish()


def read_parts(recipe: Recipe, paths: Sequence[Path]) -> dict[str, RegionSet]:
    """Read and split the data; sine waves have no parts."""
    if recipe.data.source.draws_waves:
        return {}
    return datasets.split_data(datasets.read_data(recipe.data, paths), recipe.data)


def record_run(
    folder: RunFolder, recipe: Recipe, paths: Sequence[Path], parts: dict[str, RegionSet], *, resumed: bool
) -> None:
    """Write down what the run reads, so that no later evaluation shows it the same regions unawares.

    Raises:
        ArtifactError: if a run is resumed on data that is divided in another way.
    """
    names = datasets.seen_names(parts)
    if resumed:
        folder.require_same_parts(names)
    folder.write_json(
        "run.json",
        {
            "data": [str(path.resolve()) for path in paths],
            "parts": names,
            "images": datasets.describe_images(next(iter(parts.values())), recipe.tasks) if parts else {},
            "skipped": list(next(iter(parts.values())).skipped) if parts else [],
            "versions": {
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
            "command": sys.argv[1:],
        },
    )


def make_validation(recipe: Recipe, part: RegionSet | None, folder: RunFolder) -> Validation:
    """Return the frozen validation tasks, written to the run folder the first time.

    Raises:
        RecipeError: if the recipe names no validation regions.
    """
    size = recipe.training.meta_batch_size
    count = max(recipe.training.validation_tasks // size, 1)
    if recipe.data.source.draws_waves:
        sines = SineTasks(int(np.max(recipe.tasks.shots)), recipe.tasks.validation_queries)
        return Validation(stream(sines, meta_batch_size=size, seed=VALIDATION_SEED).take(count).cache(), count)
    if part is None:
        raise RecipeError(
            "The recipe names no validation regions, and the best checkpoint needs them: name some with --set "
            "'data.validation=[\"NAME\"]', or a number of them where the split is by numbers."
        )
    if folder.validation_tasks.exists():
        tasks = read_tasks(folder.validation_tasks, part)
    else:
        tasks = validation_tasks(recipe, part)
        write_tasks(folder.validation_tasks, part, tasks)
    count = max(len(tasks) // size, 1)
    data = batches(part, tasks[: count * size], meta_batch_size=size, labels=recipe.tasks.labels)
    return Validation(data.map(lambda x, y: with_known_tasks(x, y, size)).cache(), count)


def validation_tasks(recipe: Recipe, part: RegionSet) -> tuple[Task, ...]:
    """Choose the validation tasks: the source's own where training uses those, else drawn; spread over the regions."""
    wanted = max(recipe.training.validation_tasks, recipe.training.meta_batch_size)
    if recipe.tasks.fixed_share > 0 and part.fixed_tasks:
        order = np.random.default_rng(VALIDATION_SEED).permutation(len(part.fixed_tasks))
        return tuple(part.fixed_tasks[i] for i in order[:wanted])
    return sample_tasks(part, datasets.evaluation_spec(recipe.tasks), wanted, seed=VALIDATION_SEED)


def with_known_tasks(x: tuple[tf.Tensor, ...], y: tf.Tensor, tasks: int) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
    """Tell TensorFlow how many tasks a meta-batch has."""
    return tuple(tf.ensure_shape(part, [tasks, *part.shape[1:]]) for part in x), tf.ensure_shape(
        y, [tasks, *y.shape[1:]]
    )


def compile_learner(learner: MetaLearner, recipe: Recipe, problem: build.Problem) -> None:
    """Give the learner its optimizer, loss and metrics, and make the optimizer's slots so that they can be restored."""
    learner.compile(
        optimizer=build.build_optimizer(recipe.training),
        loss=build.outer_loss(recipe.training, problem),
        metrics=build.fit_metrics(problem),
    )
    learner.optimizer.build(learner.trainable_variables)
