"""The space in which places are compared: what a method sees of them."""

import numpy as np
import numpy.typing as npt

from fewshot.exported.applicability import Applicability
from fewshot.exported.predictor import AdaptedVector, Predictor

FloatArray = npt.NDArray[np.float32]

AT_ONCE = 1 << 17
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
    at_once = max(1, AT_ONCE // (pictures.shape[1] * pictures.shape[2]))
    parts = (pictures[first : first + at_once] for first in range(0, len(pictures), at_once))
    return np.concatenate([applicability.dissimilarity(seen_by(predictor, adapted, part)) for part in parts])
