"""What an exported model says of itself: the card of a run."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fewshot.data.region import RegionSet
from fewshot.errors import ArtifactError
from fewshot.exported.card import Card, CardBand, ClassEntry, DataSource, InputSize, Limits, MeasuredAccuracy, Rates
from fewshot.meta import MetaLearner
from fewshot.models import Normalization
from fewshot.training import Recipe, Run
from fewshot.training.build import reads_any_size
from serving.graph.cost import pixel_cost
from serving.graph.layout import adapted_layout

LARGEST_SIDE = 256
"""Rows and columns that a network of any size takes at least."""


def describe_run(
    recipe: Recipe, regions: RegionSet, learner: MetaLearner, limits: Limits, accuracy: MeasuredAccuracy | None
) -> Card:
    """Describe a run as the model that it becomes, its signatures apart.

    Args:
        recipe: Of the run.
        regions: It was trained on.
        learner: With the weights of the run.
        limits: The most that one request may ask for.
        accuracy: Measured before, if any.

    Raises:
        ArtifactError: if the data does not describe the bands that the network reads.
    """
    bands, value_type = describe_bands(recipe, regions)
    outputs = learner.head.outputs if learner.head else None
    moving = [np.ravel(rate) for rate in learner.inner_rates.values() if rate is not None]
    rates = np.concatenate(moving or [np.zeros(1)])
    packages = ("fewshot", "tensorflow", "keras", "numpy")
    return Card(
        title=recipe.description or recipe.name,
        bands=bands,
        value_type=value_type,
        size=describe_size(learner.eyes(), regions.store.shape),
        output="pixel" if len(learner.body.output_shape) == 4 else "patch",
        label_space=recipe.tasks.labels,
        classes=describe_classes(recipe, regions) if recipe.tasks.labels == "global" else (),
        head=recipe.learner.head,
        outputs=outputs,
        steps=int(learner.evaluation_steps),
        limits=replace(
            limits, steps=max(limits.steps, int(learner.evaluation_steps)), classes=outputs or limits.classes
        ),
        rates=Rates(
            recipe.learner.rates, recipe.learner.rate, float(rates.min()), float(rates.mean()), float(rates.max())
        ),
        transductive=learner.transductive,
        data=describe_data(recipe, regions),
        recipe=recipe.as_tables(),
        adapted=adapted_layout(learner),
        accuracy=accuracy,
        unit_free=recipe.network.standardise,
        missing_bands=recipe.network.standardise and recipe.augment.band_dropout > 0,
        cost=pixel_cost(learner),
        versions={"python": platform.python_version(), **{name: installed(name) for name in packages}},
    )


def describe_bands(recipe: Recipe, regions: RegionSet) -> tuple[tuple[CardBand, ...], Any]:
    """Return the bands as clients send them, and the type of their values.

    Raises:
        ArtifactError: if the data does not describe the bands that the network reads.
    """
    bands = recipe.data.source.describe_bands(regions)
    if len(bands) != regions.store.shape[-1]:
        raise ArtifactError(
            f"The network reads {regions.store.shape[-1]} bands, but {regions.name} describes {len(bands)} "
            f"({', '.join(band.name for band in bands)}); name the data of the run with --data."
        )
    sent = tuple(
        CardBand(band.name, band.scale, band.offset, band.unit, band.stored, band.wavelength, band.nodata, band.width)
        for band in bands
    )
    return sent, "uint8" if all(band.stored.startswith("uint8") for band in bands) else "float32"


def describe_size(body: keras.Model, trained: Sequence[int]) -> InputSize:
    """Return which sizes of pictures a network reads."""
    rows, columns = int(trained[0]), int(trained[1])
    if not reads_any_size(body):
        return InputSize(rows, columns, smallest=min(rows, columns), largest=max(rows, columns))
    halved = math.prod(_pooled_side(layer) for layer in body._flatten_layers())
    largest = max(LARGEST_SIDE, 4 * rows, 4 * columns)
    per_pixel = len(body.output_shape) == 4  # these join what they halved, so that it must halve evenly
    return InputSize(
        rows,
        columns,
        free=True,
        smallest=halved,
        largest=largest - largest % halved,
        multiple_of=halved if per_pixel else 1,
    )


def _pooled_side(layer: keras.layers.Layer) -> int:
    """Return how many pixels along a side a layer pools into one."""
    if isinstance(layer, keras.layers.MaxPooling2D):
        return int(layer.strides[0])
    return layer.pool if isinstance(layer, Normalization) else 1


def describe_classes(recipe: Recipe, regions: RegionSet) -> tuple[ClassEntry, ...]:
    """Return the global classes, with their colours and the numbers of the user's own labels."""
    return tuple(
        ClassEntry(entry.name, f"#{bytes(entry.colour).hex()}" if entry.colour else None, entry.ids)
        for entry in recipe.data.source.describe_classes(regions)
    )


def describe_data(recipe: Recipe, regions: RegionSet) -> DataSource:
    """Return where the training data comes from, and its licence."""
    known = recipe.data.source.describe_data(regions)
    return DataSource(known.title, known.licence, known.citation, known.homepage, known.simulated)


def find_accuracy(run: Run, path: Path | None) -> MeasuredAccuracy | None:
    """Read what an evaluation of the run measured.

    Args:
        run: The run; an evaluation with other views, steps or draws than it has now says nothing of it.
        path: What `fewshot evaluate --json` wrote; if None the `evaluation.json` that `evaluate` left in the run.

    Raises:
        ArtifactError: if the file that was named is no evaluation of this run.
    """
    recipe = run.recipe
    wanted = (
        *(recipe.name, recipe.learner_name),
        *(recipe.views.count, recipe.learner.evaluation_steps or recipe.learner.steps),
        recipe.learner.draws if recipe.learner.spread else 1,
    )
    report = run.evaluation(path)
    found = (report.get("recipe"), report.get("learner"), report.get("views", 1), report.get("steps"))
    if wanted == (*found, report.get("draws", 1)):
        return _accuracy(report)
    if path:
        raise ArtifactError(
            f"{path} is not an evaluation of {recipe.name} ({recipe.learner_name}) with views.count = {wanted[2]} and "
            f"{wanted[3]} inner steps. `fewshot evaluate {run.folder.path} --json FILE` writes one; --set changes both."
        )
    return None


def _accuracy(report: Mapping[str, Any]) -> MeasuredAccuracy:
    figure, evaluated = report["accuracy"], report.get("evaluated", {})
    return MeasuredAccuracy(
        mean=float(figure["mean"]),
        ci95=float(figure["ci95"]),
        tasks=int(report["tasks"]),
        ways=int(report["ways"]),
        shots=report["shots"],
        steps=int(report["steps"]),
        data=str(report["data"]),
        split=str(evaluated.get("split", "")),
        seed=int(evaluated.get("seed", 0)),
    )
