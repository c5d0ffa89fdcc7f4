"""Figures, paired intervals, and which method maps."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from fewshot.mapping.compare.folds import Folds
from fewshot.mapping.compare.table import MethodFigures, choose, measure
from fewshot.mapping.methods import Entry

TITLES = {Entry(name): name for name in ("prototypes", "logistic", "nearest", "forest", "boosting", "adapted")}
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 300).astype(np.int32)


def folds_of(count: int, *, tested: np.ndarray | None = None) -> Folds:
    block = np.arange(count) // 5
    return Folds(16, block, block % 5, np.ones(count, np.bool_) if tested is None else tested)


def right_in(share: float, seed: int = 0) -> np.ndarray:
    """Answers [300, 3] of which a share is right, the same ones for smaller shares."""
    wrong = np.random.default_rng(seed).random(len(LABELS)) > share
    return np.eye(3, dtype=np.float32)[np.where(wrong, (LABELS + 1) % 3, LABELS)]


def measured(**answers: np.ndarray) -> tuple[MethodFigures, ...]:
    return measure({Entry(name): found for name, found in answers.items()}, LABELS, folds_of(len(LABELS)), TITLES)


def test_figures_are_those_of_scikit_learn() -> None:
    found = right_in(0.7)
    [figures] = measured(logistic=found)
    assert figures.accuracy.value == pytest.approx(accuracy_score(LABELS, found.argmax(axis=1)))
    assert figures.macro_f1.value == pytest.approx(f1_score(LABELS, found.argmax(axis=1), average="macro"))
    assert figures.accuracy.low < figures.accuracy.value < figures.accuracy.high
    # 300 answers of independent blocks: about two standard errors of a share on either side.
    assert figures.accuracy.high - figures.accuracy.low == pytest.approx(4 * np.sqrt(0.7 * 0.3 / 300), rel=0.25)


def test_labels_that_are_not_tested_do_not_count() -> None:
    tested = np.arange(len(LABELS)) < 200
    found = np.where(tested[:, np.newaxis], right_in(1.0), right_in(0.0))
    [figures] = measure({Entry("logistic"): found}, LABELS, folds_of(len(LABELS), tested=tested), TITLES)
    assert figures.accuracy.value == 1


def test_differences_are_paired() -> None:
    """A method that errs on the same labels and a few more is surely worse, though the intervals overlap."""
    first, second = measured(forest=right_in(0.70), logistic=right_in(0.66))
    assert (first.name, second.name) == ("forest", "logistic")
    assert first.accuracy.low < second.accuracy.high
    assert 0 < second.behind.low < second.behind.value < second.behind.high
    assert second.behind.value == pytest.approx(first.macro_f1.value - second.macro_f1.value)
    assert (first.behind.low, first.behind.high) == (0, 0)


def test_equal_methods_are_equal_and_the_simplest_is_first() -> None:
    same = right_in(0.8)
    ranked = measured(adapted=same, boosting=same, logistic=same)
    assert [one.name for one in ranked] == ["logistic", "boosting", "adapted"]
    assert all((one.behind.low, one.behind.value, one.behind.high) == (0, 0, 0) for one in ranked)
    assert choose(ranked, Entry("auto"))[0] == Entry("logistic")


def test_the_best_maps_where_it_is_surely_better() -> None:
    chosen, reason = choose(
        measured(adapted=right_in(0.9), prototypes=right_in(0.5), forest=right_in(0.6)), Entry("auto")
    )
    assert chosen == Entry("adapted")
    assert reason == "adapted maps: the best in the comparison."


def test_a_simpler_method_maps_where_the_difference_is_within_the_interval() -> None:
    ranked = measured(adapted=right_in(0.75, seed=1), logistic=right_in(0.7, seed=2), nearest=right_in(0.3))
    assert ranked[0].name == "adapted"
    chosen, reason = choose(ranked, Entry("auto"))
    assert chosen == Entry("logistic")
    assert "adapted was better by" in reason and "within the interval, and it is simpler" in reason


def test_a_method_that_was_asked_for_maps_and_is_told_the_truth() -> None:
    ranked = measured(adapted=right_in(0.9), nearest=right_in(0.3))
    chosen, reason = choose(ranked, Entry("nearest"))
    assert chosen == Entry("nearest")
    assert "nearest maps; adapted was better by" in reason and "more than chance" in reason


def test_models_are_told_apart_and_of_equal_ones_the_better_maps() -> None:
    answers = {
        Entry("adapted", "first"): right_in(0.6),
        Entry("adapted", "second"): right_in(0.8),
        Entry("nearest"): right_in(0.3),
    }
    ranked = measure(answers, LABELS, folds_of(len(LABELS)), dict.fromkeys(answers, "a title"))
    assert [str(one.entry) for one in ranked] == ["adapted of second", "adapted of first", "nearest"]
    chosen, reason = choose(ranked, Entry("auto"))
    assert chosen == Entry("adapted", "second")
    assert reason == "adapted of second maps: the best in the comparison."
    chosen, reason = choose(ranked, Entry("adapted", "first"))
    assert chosen == Entry("adapted", "first")
    assert reason.startswith("adapted of first maps; adapted of second was better by")


def test_none_is_better_than_what_is_as_good() -> None:
    same = right_in(0.8)
    methods = measured(prototypes=same, logistic=same)
    for asked in ("prototypes", "logistic"):
        entry, reason = choose(methods, Entry(asked))
        assert (entry.method, reason) == (asked, f"{asked} maps; none was better in the comparison.")
