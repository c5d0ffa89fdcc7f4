"""One interface to a model that adapts: a SavedModel folder here, or a server elsewhere (`exported.client`).

    with LocalPredictor(Path("models/land")) as predictor:
        adapted = predictor.adapt(support_x, support_y)
        answer = predictor.predict(adapted, query_x)

Arrays are NumPy's, pictures hold values as the card describes them, and what a model refuses is one of our errors.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, DivergedError, FewshotError, ShapeError
from fewshot.exported.card import AUTO_STEPS, Card, read_card
from fewshot.exported.saved_model import load_saved_model
from fewshot.exported.versions import newest_version

Array = npt.NDArray[Any]

Steps: TypeAlias = int | Literal["auto"] | None
"""Inner steps: a number, what the support itself asks for, or the model's own number."""

PICTURE_BYTES = 64 << 20
"""Most bytes of query pictures, as float32, in one call; more are split."""


class SupportLoss(NamedTuple):
    """Mean loss of the support labels, before the first step and after the last."""

    before: float
    after: float


@dataclass(frozen=True, eq=False)
class AdaptedVector:
    """A model adapted to a support set, to predict with many times; good for one version of one model.

    Attributes:
        vector: [fixed + per_class * classes] float32, what `predict` takes.
        classes: How many classes it tells apart.
        support_loss: Before and after.
        steps: Inner steps taken; None where a model that was exported before does not say.
        confusion: [classes, classes] how often labelled pixels of a class (row), held out in turn, were taken for each
            class (column); None where none were.
    """

    vector: npt.NDArray[np.float32]
    classes: int
    support_loss: SupportLoss
    steps: int | None = None
    confusion: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model answers; its arrays may be read-only.

    Attributes:
        probabilities: [m, classes] or [m, H, W, classes] float32.
        class_index: [m] or [m, H, W] int32, the class of greatest probability.
        support_loss: Before and after, where the call adapted.
    """

    probabilities: npt.NDArray[np.float32]
    class_index: npt.NDArray[np.int32]
    support_loss: SupportLoss | None = None


class Predictor(ABC):
    """Adapts and predicts. Subclasses say how a signature is called and how the card is read.

    A predictor is pickled as where its model is, so another process opens the model for itself.
    """

    picture_bytes = PICTURE_BYTES
    _card: Card | None = None

    @abstractmethod
    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Call a signature with arrays of its inputs' types, and return its outputs.

        Args:
            signature: Its name.
            inputs: By name, all of them.

        Raises:
            ArtifactError: if the model has no such signature.
            FewshotError: what the model refuses.
        """

    @abstractmethod
    def read_card(self) -> Card:
        """Read the model's card anew."""

    def close(self) -> None:
        """Let go of connections."""
        return

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of connections."""
        self.close()

    def card(self) -> Card:
        """Return what the model says of itself; read once."""
        if self._card is None:
            self._card = self.read_card()
        return self._card

    def adapt(
        self,
        support_x: npt.ArrayLike,
        support_y: npt.ArrayLike,
        *,
        steps: Steps = None,
        support_weight: npt.ArrayLike | None = None,
    ) -> AdaptedVector:
        """Adapt to a support set.

        Args:
            support_x: [n, H, W, bands], values as the card describes them.
            support_y: [n] or [n, H, W] whole numbers, class 0 up to the number of classes; -1 is ignored.
            steps: Inner steps; the card's own number if None; "auto" lets the support decide.
            support_weight: [n] how much each picture counts; all the same if None.

        Raises:
            ShapeError: if the model refuses the support set; the message says why.
            DivergedError: if the adaptation leaves the finite numbers.
        """
        inputs = self._support(support_x, support_y, steps, support_weight)
        answer = self.call("adapt" if support_weight is None else "adapt_weighted", inputs)
        taken = int(answer["steps"]) if "steps" in answer else None
        vector, classes = np.asarray(answer["adapted"]), int(answer["classes"])
        return AdaptedVector(vector, classes, _loss(answer), taken, answer.get("confusion"))

    def predict(self, adapted: AdaptedVector, query_x: npt.ArrayLike) -> Prediction:
        """Answer for queries; many are sent in several calls.

        Args:
            adapted: What `adapt` returned.
            query_x: [m, H, W, bands], values as the card describes them.

        Raises:
            ShapeError: if the model refuses the queries, or is transductive and takes fewer in one call.
            ArtifactError: if `adapted` was made by another model or another version of it.
        """
        queries = np.asarray(query_x)
        most = self.queries_at_once(queries)
        if len(queries) <= most:
            return self._predict(adapted, queries)
        if self.card().transductive:
            raise ShapeError(
                f"The model is transductive: its answers depend on all queries of a call. It takes {most} in one; "
                f"received {len(queries)}."
            )
        parts = [self._predict(adapted, queries[first : first + most]) for first in range(0, len(queries), most)]
        return Prediction(
            np.concatenate([part.probabilities for part in parts]), np.concatenate([part.class_index for part in parts])
        )

    def adapt_and_predict(
        self,
        support_x: npt.ArrayLike,
        support_y: npt.ArrayLike,
        query_x: npt.ArrayLike,
        *,
        steps: Steps = None,
        support_weight: npt.ArrayLike | None = None,
    ) -> Prediction:
        """Adapt to a support set and answer for queries, in one call where they fit one.

        Args and errors are those of `adapt` and `predict`.
        """
        queries = np.asarray(query_x)
        if len(np.atleast_1d(queries)) > self.queries_at_once(queries):
            adapted = self.adapt(support_x, support_y, steps=steps, support_weight=support_weight)
            answer = self.predict(adapted, queries)
            return Prediction(answer.probabilities, answer.class_index, adapted.support_loss)
        inputs = self._support(support_x, support_y, steps, support_weight) | {"query_x": _floats("query_x", queries)}
        name = "adapt_and_predict" if support_weight is None else "adapt_and_predict_weighted"
        return prediction(self.call(name, inputs))

    def predict_base(self, query_x: npt.ArrayLike) -> Prediction:
        """Answer for queries without adapting, where the model has a fixed head.

        Raises:
            ArtifactError: if the model cannot.
        """
        if "predict_base" not in self.card().signatures:
            raise ArtifactError(
                f"The model has a {self.card().head} head, whose classes come with the support set; adapt it first."
            )
        return prediction(self.call("predict_base", {"query_x": _floats("query_x", query_x)}))

    def features(self, query_x: npt.ArrayLike, adapted: AdaptedVector | None = None) -> Array:
        """Return the network's features of pictures [m, F] or [m, H, W, F], for classifiers of one's own.

        Args:
            query_x: [m, H, W, bands], values as the card describes them.
            adapted: What `adapt` returned, for the network as it was adapted; many pictures are sent in several calls.
                If None, features of the start: where the network normalises, by statistics of these very pictures.

        Raises:
            ShapeError: if the model refuses the pictures, or they are too many for one call without `adapted`.
            ArtifactError: if the model has no features, or `adapted` was made by another one.
        """
        queries, name = np.asarray(query_x), "features_start" if adapted is None else "features"
        if name not in self.card().signatures:
            raise ArtifactError(f"{self.card().title!r} was exported without features; export the run again.")
        most = self.queries_at_once(queries)
        if adapted is None and len(queries) > most:
            raise ShapeError(
                f"Features of the start depend on all pictures of a call. The model takes {most} of these; received "
                f"{len(queries)}. Adapt it first, with 0 steps for the start, and hand that over."
            )
        inputs = {} if adapted is None else {"adapted": np.asarray(adapted.vector, np.float32)}
        parts = [queries[first : first + most] for first in range(0, max(len(queries), 1), most)]
        return np.concatenate(
            [self.call(name, {**inputs, "query_x": _floats("query_x", part)})["features"] for part in parts]
        )

    def queries_at_once(self, queries: Array) -> int:
        """Return how many of these queries go in one call."""
        each = 4 * max(int(np.prod(queries.shape[1:])), 1)
        return max(min(self.card().limits.queries, self.picture_bytes // each), 1)

    def chooses_steps(self) -> bool:
        """Whether the model can let a support set decide how many inner steps are taken."""
        adapt = self.card().signatures.get("adapt")
        return adapt is not None and "steps" in adapt.outputs

    def _number(self, steps: Steps) -> int:
        """Return the number of inner steps to ask for."""
        card = self.card()
        if steps != "auto":
            return card.steps if steps is None else steps
        if not self.chooses_steps():
            raise ArtifactError(
                f"{card.title!r} was exported by a version whose models cannot choose the number of inner steps. "
                f"Give a number, such as its own {card.steps}, or export the run again."
            )
        return AUTO_STEPS

    def _predict(self, adapted: AdaptedVector, queries: Array) -> Prediction:
        inputs = {"adapted": np.asarray(adapted.vector, np.float32), "query_x": _floats("query_x", queries)}
        return prediction(self.call("predict", inputs))

    def _support(
        self, x: npt.ArrayLike, y: npt.ArrayLike, steps: Steps, weight: npt.ArrayLike | None
    ) -> dict[str, Array]:
        inputs: dict[str, Array] = {
            "support_x": _floats("support_x", x),
            "support_y": _whole("support_y", y),
            "steps": _whole("steps", self._number(steps)),
        }
        if weight is not None:
            inputs["support_weight"] = _floats("support_weight", weight)
        return inputs


class LocalPredictor(Predictor):
    """A SavedModel folder, run in this process."""

    def __init__(self, model: Path) -> None:
        """Load a version, DIR/NAME/N; or the newest one of DIR/NAME.

        Raises:
            DataNotFoundError: if there is no such folder.
            ArtifactError: if it is not an exported model, or is damaged.
        """
        import tensorflow as tf  # servers' clients do without it

        self.folder = newest_version(model)
        self._card = read_card(self.folder)
        self._tf = tf
        try:
            self._model = load_saved_model(self.folder)  # owns the variables that the signatures read
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ArtifactError(f"{self.folder} cannot be loaded: {error}. Export the run again.") from error

    def __reduce__(self) -> tuple[type[LocalPredictor], tuple[Path]]:
        """Travel as the folder."""
        return LocalPredictor, (self.folder.resolve(),)

    def read_card(self) -> Card:
        """Read the card of the folder."""
        return read_card(self.folder)

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run a signature."""
        try:
            tensors = {key: self._tf.constant(value) for key, value in inputs.items()}
            outputs = self._model.signatures[signature](**tensors)
        except KeyError:
            raise ArtifactError(f"{self.folder} has no signature {signature}.") from None
        except self._tf.errors.InvalidArgumentError as error:
            raise refusal(error.message) from None
        return {key: np.asarray(value) for key, value in outputs.items()}


def refusal(message: str) -> FewshotError:
    """Return the error of our tree for TensorFlow's INVALID_ARGUMENT: what a graph says of a request it refuses."""
    found = re.search(r"assertion failed: \[(.*?)\]\s*(?:\[\[|$)", message, re.DOTALL)
    if found is None:
        lines = [line for line in message.splitlines() if line and not line.startswith(_NOISE)]
        return ShapeError(f"The model refuses the request: {lines[0] if lines else message}")
    sentence = found[1]
    if sentence.startswith("Adaptation diverged"):
        return DivergedError(sentence)
    return ArtifactError(sentence) if sentence.startswith("adapted ") else ShapeError(sentence)


_NOISE = ("Graph execution error", "Detected at node", "<stack traces unavailable>", "\t")


def prediction(answer: Mapping[str, Array]) -> Prediction:
    """Return a signature's answer, typed."""
    loss = _loss(answer) if "support_loss" in answer else None
    return Prediction(np.asarray(answer["probabilities"]), np.asarray(answer["class_index"]), loss)


def _loss(answer: Mapping[str, Array]) -> SupportLoss:
    before, after = (float(value) for value in answer["support_loss"])
    return SupportLoss(before, after)


def _floats(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ShapeError(f"{name} is numbers; received an array of {array.dtype}.")
    return np.asarray(array, np.float32, order="C")


def _whole(name: str, values: npt.ArrayLike) -> npt.NDArray[np.int32]:
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "biuf" or not np.array_equal(array, array.astype(np.int64))):
        raise ShapeError(f"{name} is whole numbers; received an array of {array.dtype}.")
    if array.size and np.abs(array.astype(np.int64)).max() > np.iinfo(np.int32).max:
        raise ShapeError(f"{name} holds {int(np.abs(array).max())}, which is no label or number of steps.")
    return array.astype(np.int32)
