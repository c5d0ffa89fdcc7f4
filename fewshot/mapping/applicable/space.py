"""The space in which places are compared: what a method sees of them."""

import numpy as np
import numpy.typing as npt

from fewshot.exported.applicability import Applicability
from fewshot.exported.predictor import AdaptedVector, Predictor
from fewshot.geo.points import Examples
from fewshot.geo.windows import Window
from fewshot.mapping.support.examples import SupportSet

FloatArray = npt.NDArray[np.float32]

_PIXELS = 1 << 17
"""Pixels of pictures whose features are asked for at a time: what bounds the memory."""


def seen_by(predictor: Predictor, adapted: AdaptedVector, pictures: FloatArray) -> FloatArray:
    """Return what a method sees of pictures: the features of its network, as it was adapted, or else the bands.

    Args:
        predictor: The method.
        adapted: To the labels.
        pictures: [n, H, W, bands].

    Returns:
        [n, H, W, features] of a method that answers for pixels, [n, features] of one that does for pictures.
    """
    card = predictor.card()
    if "features" in card.signatures:
        return predictor.features(pictures, adapted)
    return pictures if card.output == "pixel" else np.asarray(pictures.mean(axis=(1, 2)), np.float32)


def dissimilarity_of(
    applicability: Applicability, predictor: Predictor, adapted: AdaptedVector, pictures: FloatArray
) -> FloatArray:
    """Return how unlike the labels pictures are [n], or each of their pixels [n, H, W].

    Args:
        applicability: The space of the labels.
        predictor: The method.
        adapted: To the labels.
        pictures: [n, H, W, bands].
    """
    at_once = max(1, _PIXELS // (pictures.shape[1] * pictures.shape[2]))
    parts = (pictures[first : first + at_once] for first in range(0, len(pictures), at_once))
    return np.concatenate([applicability.dissimilarity(seen_by(predictor, adapted, part)) for part in parts])


def seen_at(predictor: Predictor, adapted: AdaptedVector, support: SupportSet, examples: Examples) -> FloatArray:
    """Return what a method sees of labels [n, features].

    Args:
        predictor: The method.
        adapted: To the labels.
        support: The pictures that show them; one each where the method answers for pictures.
        examples: The labels.
    """
    side = support.x.shape[1]
    at_once = max(1, _PIXELS // side**2)
    found: list[tuple[npt.NDArray[np.int64], FloatArray]] = []
    for first in range(0, len(support.x), at_once):
        seen = seen_by(predictor, adapted, support.x[first : first + at_once])
        if seen.ndim == 2:
            found.append((np.arange(first, first + len(seen)), seen))
            continue
        for window, picture in zip(support.windows[first : first + at_once], seen, strict=True):
            margin, inner = support.margin, side - 2 * support.margin
            own = examples.within(Window(window.row + margin, window.column + margin, inner, inner))
            here = np.flatnonzero(own)
            found.append((here, picture[examples.rows[here] - window.row, examples.columns[here] - window.column]))
    order = np.argsort(np.concatenate([numbers for numbers, _ in found]), kind="stable")
    return np.concatenate([seen for _, seen in found])[order]
