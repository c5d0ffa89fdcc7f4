"""How many inner steps a support set asks for: cross-validation over its pictures, inside the request's graph.

The pictures are dealt to folds, each class to as many as it can be. A fold is adapted to the other pictures, and after
each number of `GRID` it answers for its own; one adaptation passes through all of the numbers. What counts is the Brier
score of held-out labels, bounded where the log-loss would be decided by the few answers that are wrong and sure. Each
class counts the same. Where two numbers in a row are worse than the best, more are not tried.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from fewshot.meta import MetaLearner, Support
from fewshot.meta.descent import label_weights

GRID = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)
"""Numbers of steps that are tried, as far as the model's limit."""

FOLDS = 4
_PATIENCE = 2  # numbers in a row that may be worse than the best
_BETTER = 1e-3  # a score is better if it is lower by so much: else the smaller number of steps is kept


def choose_steps(learner: MetaLearner, support: Support, classes: tf.Tensor, *, usual: int, most: int) -> tf.Tensor:
    """Return the number of inner steps that answers best for pictures that were held out.

    Args:
        learner: Trained, with a head.
        support: The support set; `x` [n, H, W, bands], `y` [n] or [n, H, W].
        classes: How many classes the task has.
        usual: The number where nothing can be held out: no class has labels in two pictures.
        most: The greatest number allowed.
    """
    trial, grid = _Trial(learner, support, classes), tf.constant([steps for steps in GRID if steps <= most])

    def one_number(at: tf.Tensor, best: tf.Tensor, lowest: tf.Tensor, worse: tf.Tensor, folds: Any) -> tuple[Any, ...]:
        taken = tf.gather(grid, tf.maximum(at - 1, 0))
        more = grid[at] - tf.where(at > 0, taken, 0)
        results = [trial.go_on(tf.constant(k), more, taken, parameters) for k, parameters in enumerate(folds)]
        total, weight = tf.unstack(tf.reduce_sum([result[-1] for result in results], axis=0))
        score = tf.math.divide_no_nan(total, weight)
        better = score < lowest - _BETTER
        kept = tf.where(better, grid[at], best), tf.where(better, score, lowest), tf.where(better, 0, worse + 1)
        return at + 1, *kept, [result[:-1] for result in results]

    folds = [list(trial.first(tf.constant(k))) for k in range(FOLDS)]
    begin = (tf.constant(0), tf.constant(usual), tf.constant(9.0), tf.constant(0), folds)
    _, best, *_ = tf.while_loop(
        lambda at, best, lowest, worse, folds: (at < tf.size(grid)) & (worse < _PATIENCE),
        one_number,
        begin,
        shape_invariants=tf.nest.map_structure(lambda value: tf.TensorShape(value.shape), begin),
    )
    return tf.where(trial.testable(), best, usual)


class _Trial:
    """The folds of one support set; its two functions are traced once and called for each fold."""

    def __init__(self, learner: MetaLearner, support: Support, classes: tf.Tensor) -> None:
        self.learner, self.classes, self.start = learner, classes, learner.start()
        support = support.counted()
        self.fold = tf.repeat(deal_pictures(support.y), learner.views.count)
        self.support = learner.seen_support(support, learner.views)
        self.first = tf.function(self._first, autograph=False)
        self.go_on = tf.function(self._go_on, autograph=False)

    def testable(self) -> tf.Tensor:
        """Whether any fold has a label whose class the others show."""
        return tf.reduce_any([tf.reduce_any(self._held_out(tf.constant(k)) >= 0) for k in range(FOLDS)])

    def _first(self, number: tf.Tensor) -> list[tf.Tensor]:
        """Return the parameters that a fold starts from."""
        return self.learner.start_parameters(self.start, self._shown(number), self.classes)

    def _go_on(
        self, number: tf.Tensor, steps: tf.Tensor, taken: tf.Tensor, parameters: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Take more steps in a fold; return the parameters, then the score of its held-out labels."""
        shown, learner = self._shown(number), self.learner
        inner = replace(learner.inner, steps=steps, first_step=taken)
        moved = learner.adapted(self.start, parameters, shown, inner, anchor=self._first(number)).parameters
        return [*moved, self._score(number, shown, moved)]

    def _shown(self, number: tf.Tensor) -> Support:
        """Return the support set without a fold's own pictures."""
        held = _as(self.support.y, tf.equal(self.fold, number))
        return self.support._replace(y=tf.where(held, -1, self.support.y)).counted()

    def _held_out(self, number: tf.Tensor) -> tf.Tensor:
        """Return the labels of a fold's own pictures; -1 elsewhere, where the others lack the class, or weight is 0."""
        y, weight = self.support.y, self.support.weight
        labels = tf.where(_as(y, tf.equal(self.fold, number)), y, -1)
        if weight is not None:
            labels = tf.where(weight > 0, labels, -1)
        others = tf.reshape(self._shown(number).y, [-1])
        counted = tf.cast(others >= 0, tf.int32)
        known = tf.math.bincount(tf.maximum(others, 0), counted, minlength=tf.reduce_max(y) + 1)
        return tf.where(tf.gather(known, tf.maximum(labels, 0)) > 0, labels, -1)

    def _score(self, number: tf.Tensor, shown: Support, parameters: list[tf.Tensor]) -> tf.Tensor:
        """Return the sum of the Brier scores of held-out labels, and their weight [2]; what diverged scores 2."""
        logits = self.learner.predict_queries(parameters, self.start.state, shown, self.support.x)
        answers = tf.nn.softmax(tf.cast(logits, tf.float32))
        right = tf.one_hot(self._held_out(number), tf.shape(answers)[-1])
        weight = label_weights(right[None], balanced=True)[0]
        brier = tf.reduce_sum((answers - right) ** 2, axis=-1)
        brier = tf.where(tf.math.is_finite(brier), brier, 2.0)
        return tf.stack([tf.reduce_sum(weight * brier), tf.reduce_sum(weight)])


def deal_pictures(labels: tf.Tensor) -> tf.Tensor:
    """Deal pictures to folds [n], the pictures of each class in turn; a picture is of the class it shows most.

    Args:
        labels: [n] or [n, H, W] int32, -1 where ignored.
    """
    flat = tf.reshape(labels, [tf.shape(labels)[0], -1])
    counts = tf.reduce_sum(tf.one_hot(flat, tf.reduce_max(flat) + 1), axis=1)
    main = tf.argmax(counts, axis=1, output_type=tf.int32)
    # Pictures before this one of the same class.
    same = tf.cast(tf.equal(main[:, None], main[None, :]), tf.int32)
    return tf.reduce_sum(tf.linalg.band_part(same, -1, 0), axis=1) % FOLDS


def _as(labels: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Return what holds for pictures [n] in the shape of their labels."""
    return tf.reshape(pictures, [-1, *[1] * (labels.shape.rank - 1)])
