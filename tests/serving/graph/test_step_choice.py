"""The support decides: the number of inner steps is the one that answers best for pictures that were held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import ArtifactError, ShapeError
from fewshot.exported.predictor import LocalPredictor
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Support
from fewshot.models import conv4, make_head
from serving.graph.step_choice import FOLDS, GRID, choose_steps, deal_pictures, settle

TRIED = (0, 1, 2, 3, 5, 8)


def learner(rate: float) -> MetaLearner:
    body = conv4((8, 8, 2), filters=4, blocks=1, normalization="none")
    return MetaLearner(body, make_head("prototype"), InnerRates("constant", initial=rate), InnerLoop(steps=2))


def by_hand(made: MetaLearner, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted Brier scores of held-out pictures after each number of steps, by the learner's own `predict_after`."""
    fold, scores, weights = deal_pictures(tf.constant(y)).numpy(), np.zeros((len(TRIED), len(y))), np.zeros(len(y))
    for number in range(FOLDS):
        held = fold == number
        tested = held & np.isin(y, y[~held])
        shown = np.where(held, -1, y)
        inputs = [np.asarray(part)[None] for part in (x, shown, x[tested])]
        answers = tf.nn.softmax(made.predict_after(inputs, TRIED)[:, 0]).numpy()
        right = np.eye(answers.shape[-1])[y[tested]]
        weights[tested] = 1 / np.bincount(y[tested], minlength=answers.shape[-1])[y[tested]]
        scores[:, tested] = ((answers - right) ** 2).sum(axis=-1) * weights[tested]
    return scores, weights


def support(noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    y = np.arange(12, dtype=np.int32) % 3
    x = rng.normal(0, noise, (12, 8, 8, 2)) + np.array([[0, 0], [1, 0], [0, 1]])[y][:, None, None]
    return x.astype(np.float32), y


@pytest.mark.parametrize(("rate", "noise"), [(0.3, 0.5), (0.05, 3.0)])
def test_the_choice_is_the_best_by_hand(rate: float, noise: float) -> None:
    made = learner(rate)
    x, y = support(noise)
    chosen = int(choose_steps(made, Support(tf.constant(x), tf.constant(y)), tf.constant(3), usual=2, most=8))
    scores, weights = by_hand(made, x, y)
    totals = scores.sum(axis=1)
    last = next(at for at in range(3, len(TRIED) + 1) if at == len(TRIED) or totals[:at].argmin() < at - 2)
    at = settle(tf.constant(scores[:last], tf.float32), tf.constant(weights, tf.float32), TRIED.index(2))
    assert chosen == TRIED[int(at)]


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ([0.3, 0.2, 0.1, 0.0], 3),  # surely worse, all but the best
        ([0.3, 0.2, 0.0, 0.0], 2),  # two are equal: the one nearer to the usual number
        ([0.0, 0.0, 0.1, 0.2], 1),  # the usual one is as good as any
    ],
)
def test_numbers_that_are_surely_worse_are_left(behind: list[float], expected: int) -> None:
    scores = np.tile(np.linspace(0.1, 0.5, 8), (4, 1)) + np.array(behind)[:, None]
    assert int(settle(tf.constant(scores, tf.float32), tf.ones([8]), 1)) == expected


def test_the_usual_number_stays_where_the_difference_is_within_its_error() -> None:
    """One picture of eight speaks for another number, and one against it."""
    scores = np.full((3, 8), 0.3)
    scores[2, :2] = 0.0, 0.4
    assert int(settle(tf.constant(scores, tf.float32), tf.ones([8]), 1)) == 1
    scores[2] = 0.25
    assert int(settle(tf.constant(scores, tf.float32), tf.ones([8]), 1)) == 2


def test_more_steps_than_are_allowed_are_not_tried() -> None:
    x, y = support(0.5)
    given = Support(tf.constant(x), tf.constant(y))
    assert int(choose_steps(learner(0.3), given, tf.constant(3), usual=2, most=5)) <= 5


def test_without_a_class_in_two_pictures_the_usual_number_stays() -> None:
    x, _ = support(0.5)
    given = Support(tf.constant(x[:3]), tf.constant([0, 1, 2]))
    assert int(choose_steps(learner(0.3), given, tf.constant(3), usual=2, most=50)) == 2


def test_neighbours_of_a_class_are_dealt_together() -> None:
    fold = deal_pictures(tf.constant([0, 0, 1, 0, 1, 0, 0])).numpy()
    assert fold[[0, 1, 3, 5, 6]].tolist() == [0, 0, 1, 2, 3]
    assert fold[[2, 4]].tolist() == [0, 2]
    of_pixels = np.full((2, 4, 4), -1, np.int32)
    of_pixels[0, 0, 0], of_pixels[1, :2, 0] = 1, 1
    assert deal_pictures(tf.constant(of_pixels)).numpy().tolist() == [0, 2]


def test_the_answer_says_what_it_took(trained: Any, local: LocalPredictor) -> None:
    x, y, _ = trained.task((3, 3, 3))
    chosen = local.adapt(x, y, steps="auto")
    assert chosen.steps in {*GRID, local.card().steps}
    again = local.adapt(x, y, steps=chosen.steps)
    assert again.steps == chosen.steps
    np.testing.assert_array_equal(again.vector, chosen.vector)
    with pytest.raises(ShapeError, match=r"steps is -2; the model takes 0 to \d+, or -1 to let the support decide"):
        local.adapt(x, y, steps=-2)


def test_a_model_that_cannot_choose_says_so(local: LocalPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(local.card().signatures["adapt"].outputs, "steps")
    with pytest.raises(ArtifactError, match="cannot choose the number of inner steps"):
        local.adapt(np.zeros((2, 16, 16, 4)), [0, 1], steps="auto")
