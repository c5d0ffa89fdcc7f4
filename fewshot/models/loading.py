"""Pretrained Keras models: from a file or from `keras.applications`, and what each expects of a picture."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fewshot.errors import DataNotFoundError, RecipeError

Affine = tuple[np.ndarray, np.ndarray]
"""[channels, red green blue] and [channels]: from red, green and blue, 0-1, to what a model expects."""

_IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCALINGS: dict[str, Affine] = {
    "0-1": (np.eye(3), np.zeros(3)),
    "0-255": (255 * np.eye(3), np.zeros(3)),
    "-1-1": (2 * np.eye(3), -np.ones(3)),
    "imagenet": (np.diag(1 / _IMAGENET[1]), -_IMAGENET[0] / _IMAGENET[1]),
}


def load_file(path: Path) -> keras.Model:
    """Load a model that `keras.Model.save` wrote; code in it is not run.

    Raises:
        DataNotFoundError: if there is no such file.
        RecipeError: if it is no Keras model, or one of layers that Keras does not have.
    """
    if not path.exists():
        raise DataNotFoundError(f"network.file = {str(path)!r}: there is no such file; name a Keras model (.keras).")
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        raise RecipeError(
            f"network.file = {str(path)!r} cannot be loaded: {_first_line(error)} Expected a model of Keras's own "
            "layers, written by keras.Model.save."
        ) from None


def load_application(name: str, weights: str, *, size: int = 0) -> keras.Model:
    """Return a model of `keras.applications` without its top; Keras downloads and keeps its weights.

    Args:
        name: Such as MobileNetV3Small.
        weights: `imagenet`, a file, or empty for random ones.
        size: Pixels of the pictures' side; 0 for any.

    Raises:
        RecipeError: if there is no such application, or it does not take pictures of this size.
        DataNotFoundError: if the weights can neither be found nor downloaded.
    """
    application, sides = _application(name), (size or None, size or None)
    try:
        return application(include_top=False, weights=weights or None, input_shape=(*sides, 3))
    except ValueError as error:
        raise RecipeError(f"network.application = {name!r}: {_first_line(error)}") from None
    except Exception as error:  # Keras raises no other where a download fails
        raise DataNotFoundError(
            f"The weights {weights!r} of {name} can neither be found nor downloaded: {_first_line(error)} Go online "
            "once, put them into ~/.keras/models, or name a model file with network.file."
        ) from None


def scaling_of(scaling: str, application: str) -> Affine:
    """Return how red, green and blue, 0-1, become what a model expects.

    Args:
        scaling: One of `SCALINGS`, or `own` for that of the application.
        application: Of `keras.applications`; empty for a file, whose own scaling is taken to be 0-1.
    """
    if scaling != "own":
        return SCALINGS[scaling]
    if not application:
        return SCALINGS["0-1"]
    # Preprocessing is affine: what becomes of black and of the three pure colours tells all of it.
    module: Any = importlib.import_module(_application(application).__module__)
    colours = 255 * np.concatenate([np.zeros([1, 3]), np.eye(3)]).reshape(4, 1, 1, 3)
    black, *pure = np.asarray(module.preprocess_input(colours.astype(np.float32))).reshape(4, 3)
    return np.stack(pure, axis=1) - black[:, None], black


def _application(name: str) -> Any:
    known = [found for found in dir(keras.applications) if found[0].isupper()]
    if name not in known:
        raise RecipeError(f"network.application = {name!r}: keras.applications has {', '.join(known)}.")
    return getattr(keras.applications, name)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
