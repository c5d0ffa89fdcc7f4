"""The export job, top to bottom: a trained run in, a SavedModel that adapts in the request out.

    DIR/NAME/N/
    ├── saved_model.pb, variables/      signatures of `serving/graph/signatures.py`
    └── assets.extra/
        ├── card.json                   what the model says of itself
        └── tf_serving_warmup_requests  requests that servers play before the first of a client

A version is written under a name that servers do not look at, loaded and tried, and renamed when it is whole.
"""

from __future__ import annotations

import math
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import ArtifactError, RecipeError
from fewshot.exported.card import (
    CARD_NAME,
    EXTRA,
    Card,
    CardBand,
    ClassEntry,
    DataSource,
    InputSize,
    Limits,
    MeasuredAccuracy,
    Rates,
)
from fewshot.exported.versions import WARM_UP, free_version
from fewshot.meta import MetaLearner, Views
from fewshot.models import Normalization
from fewshot.training.build import reads_any_size
from fewshot.training.recipe import Recipe
from fewshot.training.run import Run
from serving.graph.contract import describe_signatures
from serving.graph.cost import pixel_cost
from serving.graph.signatures import adapted_layout, make_module
from serving.graph.warmup_records import warm_up_requests, write_warm_up

LARGEST_SIDE = 256
"""Rows and columns that a network of any size takes at least."""
BASE_PICTURES = 64
"""Training pictures whose statistics `predict_base` normalises with, where the network keeps any."""


@dataclass(frozen=True)
class ExportOptions:
    """What the export is to be.

    Attributes:
        name: Of the model; that of the run folder if None.
        version: A whole number of 1 or more; the next free one if None.
        data: The recipe's data, where it has moved since training.
        limits: The most that one request may ask for.
        evaluation: What `fewshot evaluate --json` wrote; the run's `evaluation.json` if None.
        transductive: Export a run whose answers depend on the other queries of a request.
        settings: Changes of the run's recipe, as `change_after_training` takes them.
    """

    name: str | None = None
    version: int | None = None
    data: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
    evaluation: Path | None = None
    transductive: bool = False
    settings: tuple[str, ...] = ()


def export(run: Path, to: Path, options: ExportOptions | None = None) -> Path:
    """Export a trained run as the next version of a served model.

    Args:
        run: The run folder.
        to: Folder of the models that a server looks at.
        options: Name, version, limits.

    Returns:
        The folder of the new version, `to/NAME/N`.

    Raises:
        ArtifactError: if the run is untrained or damaged, is transductive without leave, or the version exists.
        RecipeError: if the run does not classify, or a setting cannot be changed any more.
        DataNotFoundError: if the data of the run is not where it was, and not named.
    """
    options = options or ExportOptions()
    opened = Run.open(run, options.settings)
    recipe = opened.recipe
    if opened.kind.targets:
        raise RecipeError(f"{run} fits sine waves; only runs that classify pictures can be exported.")
    name = model_name(options.name, run)
    target = free_version(to / name, options.version)

    # The run: its data tells the size of a picture and the classes; its weights the rest.
    regions = opened.parts(options.data)["train"]
    learner = opened.learner(regions)
    _require_finite(learner, opened.folder.best_weights)
    if learner.transductive and not options.transductive:
        raise ArtifactError(
            f"{run} is transductive ({recipe.network.normalization} normalisation): an answer would depend on the "
            "other queries of its request. Train with --set network.normalization=support, or export it as it is with "
            "--transductive."
        )

    # The card, then the graph that keeps to it.
    card = _make_card(recipe, regions, learner, options.limits, find_accuracy(opened, options.evaluation))
    base = card.outputs is not None
    card = replace(card, signatures=describe_signatures(card, base=base))
    module, signatures = make_module(learner, card, _base_state(learner, regions) if base else None)

    # Requests to warm up with also try the graph, here and as it is loaded again.
    requests = warm_up_requests(card, signatures)

    def write(partial: Path) -> None:
        tf.saved_model.save(module, str(partial), signatures=signatures)
        extra = partial / EXTRA
        extra.mkdir()
        (extra / CARD_NAME).write_text(card.to_json() + "\n", encoding="utf-8")
        write_warm_up(extra / WARM_UP, name, requests)
        loaded = tf.saved_model.load(str(partial))
        for signature, inputs in requests:
            loaded.signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})

    return publish(target, write)


def model_name(name: str | None, run: Path) -> str:
    """Return the model's name.

    Raises:
        ArtifactError: if it cannot be part of a URL.
    """
    name = name or run.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ArtifactError(
            f"{name!r} cannot name a served model; use letters, digits, '_', '-' and '.', and name it with --name."
        )
    return name


def _require_finite(learner: MetaLearner, weights: Path) -> None:
    if not all(bool(np.isfinite(variable.numpy()).all()) for variable in learner.weights):
        raise ArtifactError(f"{weights} holds values that are infinite or not a number; train again.")


def publish(target: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` make a folder under a name that no server looks at, and rename it when it is whole.

    Raises:
        ArtifactError: if it cannot be written, or another was faster.
    """
    partial = target.with_name(f".partial-{target.name}-{uuid.uuid4().hex[:8]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(partial)
        partial.rename(target)
    except OSError as error:
        raise ArtifactError(f"{target} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _make_card(
    recipe: Recipe, regions: RegionSet, learner: MetaLearner, limits: Limits, accuracy: MeasuredAccuracy | None
) -> Card:
    """Describe a run, its signatures apart."""
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
        run: The run; an evaluation with other views or steps than it has now says nothing of it.
        path: What `fewshot evaluate --json` wrote; if None the `evaluation.json` that `evaluate` left in the run.

    Raises:
        ArtifactError: if the file that was named is no evaluation of this run.
    """
    recipe = run.recipe
    wanted = (
        *(recipe.name, recipe.learner_name),
        *(recipe.views.count, recipe.learner.evaluation_steps or recipe.learner.steps),
    )
    report = run.evaluation(path)
    if wanted == (report.get("recipe"), report.get("learner"), report.get("views", 1), report.get("steps")):
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


def _base_state(learner: MetaLearner, regions: RegionSet) -> list[tf.Tensor]:
    """Return the statistics that an unadapted network normalises with: those of pictures from all training regions."""
    start = learner.start()
    if not start.state:
        return []
    each = max(BASE_PICTURES // len(regions.regions), 1)
    chosen = [region.images[:: max(len(region.images) // each, 1)][:each] for region in regions.regions]
    pictures = regions.store.read(np.concatenate(chosen)[: 4 * BASE_PICTURES])
    seen = learner.seen(tf.constant(pictures), Views())
    _, state = learner.body.stateless_call(start.body, start.state, seen, training=True)
    return list(state)
