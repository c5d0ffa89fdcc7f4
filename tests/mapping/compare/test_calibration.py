"""A temperature makes confidence what it says, and changes no class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.exported.adapted import with_temperature
from fewshot.mapping.compare.calibration import calibrate, draw_reliability, expected_error, reliability


def drawn(sharper: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Answers [count, 4] that are `sharper` than the truth that labels [count] were drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.2, (count, 4))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random(count)[:, np.newaxis] > true.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    said = np.exp(sharper * logits)
    return (said / said.sum(axis=1, keepdims=True)).astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize("sharper", [0.5, 1.0, 3.0])
def test_the_temperature_is_how_much_too_sharp_the_answers_are(sharper: float) -> None:
    answers, labels = drawn(sharper)
    found = calibrate(answers, labels, np.arange(len(labels)) % 5)
    assert found.temperature == pytest.approx(sharper, rel=0.07)
    assert found.log_loss_after <= found.log_loss_before + 1e-4
    assert found.error_after < 0.02
    if sharper != 1:
        assert found.error_before > 0.1
        assert f"{'too sure' if sharper > 1 else 'not sure enough'} (temperature" in found.sentence()


def unlike_halves(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers [400, 4] of two folds, labels and folds; so much of the second fold is always right."""
    answers, labels = drawn(3.0, 400)
    fold, other = np.arange(400) % 2, labels.copy()
    right = (fold == 1) & (np.arange(400) < 400 * share)
    other[right] = answers[right].argmax(axis=1)
    return answers, other, fold


def test_what_is_said_of_calibrated_answers_is_of_folds_that_the_temperature_has_not_seen() -> None:
    answers, labels, fold = unlike_halves(0.5)
    found = calibrate(answers, labels, fold)
    assert found.temperature > 1
    together = expected_error(reliability(with_temperature(answers, found.temperature), labels))
    assert found.error_after > together + 0.02


def test_confidence_stays_where_calibrating_it_helps_no_label_that_was_held_out() -> None:
    answers, labels, fold = unlike_halves(1.0)
    found = calibrate(answers, labels, fold)
    assert found.temperature == 1
    assert (found.error_after, found.log_loss_after) == (found.error_before, found.log_loss_before)
    assert found.curve_after == found.curve_before
    assert "left as it is" in found.sentence()


def test_no_temperature_changes_the_class() -> None:
    answers, _ = drawn(2.0)
    for temperature in (0.1, 0.7, 3.0, 10.0):
        calibrated = with_temperature(answers, temperature)
        assert np.array_equal(calibrated.argmax(axis=1), answers.argmax(axis=1))
        assert calibrated.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert calibrated.dtype == np.float32


def test_impossible_answers_stay_finite() -> None:
    certain = np.eye(3, dtype=np.float32)[[0, 1, 2, 0] * 2]
    found = calibrate(certain, np.array([0, 1, 2, 1] * 2, np.int32), np.arange(8) // 4)
    assert np.isfinite(found.log_loss_before) and np.isfinite(found.log_loss_after)
    assert found.temperature > 1


def test_the_curve_is_drawn(tmp_path: Path) -> None:
    answers, labels = drawn(3.0, 100)
    draw_reliability(tmp_path / "curve.png", calibrate(answers, labels, np.arange(100) % 5))
    with Image.open(tmp_path / "curve.png") as picture:
        assert min(picture.size) > 300
        assert np.asarray(picture.convert("L")).std() > 10
