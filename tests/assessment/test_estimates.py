"""Estimates of samples from strata that are not the map's classes, and of places drawn in clusters."""

import numpy as np
import pytest

from fewshot.assessment.accuracy import MapAccuracy, assess_sample
from fewshot.assessment.estimates import Samples, StratifiedSample
from fewshot.errors import ShapeError

# The numerical example of Stehman (2014), table 2: ten places from each of four strata.
MAPPED = "AAAAAAABBB ABBBBBBBBB BBCCCCCCBB DDDDDDDDDD"
REFERENCE = "AAAAACBABC ABBBBBAABB CCCCCDDBBA DDDDDDDCCB"
PIXELS = np.array([40_000, 30_000, 20_000, 10_000], np.float64)


def letters(text: str) -> np.ndarray:
    return np.array(["ABCD".index(letter) for letter in text.replace(" ", "")])


def published() -> MapAccuracy:
    samples = Samples.single(np.repeat(np.arange(4), 10), letters(MAPPED), letters(REFERENCE))
    return assess_sample(StratifiedSample(samples, PIXELS, PIXELS), [31_000, 47_000, 12_000, 10_000], "ABCD", "ABCD")


def test_the_example_with_other_strata_comes_out_as_published() -> None:
    found = published()
    second = found.classes[1]
    values = [found.adjusted, second.users, second.producers, found.classes[0].area, found.classes[2].area]
    # Overall accuracy, user's and producer's of class B, and the areas of A and C (pp. 4932-4934).
    assert [round(entry.value or 0, 3) for entry in values] == [0.63, 0.574, 0.794, 35_000, 20_000]
    # Their standard errors (pp. 4935-4936).
    errors = [(entry.ci95 or 0) / 1.96 for entry in values]
    assert [round(error, 3) for error in errors[:3]] == [0.085, 0.125, 0.117]
    assert [round(error / PIXELS.sum(), 3) for error in errors[3:]] == [0.082, 0.064]
    assert found.shares[1][2] == pytest.approx(0.08)  # cell (2, 3) of the error matrix (p. 4935)


def test_clusters_of_one_place_are_places() -> None:
    places = Samples.single(np.repeat(np.arange(4), 10), letters(MAPPED), letters(REFERENCE), np.arange(40))
    right = places.mapped == places.reference
    found = StratifiedSample(places, PIXELS).share(right)
    assert found.value == pytest.approx(0.63)
    assert (found.ci95 or 0) / 2.028094 == pytest.approx((published().adjusted.ci95 or 0) / 1.96, rel=1e-3)  # t of 36


@pytest.mark.parametrize("across", [False, True], ids=["in strata", "across strata"])
def test_intervals_of_clusters_hold_what_they_say(*, across: bool) -> None:
    """Places of a cluster are alike: an interval that takes them one by one is too narrow, one of clusters is not."""
    rng = np.random.default_rng(0)
    areas, hits = np.array([2.0, 1.0]), {"clusters": 0, "places": 0}
    for _ in range(400):
        level = np.repeat(rng.random(30), 8)  # how good the map is around each cluster: 0.5 in the mean
        stratum = np.tile(np.repeat([0, 1], 4), 30) if across else np.repeat(np.arange(30) % 2, 8)
        right = (rng.random(240) < level).astype(np.int64)
        cluster = np.repeat(np.arange(30), 8)
        for name, numbers in (("clusters", cluster), ("places", None)):
            sample = StratifiedSample(Samples.single(stratum, right, np.ones(240, np.int64), numbers), areas)
            found = sample.share(right == 1)
            hits[name] += abs((found.value or 0) - 0.5) <= (found.ci95 or 0)
    assert hits["clusters"] / 400 >= 0.92
    assert hits["places"] / 400 <= 0.85


def test_one_cluster_alone_has_no_interval() -> None:
    zeros = np.zeros(5, np.int64)
    found = StratifiedSample(Samples.single(zeros, zeros, zeros, zeros), np.ones(1))
    assert found.share(np.array([1, 1, 0, 0, 1])).ci95 is None


def test_places_of_no_stratum_are_refused() -> None:
    with pytest.raises(ShapeError, match="of 1 strata"):
        StratifiedSample(Samples.single(*np.ones((3, 5), np.int64)), np.ones(1))
