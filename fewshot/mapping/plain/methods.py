"""The plain classifiers: what scikit-learn has, set for few samples, all with probabilities and a fixed seed."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FloatArray = npt.NDArray[np.float32]


class MeanOfEachClass(ClassifierMixin, BaseEstimator):
    """Class means, with probabilities from normal distributions of one width a feature, the same for all classes.

    As scikit-learn's `NearestCentroid`, which has no probabilities where each class has a single sample.
    """

    def fit(self, x: FloatArray, y: npt.NDArray[np.int64]) -> Self:
        """Average the samples [n, features] of each class of `y` [n]."""
        self.classes_, index = np.unique(y, return_inverse=True)
        self._means = np.stack([x[index == number].mean(axis=0) for number in range(len(self.classes_))])
        squares = ((x - self._means[index]) ** 2).sum(axis=0)
        width = np.sqrt(squares / max(len(x) - len(self.classes_), 1))
        self._width = np.where(width > 0, width, 1)
        return self

    def predict_proba(self, x: FloatArray) -> npt.NDArray[np.float64]:
        """Return probabilities [n, classes] that fall off with the distance."""
        distances = euclidean_distances(x / self._width, self._means / self._width, squared=True)
        return np.asarray(softmax(-distances / 2, axis=1))


class NearestOfEachClass(ClassifierMixin, BaseEstimator):
    """The class of the nearest sample, with probabilities from the distances to the nearest sample of every class."""

    def fit(self, x: FloatArray, y: npt.NDArray[np.int64]) -> Self:
        """Keep the samples [n, features] of each class of `y` [n]."""
        self.classes_ = np.unique(y)
        self._nearest = [NearestNeighbors(n_neighbors=1).fit(x[y == label]) for label in self.classes_]
        return self

    def predict_proba(self, x: FloatArray) -> npt.NDArray[np.float64]:
        """Return probabilities [n, classes] that fall off with the distance."""
        distances = [own.kneighbors(x)[0] for own in self._nearest]
        return np.asarray(softmax(-np.concatenate(distances, axis=1), axis=1))


_MAKE: dict[str, Callable[[], Any]] = {
    "prototypes": lambda: make_pipeline(StandardScaler(), MeanOfEachClass()),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    # Three times as many numbers a sample, which say nearly the same: held together more.
    "surroundings": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000)),
    "nearest": lambda: make_pipeline(StandardScaler(), NearestOfEachClass()),
    # One thread: several add their trees up in any order, and a map must not depend on that to the last bit.
    "forest": lambda: RandomForestClassifier(100, random_state=0),
    # The usual 20 samples a leaf and 31 leaves would grow no tree of sixty samples.
    "boosting": lambda: HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=4, min_samples_leaf=5, l2_regularization=1.0, early_stopping=False, random_state=0
    ),
}


def with_surroundings(pictures: FloatArray, squares: Sequence[int]) -> FloatArray:
    """Return the bands of pictures, and their means over squares around each pixel, mirrored at a picture's edges.

    Args:
        pictures: [n, H, W, bands].
        squares: Sides of the squares, in pixels.

    Returns:
        [n, H, W, bands and means of each square].
    """
    means = [uniform_filter(pictures, (1, side, side, 1), mode="reflect") for side in squares]
    return np.concatenate([pictures, *means], axis=-1)


def fit_plain(method: str, x: FloatArray, y: npt.NDArray[np.int64]) -> Any:
    """Fit a classifier.

    Args:
        method: One of `predictor.TITLES`.
        x: [n, features] samples.
        y: [n] class, 0 up to their number, at least two.
    """
    return _MAKE[method]().fit(x, y)
