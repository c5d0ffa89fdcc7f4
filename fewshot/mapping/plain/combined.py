"""A model and a plain classifier together: the product of what the two say of a pixel.

The model knows from other regions what differs between land covers; logistic regression on the bands and their means
around a pixel knows this region alone. Where one is unsure the other decides, so that together they are seldom worse
than the better of them (docs/results.md, "Real scenes").
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fewshot.errors import ArtifactError
from fewshot.exported.adapted import LEAST
from fewshot.exported.card import AdaptedLayout, Card
from fewshot.exported.predictor import AdaptedVector, Array, Predictor, SupportLoss
from fewshot.mapping.plain.predictor import PlainPredictor

HEAD = 2
"""Numbers before the two vectors of a pair of predictors: a fingerprint, and the length of the first."""


class CombinedPredictor(Predictor):
    """A model of pixels, and logistic regression on the same bands and their surroundings."""

    def __init__(self, model: Predictor) -> None:
        """Join the model with a plain classifier of its bands.

        Raises:
            ArtifactError: if the model does not answer for pixels, in classes of the labels' own.
        """
        card = model.card()
        if not combines(card):
            raise ArtifactError(
                f"{card.title!r} cannot be combined with a plain classifier: that takes a model of pixels with classes "
                "of the labels' own. Use --method adapted."
            )
        self.model, self.plain = model, PlainPredictor("surroundings", card.band_names)

    def __reduce__(self) -> tuple[type["CombinedPredictor"], tuple[Predictor]]:
        """Travel as the model."""
        return CombinedPredictor, (self.model,)

    def read_card(self) -> Card:
        """Return the model's card, with what the two are together."""
        card = self.model.card()
        title = f"{card.title}, with logistic regression on the bands and their means around a pixel"
        return replace(card, title=title, adapted=AdaptedLayout(HEAD, 0, card.adapted.fingerprint ^ 1))

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Answer as an exported model's signatures `adapt` and `predict` do.

        Raises:
            ArtifactError: if it is another one, or what was adapted is not of the two.
            FewshotError: what the model raises.
        """
        if signature == "adapt":
            first, second = self.model.call("adapt", inputs), self.plain.call("adapt", inputs)
            return {**first, "adapted": join_vectors(self.card(), first["adapted"], second["adapted"])}
        if signature == "predict":
            return self._predict_both(inputs["adapted"], inputs["query_x"])
        raise ArtifactError(f"{self.card().title} knows adapt and predict, not {signature}.")

    def _predict_both(self, vector: Array, query_x: Array) -> dict[str, Array]:
        """Return the normalised product of the probabilities of the two."""
        first, second = split_vectors(self.card(), vector)
        plain = self.plain.call("predict", {"adapted": second, "query_x": query_x})["probabilities"]
        adapted = AdaptedVector(first, plain.shape[-1], SupportLoss(0.0, 0.0))
        # Neither may rule a class out alone.
        both = np.maximum(self.model.predict(adapted, query_x).probabilities, LEAST) * np.maximum(plain, LEAST)
        both /= both.sum(axis=-1, keepdims=True)
        return {"probabilities": both, "class_index": both.argmax(axis=-1).astype(np.int32)}


def join_vectors(card: Card, first: Array, second: Array) -> Array:
    """Return two adapted vectors as one.

    Args:
        card: Of the pair of predictors.
        first: Of the one.
        second: Of the other.
    """
    head = np.array([card.adapted.fingerprint, len(first)])
    return np.concatenate([head, first, second]).astype(np.float32)


def split_vectors(card: Card, vector: Array) -> tuple[Array, Array]:
    """Return the two vectors that `join_vectors` made one.

    Raises:
        ArtifactError: if they are of another pair of predictors.
    """
    fingerprint, length = vector[:HEAD].astype(np.int64).tolist()
    if fingerprint != card.adapted.fingerprint:
        raise ArtifactError(f"adapted was not made by {card.title}; adapt it again")
    first, second = np.split(vector[HEAD:], [length])
    return first, second


def combines(card: Card) -> bool:
    """Whether a model answers as a plain classifier of pixels does: for each pixel, in classes of the labels' own."""
    return card.output == "pixel" and card.label_space == "task"
