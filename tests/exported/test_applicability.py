"""Where a model holds, equal to two R packages that compute the same: CAST, of the method's authors, and waywiser."""

import pickle

import numpy as np
import pytest

from fewshot.errors import RasterError
from fewshot.exported.applicability import AccuracyBin, Applicability, accuracy_profile, between_classes, upper_whisker

CAST_DI = (
    *(0.09043580, 0.14046341, 0.16584582, 0.57617177, 0.26840303, 0.14353894, 0.19768329, 0.24022059, 0.06832037),
    *(0.29150668, 0.18471625, 0.57617177, 0.12344463, 0.09043580, 0.14353894, 0.26896008, 0.22713731, 0.24022059),
    *(0.20388725, 0.06832037, 0.23604264, 0.20388725, 0.91513568, 0.09558666, 0.14046341, 0.16214832, 0.37107762),
    *(0.16214832, 0.18471625, 0.12344463),
)
"""`trainDI` of the cookfarm example, from `tests/testthat/test-trainDI.R` of CAST 1.0."""
IMPORTANCE = (
    *(0.4513503114, 0.4050240509, 0.1802543852, 0.5782718534, 0.1561788555),
    *(0.0009105000, 0.0006527584, 0.0012708119, 0.0007807150, 0.0011424776),
)
"""`x$importance` in `tests/testthat/_snaps/area_of_applicability.md` of waywiser 0.5."""


def r_uniform(seed: int, count: int) -> np.ndarray:
    """What R draws with `set.seed(seed); runif(count)`: the seed scrambled as R does it, then Mersenne Twister."""
    state, key = seed, []
    for _ in range(675):
        state = (69069 * state + 1) & 0xFFFFFFFF
        key.append(state)
    generator = np.random.RandomState()  # noqa: NPY002  whose state can be set
    generator.set_state(("MT19937", np.array(key[51:], np.uint32), 624, 0, 0.0))
    return generator.randint(0, 2**32, count, dtype=np.uint32) * 2.3283064365386963e-10


@pytest.fixture(scope="module")
def friedman() -> tuple[np.ndarray, np.ndarray]:
    """The predictors of `vip::gen_friedman(1000, seed = 101)`, the first 700 to train on and the others to test on."""
    x = r_uniform(101, 10_000).reshape(10, 1000).T
    return x[:700], x[700:]


def test_equal_to_waywiser_within_its_printed_digits(friedman: tuple[np.ndarray, np.ndarray]) -> None:
    """Of the file that `IMPORTANCE` is from: `x$means`, `x$sds`, `x$d_bar`, `x$aoa_threshold`, `predict(aoa, test)`."""
    train, test = friedman
    assert train.mean(axis=0)[:3] == pytest.approx([0.5011694, 0.5059652, 0.4921696], abs=5e-8)
    assert train.std(axis=0, ddof=1)[:3] == pytest.approx([0.2871632, 0.2809696, 0.2932114], abs=5e-8)
    found = Applicability.fit(train, weights=IMPORTANCE)
    assert found.points[0, :3] == pytest.approx([-0.202710888, -0.582868552, 0.123208250], abs=5e-9)
    assert found.mean_distance == pytest.approx(1.16272, abs=5e-6)
    index = found.dissimilarity(test)
    printed = (0.175, 0.191, 0.190, 0.0802, 0.141, 0.287, 0.178, 0.205, 0.134, 0.177)
    assert index[:10] == pytest.approx(printed, abs=5e-4)
    assert upper_whisker(index.astype(np.float64)) == pytest.approx(0.3080491, abs=5e-8)
    assert found.dissimilarity(train).max() == 0


def test_threshold_equal_to_cast_within_its_printed_digits() -> None:
    """0.38986 is `DI$threshold` in the file that `CAST_DI` is from."""
    assert upper_whisker(np.array(CAST_DI)) == pytest.approx(0.38986, abs=5e-6)
    assert upper_whisker(np.array([0.1, 0.1, 0.2, 0.3])) == 0.3  # not above the greatest


def test_by_hand() -> None:
    """Points 0, 1, 3, 7 of one feature in two folds; distances do not depend on unit or weight."""
    points, fold = np.array([[0.0], [1], [3], [7]]), np.array([0, 0, 1, 1])
    mean = (1 + 3 + 7 + 2 + 6 + 4) / 6
    for scale in (1.0, 1e4):
        found = Applicability.fit(scale * points, weights=[0.3], fold=fold)
        assert found.own == pytest.approx(np.array([3, 2, 2, 6]) / mean)
        assert found.threshold == pytest.approx(6 / mean)  # 3.75 + 1.5 * 1.75 is more
        query = scale * np.array([[[2.0], [9]], [[-6], [0]]])
        assert found.dissimilarity(query) == pytest.approx(np.array([[1, 2], [6, 0]]) / mean, rel=1e-6)


def test_features_that_are_constant_or_unimportant_do_not_count() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(20, 2)), np.full((20, 1), 5.0)], axis=1)
    found, alone = Applicability.fit(x, weights=[1, -2, 1]), Applicability.fit(x[:, :1])
    far = np.array([[3.0, 1e6, -1e6]])
    assert found.dissimilarity(far) == pytest.approx(alone.dissimilarity(far[:, :1]))


def test_where_no_feature_tells_classes_apart_all_count_alike() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    assert np.array_equal(Applicability.fit(x, weights=[0, -1, 0]).own, Applicability.fit(x).own)
    x[:, 1] = 5.0  # the only one of importance, and the same everywhere
    assert np.array_equal(Applicability.fit(x, weights=[0, 1, 0]).own, Applicability.fit(x).own)


def test_labels_that_tell_nothing_are_refused() -> None:
    with pytest.raises(RasterError, match="2 labels are 0 apart, expected more than 0. Label other places"):
        Applicability.fit(np.array([[0.0], [5e-324]]))
    with pytest.raises(RasterError, match="2 labels are nan apart"):
        Applicability.fit(np.array([[0.0], [np.nan]]))
    with pytest.raises(RasterError, match="3 in 3.*apart"):
        Applicability.fit(np.ones((3, 2)))
    with pytest.raises(RasterError, match="3 in 1"):
        Applicability.fit(np.arange(6).reshape(3, 2), fold=[4, 4, 4])


def test_kept_as_arrays_and_in_another_process(friedman: tuple[np.ndarray, np.ndarray]) -> None:
    train, test = friedman
    profile = (AccuracyBin(0.2, 0.9, 40), AccuracyBin(np.inf, 0.5, 3))
    made = Applicability.fit(train[:80], fold=np.arange(80) // 9)
    made = Applicability.of_arrays(made.arrays() | {"other": np.zeros(3)})  # type: ignore[assignment]
    assert made is not None and Applicability.of_arrays({"other": np.zeros(3)}) is None
    kept = Applicability.of_arrays({**made.arrays(), "applicability_profile": np.array(profile)})
    assert kept is not None and kept.profile == profile
    travelled = pickle.loads(pickle.dumps(kept))
    assert np.array_equal(travelled.dissimilarity(test), made.dissimilarity(test))
    assert travelled.threshold == made.threshold


def test_importance_is_the_variance_between_classes() -> None:
    """Epsilon squared: 1 - (within / (n - k)) / (whole / (n - 1))."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    features = np.array([[0, 1, 5.0], [1, 2, 5], [2, 3, 5], [10, 1, 5], [11, 2, 5], [12, 3, 5]])
    within, whole = 4.0, 4.0 + 6 * 25
    assert between_classes(features, labels) == pytest.approx([1 - (within / 4) / (whole / 5), 0, 0])


def test_accuracy_by_dissimilarity() -> None:
    index = np.arange(40) / 40
    right = index < 0.5
    right[-3] = True
    profile = accuracy_profile(index, right, threshold=29 / 40)
    assert [one.labels for one in profile] == [10, 10, 10, 10]
    assert [one.upto for one in profile] == [9 / 40, 19 / 40, 29 / 40, np.inf]
    assert [one.accuracy for one in profile] == [1, 1, 0, 0.1]
    assert sum(one.labels for one in accuracy_profile(index[:7], right[:7], 0.9)) == 7
