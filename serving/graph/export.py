"""The export job, top to bottom: a trained run in, a SavedModel that adapts in the request out.

    DIR/NAME/N/
    ├── saved_model.pb, variables/      signatures of `serving/graph/signatures.py`
    └── assets.extra/
        ├── card.json                   what the model says of itself
        └── tf_serving_warmup_requests  requests that servers play before the first of a client

A version is written under a name that servers do not look at, loaded and tried, and renamed when it is whole.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from fewshot.data.region import RegionSet
from fewshot.errors import ArtifactError, RecipeError
from fewshot.exported.card import CARD_NAME, EXTRA, Limits
from fewshot.exported.versions import WARM_UP, free_version
from fewshot.meta import MetaLearner, Views
from fewshot.training.run import Run
from serving.graph.contract import describe_signatures
from serving.graph.description import describe_run, find_accuracy
from serving.graph.signatures import make_module
from serving.graph.warmup_records import replay, warm_up_requests, write_warm_up

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
    card = describe_run(recipe, regions, learner, options.limits, find_accuracy(opened, options.evaluation))
    base = learner.head is not None and learner.head.same_start
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
        replay(partial, requests)

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
