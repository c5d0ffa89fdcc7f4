"""Logistic regression on what a model's network makes of a pixel or a picture, fitted to the labels of the region."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fewshot.errors import ArtifactError
from fewshot.exported.card import AdaptedLayout, Card
from fewshot.exported.predictor import AdaptedVector, Array, Predictor, SupportLoss
from fewshot.mapping.plain.combined import HEAD, join_vectors, model_features, split_vectors
from fewshot.mapping.plain.predictor import PlainPredictor


class FeaturesPredictor(Predictor):
    """A model's network as training left it, and logistic regression in place of its last layer.

    The model adapts with no step, which keeps what the network normalises with; features are then of the start.
    """

    def __init__(self, model: Predictor) -> None:
        """Put a plain classifier on a model.

        Raises:
            ArtifactError: if the model has no features, or its classes are not the labels' own.
        """
        card = model.card()
        if not has_features(card):
            raise ArtifactError(
                f"{card.title!r} has no features for a plain classifier: that takes a model with classes of the "
                "labels' own, exported by this version. Use --method adapted."
            )
        self.model = model
        self.plain = PlainPredictor("logistic", tuple(f"feature {n + 1}" for n in range(card.adapted.width)))

    def __reduce__(self) -> tuple[type["FeaturesPredictor"], tuple[Predictor]]:
        """Travel as the model."""
        return FeaturesPredictor, (self.model,)

    def read_card(self) -> Card:
        """Return the model's card, with what stands on it."""
        card = self.model.card()
        title = f"logistic regression on the features of: {card.title}"
        return replace(card, title=title, steps=0, adapted=AdaptedLayout(HEAD, 0, card.adapted.fingerprint ^ 3))

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Answer as an exported model's `adapt`, `predict` and `features` do; steps are none, whatever is asked for.

        Raises:
            ArtifactError: if it is another one, or what was adapted is not of this model.
            FewshotError: what the model raises.
        """
        if signature == "adapt":
            return self._adapt(inputs["support_x"], inputs["support_y"])
        if signature == "predict":
            return self._predict_features(inputs["adapted"], inputs["query_x"])
        if signature == "features":
            return model_features(self.model, self.card(), inputs)
        raise ArtifactError(f"{self.card().title} knows adapt, predict and features, not {signature}.")

    def _adapt(self, support_x: Array, support_y: Array) -> dict[str, Array]:
        """Keep the model's vector of no step, and the features of what is labelled."""
        start = self.model.adapt(support_x, support_y, steps=0)
        fitted = self.plain.call("adapt", {"support_x": self._seen(start, support_x), "support_y": support_y})
        return {**fitted, "adapted": join_vectors(self.card(), start.vector, fitted["adapted"])}

    def _predict_features(self, vector: Array, query_x: Array) -> dict[str, Array]:
        """Classify the features of pictures [m, H, W, bands]: each picture, or each of its pixels."""
        first, second = split_vectors(self.card(), vector)
        start = AdaptedVector(first, 0, SupportLoss(0.0, 0.0))
        answer = self.plain.call("predict", {"adapted": second, "query_x": self._seen(start, query_x)})
        if self.card().output == "patch":
            answer = {key: value[:, 0, 0] for key, value in answer.items()}
        return answer

    def _seen(self, start: AdaptedVector, pictures: Array) -> Array:
        """Return the features of pictures [n, H, W, F]; those of whole pictures [n, 1, 1, F]."""
        features = self.model.features(pictures, start)
        return features.reshape(len(features), *(features.shape[1:3] if features.ndim == 4 else (1, 1)), -1)


def has_features(card: Card) -> bool:
    """Whether a plain classifier can stand on a model's features."""
    return "features" in card.signatures and card.label_space == "task"
