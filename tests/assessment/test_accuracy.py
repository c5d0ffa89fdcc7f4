import numpy as np
import pytest

from fewshot.assessment.accuracy import assess_counts
from fewshot.errors import ShapeError

# The worked example of Olofsson et al. (2014), table 8 and section 4.3: ten million pixels, four strata.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")


def test_the_published_example_comes_out_as_published() -> None:
    found = assess_counts(COUNTS, PIXELS, NAMES)
    assert found.overall == pytest.approx(587 / 640)
    assert (round(found.adjusted.value or 0, 2), round(found.adjusted.ci95 or 0, 2)) == (0.95, 0.02)
    users = [(round(entry.users.value or 0, 2), round(entry.users.ci95 or 0, 2)) for entry in found.classes]
    assert users == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    producers = [(round(entry.producers.value or 0, 2), round(entry.producers.ci95 or 0, 2)) for entry in found.classes]
    assert producers[0] == (0.75, 0.21)
    assert [value for value, _ in producers] == [0.75, 0.85, 0.93, 0.96]
    area = found.classes[0].area
    assert (round(area.value or 0), round(area.ci95 or 0)) == (235_086, 68_418)
    assert found.notes == ()


def test_the_areas_add_up_to_the_map() -> None:
    found = assess_counts(COUNTS, PIXELS, NAMES)
    assert sum(entry.area.value or 0 for entry in found.classes) == pytest.approx(PIXELS.sum())


def test_plain_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score, f1_score

    mapped, reference = np.repeat(np.argwhere(COUNTS >= 0), COUNTS.ravel(), axis=0).T
    found = assess_counts(COUNTS, PIXELS, NAMES)
    assert found.kappa == pytest.approx(cohen_kappa_score(reference, mapped))
    assert found.macro_f1 == pytest.approx(f1_score(reference, mapped, average="macro"))
    assert [entry.f1 for entry in found.classes] == pytest.approx(f1_score(reference, mapped, average=None).tolist())


def test_classes_without_samples_are_left_out_and_named() -> None:
    counts = np.array([[5, 1, 0], [0, 1, 0], [0, 0, 0]])
    found = assess_counts(counts, [60, 30, 10], ("a", "b", "c"))
    assert found.adjusted.value == pytest.approx(5 / 6)
    assert "b (30.0% of the map, 1 samples), c (10.0% of the map, 0 samples)" in found.notes[0]
    assert found.classes[2].f1 is None and found.classes[2].users.value is None
    assert found.classes[1].recall == 0.5 and found.classes[1].producers.value == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least one sample"):
        assess_counts(np.zeros((2, 2), np.int64), [1, 1], ("a", "b"))
    with pytest.raises(ShapeError, match=r"\[3, 3\]"):
        assess_counts(COUNTS, PIXELS, ("a", "b", "c"))


def test_intervals_hold_what_they_say() -> None:
    """Simple random samples of a known confusion: 95 % intervals hold the true area about 95 times in 100."""
    rng = np.random.default_rng(0)
    truth = np.array([[0.55, 0.05], [0.1, 0.3]])  # share of the map by mapped and true class
    hits = 0
    for _ in range(400):
        counts = rng.multinomial(200, truth.ravel()).reshape(2, 2)
        area = assess_counts(counts, truth.sum(axis=1) * 1000, ("a", "b")).classes[0].area
        hits += abs((area.value or 0) - 650) <= (area.ci95 or 0)
    assert 0.91 <= hits / 400 <= 0.98
