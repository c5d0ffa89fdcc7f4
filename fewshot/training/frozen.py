"""A pretrained Keras model as a recipe's network: what of it is frozen, and what goes on from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from fewshot.data.bands import red_green_blue
from fewshot.errors import RecipeError
from fewshot.files import write_whole
from fewshot.models.loading import load_application, load_file, scaling_of
from fewshot.models.pretrained import Constant, Showing, depths_of, picture_features, pixel_features, top
from fewshot.training.kinds.kind import Problem
from fewshot.training.recipe_tables import NetworkTable

CHANNELS = 3
KEPT = "pretrained.keras"
"""The pretrained model in a run folder."""


def frozen_part(network: NetworkTable, problem: Problem) -> Constant | None:
    """Return the part of a network that never trains, from pictures to features; None where it begins with what trains.

    Args:
        network: Of the recipe.
        problem: What it has to fit; of features [F] there is nothing frozen left to compute.
    """
    pictures = len(problem.input_shape) == 3 and not problem.per_pixel
    if network.kind != "keras" or not network.frozen or not pictures or _learns_channels(network, problem):
        return None
    return Constant(picture_features(problem.input_shape, load_depths(network), _showing(network, problem)))


def pretrained_network(network: NetworkTable, problem: Problem) -> keras.Model:
    """Build what trains: from pictures, or from the features that `frozen_part` makes of them, to features.

    Raises:
        RecipeError: if there are no pictures, they are to be standardised, or the decoder has several widths.
    """
    if problem.loss == "squared_error":
        raise RecipeError("network.kind = 'keras' reads pictures, and these tasks have none. Use network.kind = 'mlp'.")
    if network.standardise:
        raise RecipeError(
            "network.standardise takes each band's mean and deviation away, and a pretrained model expects pictures as "
            "it was trained on. Use network.gain and network.scaling, or another network.kind."
        )
    if network.context:
        raise RecipeError(
            "network.context has no place inside a pretrained model. Use another network.kind, or network.context = 0."
        )
    if len(problem.input_shape) == 1:
        return top(problem.input_shape[0], units=network.projection, normalization=network.normalization)
    model, showing = load_depths(network), _showing(network, problem)
    if problem.per_pixel:
        filters = network.filters
        if not isinstance(filters, int):
            raise RecipeError(f"The decoder of a pretrained model has one network.filters; received {list(filters)}.")
        return pixel_features(problem.input_shape, model, showing, filters=filters, normalization=network.normalization)
    body = picture_features(problem.input_shape, model, showing)
    above = top(body.output_shape[-1], units=network.projection, normalization=network.normalization)
    return keras.Model(body.inputs, above(body.output), name="pretrained")


def load_depths(network: NetworkTable) -> keras.Model:
    """Load a recipe's pretrained model, cut to the depths that the recipe names.

    Raises:
        RecipeError: if the recipe names no model.
    """
    if network.file:
        model = load_file(Path(network.file))
    elif network.application:
        model = load_application(network.application, network.weights, size=network.size)
    else:
        raise RecipeError(
            "network.kind = 'keras' needs a model: set network.file to one that keras.Model.save wrote, or "
            "network.application to the name of one of keras.applications."
        )
    return depths_of(model, network.layers)


def keep_network(network: NetworkTable, folder: Path) -> None:
    """Keep a copy of a recipe's pretrained model in the run folder, cut to its depths."""
    if network.kind == "keras" and not (folder / KEPT).exists():
        write_whole(folder / KEPT, load_depths(network).save)


def kept_network(network: NetworkTable, folder: Path) -> NetworkTable:
    """Return the table that names the model in the run folder, where that has one."""
    kept = folder / KEPT
    return replace(network, file=str(kept)) if network.kind == "keras" and kept.exists() else network


def _learns_channels(network: NetworkTable, problem: Problem) -> bool:
    """Whether there are more bands than channels, so that the way from the ones to the others is learned."""
    return problem.input_shape[-1] > CHANNELS


def _showing(network: NetworkTable, problem: Problem) -> Showing:
    """Return how the pretrained model is shown a picture."""
    matrix, offset = scaling_of(network.scaling, network.application)
    return Showing(
        _colours(network, problem),
        network.gain * np.asarray(matrix),
        offset,
        size=network.size,
        mirror=network.mirror,
        learned=_learns_channels(network, problem) or not network.frozen,
        trains=not network.frozen,
    )


def _colours(network: NetworkTable, problem: Problem) -> tuple[int, ...]:
    """Return which bands, from 0, are red, green and blue.

    Raises:
        RecipeError: if nothing says it.
    """
    bands = problem.input_shape[-1]
    if network.rgb:
        if len(network.rgb) != CHANNELS or not all(1 <= number <= bands for number in network.rgb):
            raise RecipeError(
                f"network.rgb = {list(network.rgb)}: expected three numbers from 1 to {bands}, the bands."
            )
        return tuple(number - 1 for number in network.rgb)
    found = red_green_blue(problem.bands)
    if found is None and bands not in (1, CHANNELS):
        names = ", ".join(band.name for band in problem.bands) or f"{bands} without names"
        raise RecipeError(
            f"A pretrained model takes red, green and blue, and nothing says which of the bands they are ({names}). "
            "Say it with --set 'network.rgb=[3, 2, 1]', the numbers of the bands, the first is 1."
        )
    return found or (tuple(range(CHANNELS)) if bands == CHANNELS else (0,) * CHANNELS)
