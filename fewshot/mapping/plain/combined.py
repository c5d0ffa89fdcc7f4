"""A model and a plain classifier together: the product of what the two say of a pixel.

The model knows from other regions what differs between land covers; logistic regression on the bands and their means
around a pixel knows this region alone. Where one is unsure the other decides, so that together they are seldom worse
than the better of them (docs/results.md, "Real scenes").

That takes two that are as sure as they are right: else the one that is too sure decides alone. So each is calibrated
first, by a temperature fitted to what it says of labelled pictures that it was not shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError
from fewshot.exported.adapted import with_temperature
from fewshot.exported.card import AdaptedLayout, Card
from fewshot.exported.predictor import AdaptedVector, Array, Predictor, SupportLoss
from fewshot.mapping.compare.calibration import fit_temperature
from fewshot.mapping.compare.confusion import count_confusion
from fewshot.mapping.plain.predictor import PlainPredictor

HEAD = 2
"""Numbers before the two vectors of a pair of predictors: a fingerprint, and the length of the first."""
_FOLDS = 4
_DOUBT = 1.0
"""Weight of the expectation that a temperature is 1, in labels: few labels cannot tell much else."""


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
        size = replace(card.size, around=max(card.size.around, self.plain.card().size.around))
        adapted = AdaptedLayout(HEAD + 2, 0, card.adapted.fingerprint ^ 2)  # two temperatures more
        return replace(card, title=title, size=size, adapted=adapted)

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Answer as an exported model's signatures `adapt`, `predict` and `features` do; features are the model's.

        Raises:
            ArtifactError: if it is another one, or what was adapted is not of the two.
            FewshotError: what the model raises.
        """
        if signature == "adapt":
            first, second = self.model.call("adapt", inputs), self.plain.call("adapt", inputs)
            temperatures, confusion = self._judge({**inputs, "steps": first.get("steps", inputs["steps"])})
            fitted = np.concatenate([temperatures, second["adapted"]])
            return {**first, "adapted": join_vectors(self.card(), first["adapted"], fitted), "confusion": confusion}
        if signature == "predict":
            return self._predict_both(inputs["adapted"], inputs["query_x"])
        if signature == "features":
            return model_features(self.model, self.card(), inputs)
        raise ArtifactError(f"{self.card().title} knows adapt, predict and features, not {signature}.")

    def _judge(self, inputs: Mapping[str, Any]) -> tuple[list[float], Array]:
        """Hold labelled pictures out in turn; return what calibrates the two, and what the two together said of them.

        Returns:
            The temperatures of the model and of the plain classifier, 1 where nothing can be held out; and how often
            labels of each class were taken for each [classes, classes].
        """
        x, y = np.asarray(inputs["support_x"]), np.asarray(inputs["support_y"])
        classes, held = int(y.max()) + 1, list(self._held_out(x, y, inputs["steps"]))
        if not held:
            return [1.0, 1.0], np.zeros((classes, classes), np.int32)
        *answers, labels = (np.concatenate(parts) for parts in zip(*held, strict=True))
        temperatures = [fit_temperature(found, labels, doubt=_DOUBT) for found in answers]
        said = _product(answers, temperatures).argmax(axis=-1)
        return temperatures, count_confusion(labels, said, classes)

    def _held_out(self, x: Array, y: Array, steps: Array) -> Iterator[tuple[Array, Array, Array]]:
        """Yield what the two say of labels that they were not shown [m, classes] each, and these labels [m]."""
        fold, classes = _deal(y), int(y.max()) + 1
        for number in range(_FOLDS):
            held = fold == number
            shown = np.setdiff1d(y[~held], [-1])
            index = np.full(classes + 1, -1, np.int32)  # the last is that of label -1
            index[shown] = np.arange(len(shown))
            asked = index[y[held]] >= 0
            if len(shown) < 2 or not asked.any():
                continue
            others = {"support_x": x[~held], "support_y": index[y[~held]], "steps": steps}
            answers = []
            for predictor in (self.model, self.plain):
                adapted = AdaptedVector(predictor.call("adapt", others)["adapted"], len(shown), SupportLoss(0.0, 0.0))
                found = np.zeros((int(asked.sum()), classes), np.float32)
                found[:, shown] = predictor.predict(adapted, x[held]).probabilities[asked]
                answers.append(found)
            yield answers[0], answers[1], y[held][asked]

    def _predict_both(self, vector: Array, query_x: Array) -> dict[str, Array]:
        """Return the normalised product of the calibrated probabilities of the two."""
        first, second = split_vectors(self.card(), vector)
        temperatures, second = second[:2].tolist(), second[2:]
        plain = self.plain.call("predict", {"adapted": second, "query_x": query_x})["probabilities"]
        adapted = AdaptedVector(first, plain.shape[-1], SupportLoss(0.0, 0.0))
        both = _product([self.model.predict(adapted, query_x).probabilities, plain], temperatures)
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


def model_features(model: Predictor, card: Card, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Return what the model of a pair of predictors answers for features.

    Args:
        model: The first of the two.
        card: Of the pair.
        inputs: Of the signature `features`, adapted to the pair.

    Raises:
        ArtifactError: if what was adapted is not of the pair.
    """
    first, _ = split_vectors(card, inputs["adapted"])
    return model.call("features", {**inputs, "adapted": first})


def _product(answers: Sequence[Array], temperatures: Sequence[float]) -> Array:
    """Return the product of the calibrated probabilities [..., classes] of the two; they do not sum to one."""
    first, second = (with_temperature(found, own) for found, own in zip(answers, temperatures, strict=True))
    return first * second


def _deal(labels: Array) -> npt.NDArray[np.int64]:
    """Deal pictures with labels [n, H, W] to folds [n]: neighbours together, each class to as many as it can be."""
    main = np.array([np.bincount(picture[picture >= 0], minlength=1).argmax() for picture in labels])
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(main):
        own = np.flatnonzero(main == label)
        fold[own] = np.arange(len(own)) * _FOLDS // len(own)
    return fold


def combines(card: Card) -> bool:
    """Whether a model answers as a plain classifier of pixels does: for each pixel, in classes of the labels' own."""
    return card.output == "pixel" and card.label_space == "task"
