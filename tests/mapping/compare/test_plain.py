"""Plain classifiers behind the interface of exported models."""

import pickle

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler

from fewshot.errors import ArtifactError, ShapeError
from fewshot.mapping.methods import METHODS
from fewshot.mapping.plain.predictor import TITLES, PlainPredictor

BANDS = ("red", "nir", "swir")
METHOD = pytest.mark.parametrize("method", sorted(TITLES))


def samples(each: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as pictures [n, 1, 1, 3], digital numbers of three well separated classes; and these [n]."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), each)
    means = np.array([[200, 900, 100], [1500, 1400, 3000], [400, 4000, 1200]])
    x = means[y] + rng.normal(0, 120, (len(y), 3))
    return x[:, np.newaxis, np.newaxis].astype(np.float32), y.astype(np.int32)


def test_every_plain_method_can_be_asked_for() -> None:
    assert set(METHODS) == {"adapted", "combined", "features+logistic", *TITLES}


@METHOD
def test_classes_are_found_again_with_probabilities(method: str) -> None:
    predictor = PlainPredictor(method, BANDS)
    adapted = predictor.adapt(*samples())
    x, y = samples(40, seed=1)
    answer = predictor.predict(adapted, x.reshape(1, 12, 10, 3))
    assert answer.probabilities.shape == (1, 12, 10, 3) and answer.probabilities.dtype == np.float32
    assert answer.probabilities.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(answer.class_index, answer.probabilities.argmax(axis=-1))
    assert (answer.class_index.ravel() == y).mean() > 0.97
    assert adapted.classes == 3 and adapted.support_loss.after < adapted.support_loss.before


@METHOD
def test_another_process_fits_the_same(method: str) -> None:
    predictor = PlainPredictor(method, BANDS)
    adapted = predictor.adapt(*samples())
    again = pickle.loads(pickle.dumps(predictor))
    x, _ = samples(50, seed=2)
    there = again.predict(pickle.loads(pickle.dumps(adapted)), x).probabilities
    assert there.tobytes() == predictor.predict(adapted, x).probabilities.tobytes()


@METHOD
def test_scale_and_offset_of_a_band_mean_nothing(method: str) -> None:
    (x, y), (query, _) = samples(), samples(30, seed=3)
    predictor = PlainPredictor(method, BANDS)
    plain = predictor.predict(predictor.adapt(x, y), query).class_index
    scaled = predictor.predict(predictor.adapt(x * 1e-4 - 0.1, y), query * 1e-4 - 0.1).class_index
    assert (plain == scaled).mean() > 0.98


@METHOD
def test_one_sample_of_each_class_is_enough(method: str) -> None:
    """And a band that says nothing does no harm."""
    (x, y), (query, truth) = samples(1), samples(30, seed=4)
    x[..., 0] = query[..., 0] = 7
    predictor = PlainPredictor(method, BANDS)
    answer = predictor.predict(predictor.adapt(x, y), query)
    assert np.isfinite(answer.probabilities).all()
    if method != "boosting":  # which grows no tree of three samples
        assert (answer.class_index[:, 0, 0] == truth).mean() > 0.95


def test_class_means_are_those_of_scikit_learn() -> None:
    (x, y), (query, _) = samples(), samples(100, seed=6)
    predictor = PlainPredictor("prototypes", BANDS)
    scaler = StandardScaler().fit(x[:, 0, 0])
    theirs = NearestCentroid(priors="uniform").fit(scaler.transform(x[:, 0, 0]), y)
    wanted = theirs.decision_function(scaler.transform(query[:, 0, 0])).argmax(axis=1)
    assert np.array_equal(predictor.predict(predictor.adapt(x, y), query).class_index[:, 0, 0], wanted)


def test_nearest_is_the_class_of_the_nearest_sample() -> None:
    (x, y), rng = samples(), np.random.default_rng(5)
    query = rng.uniform(0, 4000, (200, 1, 1, 3)).astype(np.float32)
    predictor = PlainPredictor("nearest", BANDS)
    scaler = StandardScaler().fit(x[:, 0, 0])
    wanted = KNeighborsClassifier(1).fit(scaler.transform(x[:, 0, 0]), y).predict(scaler.transform(query[:, 0, 0]))
    assert np.array_equal(predictor.predict(predictor.adapt(x, y), query).class_index[:, 0, 0], wanted)


def test_pixels_without_a_label_are_no_samples() -> None:
    x, y = samples()
    pictures, labels = x.reshape(1, 6, 5, 3), y.reshape(1, 6, 5).copy()
    labels[0, 0] = -1
    adapted = PlainPredictor("logistic", BANDS).adapt(pictures, labels)
    alone = PlainPredictor("logistic", BANDS).adapt(x[5:], y[5:])
    assert np.array_equal(adapted.vector, alone.vector)


def test_what_does_not_fit_is_refused() -> None:
    x, y = samples()
    predictor = PlainPredictor("logistic", BANDS)
    adapted = predictor.adapt(x, y)
    with pytest.raises(ShapeError, match=r"expected pictures \[n, H, W, 3\]"):
        predictor.predict(adapted, x[..., :2])
    with pytest.raises(ShapeError, match="two classes or more"):
        predictor.adapt(x[:5], y[:5])
    with pytest.raises(ArtifactError, match="nearest labelled pixel"):
        PlainPredictor("nearest", BANDS).predict(adapted, x)
    with pytest.raises(ArtifactError, match="not adapt_weighted"):
        predictor.adapt(x, y, support_weight=np.ones(len(y)))
