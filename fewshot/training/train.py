"""The training job, top to bottom: recipe and data in, run folder out."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.catalogue.manifest import manifest_names
from fewshot.data.region import RegionSet
from fewshot.errors import RecipeError
from fewshot.tasks.stream import stream
from fewshot.training import build, datasets
from fewshot.training.features import seen_part, seen_training
from fewshot.training.folder import RunFolder, TrainingState
from fewshot.training.frozen import keep_network, kept_network
from fewshot.training.graphs import only_pruned
from fewshot.training.kinds import kind_of
from fewshot.training.progress import SaveRun, TaskSpeed, trim_history
from fewshot.training.recipe import Recipe


@only_pruned()
def train(
    recipe: Recipe,
    paths: Sequence[Path],
    out: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    verbose: int | str = "auto",
) -> TrainingState:
    """Meta-train a recipe on the user's data.

    Args:
        recipe: What to train and how.
        paths: Files or folders of the recipe's data.
        out: The run folder, new or to be resumed.
        minutes: Stop after this time, whatever the recipe says.
        resume: Go on with the run in `out`, also with one whose time was up if it has more now.
        verbose: As in `keras.Model.fit`.

    Returns:
        Where training ended.

    Raises:
        FewshotError: if recipe, data or run folder are not as expected, or training diverges.
    """
    kind = kind_of(recipe)
    require_consistent(recipe)
    kind.require_consistent(recipe.data.split, recipe.learner.head)
    folder = RunFolder(out)
    state = folder.open(recipe, resume=resume)
    limit = recipe.training.minutes if minutes is None else minutes
    if state.finished and not _may_go_on(state, recipe, limit):
        return state
    state = replace(state, finished=False)
    build.seed_everything(recipe.training)

    # Data: regions, split; nothing of validation or test reaches the training stream.
    parts = kind.made_up or datasets.read_parts(recipe.data, paths)
    require_fitting(recipe, parts)
    keep_network(recipe.network, out)
    network = kept_network(recipe.network, out)
    record_run(folder, recipe, paths, parts, resumed=bool(state.checkpoint))
    training_set = part_of(parts, "train", "there is nothing to learn from")
    training_set, augment = seen_training(training_set, kind, network, recipe.augment, folder.features)
    source = kind.training_source(training_set)
    validated = seen_part(
        part_of(parts, "validation", "the best checkpoint needs them"), kind, network, folder.features
    )
    validation = kind.validation(validated, recipe.training, folder.validation_tasks)

    # Learner: network, head and rates, compiled; resumed weights replace the fresh ones.
    views = recipe.views if len(training_set.store.shape) == 3 else None  # features have none
    problem = kind.problem(training_set)
    learner = build.build_learner(network, recipe.learner, problem, views, training=recipe.training)
    build.compile_learner(learner, recipe.training, kind)
    if state.checkpoint:
        learner.load_weights(out / state.checkpoint)

    # Fit: Keras's own loop. The epoch that an interruption cut short is finished first.
    save = SaveRun(folder, state, monitor=kind.monitored, minutes=limit)
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
            validation_data=validation,
            callbacks=callbacks,
            shuffle=False,
            verbose=verbose,
        )
    return save.finish()


def _may_go_on(state: TrainingState, recipe: Recipe, minutes: float) -> bool:
    """Whether a run ended because its time was up, and has more of it (0 for no limit) now."""
    return state.updates < recipe.training.updates and (not minutes or state.seconds < 60 * minutes)


def require_consistent(recipe: Recipe) -> None:
    """Refuse settings that cannot hold together, whatever the data.

    Raises:
        RecipeError: if some do not.
    """
    data = recipe.data
    build.require_network(recipe.network.kind)
    training = recipe.training
    if training.hyper_rate and (training.optimizer, training.schedule) != ("sgd", "constant"):
        raise RecipeError(
            "training.hyper_rate lets the rate of gradient descent learn, which has no other schedule; received "
            f"training.optimizer = {training.optimizer!r} and training.schedule = {training.schedule!r}. Use 'sgd' and "
            "'constant'."
        )
    if recipe.learner.spread and training.objective in ("pairs", "squared"):
        raise RecipeError(
            "learner.spread weighs the likelihood of classes, which training.objective = "
            f"{training.objective!r} has none of. Use 'cross_entropy', or learner.spread = 0."
        )
    if data.split == "published" and data.source.name not in manifest_names():
        raise RecipeError(
            f"data.split = 'published' needs a data set with a published split; {data.source.name} has none. Use "
            "--set data.split=random with numbers in data.train, data.validation and data.test."
        )


def require_fitting(recipe: Recipe, parts: Mapping[str, RegionSet]) -> None:
    """Refuse settings that do not fit the pictures.

    Raises:
        RecipeError: if some do not.
    """
    for part in parts.values():
        rows, columns, _ = part.store.shape
        if rows != columns and recipe.augment.turns != "none":
            raise RecipeError(
                f"the pictures of {part.name} have {rows}x{columns} pixels, and quarter turns need squares. Use "
                "--set augment.turns=none, or cut the pictures to squares."
            )


def record_run(
    folder: RunFolder, recipe: Recipe, paths: Sequence[Path], parts: Mapping[str, RegionSet], *, resumed: bool
) -> None:
    """Write down what the run reads, so that no later evaluation shows it the same regions unawares.

    Args:
        folder: Of the run.
        recipe: Of the run.
        paths: Files or folders of its data.
        parts: What the data is divided into; of tasks that are made up nothing is written down.
        resumed: Whether the run has begun before.

    Raises:
        ArtifactError: if a run is resumed on data that is divided in another way.
    """
    if kind_of(recipe).made_up:
        parts = {}
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


def part_of(parts: Mapping[str, RegionSet], name: str, why: str) -> RegionSet:
    """Return a part of the data.

    Args:
        parts: All of them.
        name: Of the part.
        why: It is needed.

    Raises:
        RecipeError: if the recipe leaves it empty.
    """
    if name not in parts:
        raise RecipeError(
            f"The recipe names no {name} regions, and {why}: name some with --set 'data.{name}=[\"NAME\"]', or a "
            "number of them where the split is by numbers."
        )
    return parts[name]
