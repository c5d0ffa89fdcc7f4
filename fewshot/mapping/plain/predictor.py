"""A plain classifier as a predictor: it adapts by keeping the labelled pixels, and predicts with what fits them.

What travels is small and says all: the method, the names of the bands, and the labelled pixels as the adapted vector.
So another process fits the same classifier for itself, and a map that goes on later is the same.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, ShapeError
from fewshot.exported.card import AdaptedLayout, Card, CardBand, DataSource, InputSize, Limits, Rates
from fewshot.exported.predictor import Array, Predictor

TITLES = {
    "prototypes": "class means of the bands",
    "logistic": "logistic regression on the bands",
    "nearest": "nearest labelled pixel",
    "surroundings": "logistic regression on the bands and their means around a pixel",
    "forest": "random forest on the bands",
    "boosting": "gradient boosting on the bands",
}
"""The methods, and what they are called."""

SQUARES = (3, 7)
"""Sides of the squares around a pixel whose means `surroundings` sees."""

_SAMPLES = 4096
"""Labelled pixels that are kept at most, those of large classes left out first."""
_WINDOW = 256  # rows and columns asked for at once
_TILE = 64  # rows and columns of the pictures that surroundings are taken from
_HEAD = 4  # fingerprint, samples, classes and bands stand before the samples in an adapted vector


class PlainPredictor(Predictor):
    """A plain classifier of single pixels, of any number of bands in any unit."""

    def __init__(self, method: str, bands: tuple[str, ...]) -> None:
        """Choose one of `TITLES`, for pixels with bands of these names."""
        self.method, self.bands = method, bands
        self._vector: Array | None = None
        self._fitted: Any = None

    def __reduce__(self) -> tuple[type["PlainPredictor"], tuple[str, tuple[str, ...]]]:
        """Travel without what is fitted."""
        return PlainPredictor, (self.method, self.bands)

    def read_card(self) -> Card:
        """Return a card that asks for the bands as they are, pixel by pixel or with what is around."""
        side, around = (_TILE, max(SQUARES) // 2) if self.method == "surroundings" else (1, 0)
        return Card(
            title=TITLES[self.method],
            bands=tuple(CardBand(name) for name in self.bands),
            value_type="float32",
            size=InputSize(side, side, free=True, smallest=1, largest=_WINDOW, around=around),
            output="pixel",
            label_space="task",
            classes=(),
            head="plain",
            outputs=None,
            steps=0,
            limits=Limits(steps=0, examples=_SAMPLES, queries=1 << 20, classes=254),
            rates=Rates("constant", 0.0, 0.0, 0.0, 0.0),
            transductive=False,
            data=DataSource("the labels of the map itself"),
            recipe={},
            adapted=AdaptedLayout(_HEAD, 0, self._fingerprint),
            unit_free=True,
        )

    @property
    def _fingerprint(self) -> int:
        """A number of the method and the bands, small enough to be whole as float32."""
        return zlib.crc32(repr((self.method, self.bands)).encode()) & 0xFFFFFF

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Answer as an exported model's signatures `adapt` and `predict` do.

        Raises:
            ArtifactError: if it is another one, or what was adapted is not of this method and these bands.
            ShapeError: if pixels have other bands, or there are no two classes.
        """
        if signature == "adapt":
            return self._adapt(inputs["support_x"], inputs["support_y"])
        if signature == "predict":
            return self._predict_pixels(inputs["adapted"], inputs["query_x"])
        raise ArtifactError(f"{TITLES[self.method]} knows adapt and predict, not {signature}.")

    def _adapt(self, support_x: Array, support_y: Array) -> dict[str, Array]:
        """Keep the labelled pixels of pictures [n, H, W, bands] with labels [n] or [n, H, W]."""
        self._require_bands(support_x)
        labels = support_y.reshape(*support_y.shape, *[1] * (3 - support_y.ndim)) + np.zeros_like(support_x[..., 0])
        x, y = self._features(support_x)[labels >= 0], labels[labels >= 0].astype(np.int64)
        classes = np.unique(y)
        if len(classes) < 2 or classes[-1] >= len(classes):
            raise ShapeError(
                f"expected labelled pixels of two classes or more, numbered 0, 1, ... without a gap; received the "
                f"labels {classes.tolist()[:20]}"
            )
        head = np.array([self._fingerprint, len(y), len(classes), x.shape[1]])
        vector = np.concatenate([head, x.ravel(), y]).astype(np.float32)
        found = self._fit(vector).predict_proba(x)[np.arange(len(y)), y]
        loss = np.array([np.log(len(classes)), -np.log(np.maximum(found, 1e-7)).mean()])
        return {"adapted": vector, "classes": np.array(len(classes)), "support_loss": loss}

    def _predict_pixels(self, vector: Array, query_x: Array) -> dict[str, Array]:
        """Classify the pixels of pictures [m, H, W, bands]."""
        self._require_bands(query_x)
        features = self._features(query_x)
        found = self._fit(vector).predict_proba(features.reshape(-1, features.shape[-1])).astype(np.float32)
        probabilities = found.reshape(*query_x.shape[:-1], -1)
        return {"probabilities": probabilities, "class_index": probabilities.argmax(axis=-1).astype(np.int32)}

    def _features(self, pictures: Array) -> Array:
        """Return what is known of each pixel [n, H, W, features]."""
        if self.method != "surroundings":
            return pictures
        from fewshot.mapping.plain.methods import with_surroundings

        return with_surroundings(pictures, SQUARES)

    def _fit(self, vector: Array) -> Any:
        """Return the classifier that is fitted to the samples in a vector; the last one is kept."""
        if self._vector is None or not (vector is self._vector or np.array_equal(vector, self._vector)):
            from fewshot.mapping.plain.methods import fit_plain  # slow to import, and most maps do without

            x, y = self._samples(vector)
            self._fitted, self._vector = fit_plain(self.method, x, y), vector
        return self._fitted

    def _samples(self, vector: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return the samples in a vector: [n, bands], and the class of each."""
        fingerprint, count, _, bands = vector[:_HEAD].astype(np.int64).tolist()
        if fingerprint != self._fingerprint or len(vector) != _HEAD + count * (bands + 1):
            raise ArtifactError(f"adapted was not made by {TITLES[self.method]} of these bands; adapt it again")
        x, y = np.split(vector[_HEAD:], [count * bands])
        return x.reshape(count, bands), y.astype(np.int64)

    def _require_bands(self, pictures: Array) -> None:
        if pictures.ndim != 4 or pictures.shape[-1] != len(self.bands):
            raise ShapeError(f"expected pictures [n, H, W, {len(self.bands)}]; received {list(pictures.shape)}")
