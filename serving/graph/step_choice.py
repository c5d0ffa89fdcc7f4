"""How many inner steps a support set asks for: cross-validation over its pictures, inside the request's graph.

The pictures are dealt to folds, each class to as many as it can be, neighbours in the request together: clients that
send pictures as they lie on the ground hold places out. A fold is adapted to the other pictures, and after each number
of `GRID` it answers for its own; one adaptation passes through all of the numbers. What counts is the Brier score of
held-out labels, bounded where the log-loss would be decided by the few answers that are wrong and sure. Each class
counts the same.

Few labels cannot tell neighbouring numbers apart. So the model's usual number stays unless the best one is better by
more than the standard error of their difference, over pictures; then it is the one nearest to the usual number that is
not worse than the best by more than that (the rule of one standard error, Breiman et al. 1984).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from fewshot.meta import MetaLearner, Support
from fewshot.meta.descent import label_weights

GRID = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)
"""Numbers of steps that are tried beside the usual one, as far as the model's limit."""

FOLDS = 4
_PATIENCE = 2  # numbers in a row that may be worse than the best, from the usual one on


def choose_steps(learner: MetaLearner, support: Support, classes: tf.Tensor, *, usual: int, most: int) -> tf.Tensor:
    """Return the number of inner steps that answers best for pictures that were held out.

    Args:
        learner: Trained, with a head.
        support: The support set; `x` [n, H, W, bands], `y` [n] or [n, H, W].
        classes: How many classes the task has.
        usual: The number that the model was validated with, and the answer where nothing can be held out: no class
            has labels in two pictures.
        most: The greatest number allowed.
    """
    trial, grid = _Trial(learner, support, classes), sorted({usual, *(steps for steps in GRID if steps <= most)})
    at = settle(*_try_numbers(trial, grid, usual), grid.index(usual))
    return tf.where(trial.testable(), tf.gather(tf.constant(grid), at), usual)


def _try_numbers(trial: _Trial, grid: list[int], usual: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the score of each picture after each number of steps tried [numbers, n], and the pictures' weights [n]."""
    numbers = tf.constant(grid)
    pictures = trial.pictures()

    def one_number(at: tf.Tensor, scores: tf.Tensor, worse: tf.Tensor, weight: tf.Tensor, folds: Any) -> Any:
        taken = tf.where(at > 0, tf.gather(numbers, tf.maximum(at - 1, 0)), 0)
        more = numbers[at] - taken
        results = [trial.go_on(tf.constant(k), more, taken, parameters) for k, parameters in enumerate(folds)]
        score, weight = (tf.add_n([result[part] for result in results]) for part in (-2, -1))
        better = tf.reduce_sum(score) < tf.reduce_min(tf.reduce_sum(scores, axis=1))
        scores = tf.tensor_scatter_nd_update(scores, [[at]], [score])
        return at + 1, scores, tf.where(better, 0, worse + 1), weight, [result[:-2] for result in results]

    folds = [list(trial.first(tf.constant(k))) for k in range(FOLDS)]
    untried = tf.fill([len(grid), pictures], float("inf"))
    begin = (tf.constant(0), untried, tf.constant(0), tf.zeros([pictures]), folds)
    tried, scores, _, weight, _ = tf.while_loop(
        lambda at, scores, worse, *_: (at < len(grid)) & ((at <= grid.index(usual)) | (worse < _PATIENCE)),
        one_number,
        begin,
        shape_invariants=tf.nest.map_structure(lambda value: tf.TensorShape(value.shape), begin),
    )
    return scores[:tried], weight


def settle(scores: tf.Tensor, weight: tf.Tensor, usual: int) -> tf.Tensor:
    """Return the place of the number of steps nearest to the usual one that is as good as the best, to its error.

    Args:
        scores: [numbers, n] weighted sum of the scores of each picture's labels, lower is better.
        weight: [n] sum of these labels' weights.
        usual: Place of the usual number.
    """
    totals = tf.reduce_sum(scores, axis=1)
    # The mean difference to the best and its standard error, as of a ratio of sums over pictures.
    behind = scores - scores[tf.argmin(totals)]
    mean = tf.math.divide_no_nan(tf.reduce_sum(behind, axis=1, keepdims=True), tf.reduce_sum(weight))
    tested = tf.reduce_sum(tf.cast(weight > 0, tf.float32))
    spread = tf.norm(behind - mean * weight, axis=1) * tf.sqrt(tf.math.divide_no_nan(tested, tested - 1))
    error = tf.math.divide_no_nan(spread, tf.reduce_sum(weight))
    far = tf.abs(tf.range(tf.shape(scores)[0]) - usual)
    return tf.argmin(tf.where(mean[:, 0] <= error, far, far.dtype.max), output_type=tf.int32)


class _Trial:
    """The folds of one support set; its two functions are traced once and called for each fold."""

    def __init__(self, learner: MetaLearner, support: Support, classes: tf.Tensor) -> None:
        self.learner, self.classes, self.start = learner, classes, learner.start()
        support = support.counted()
        self.fold = tf.repeat(deal_pictures(support.y), learner.views.count)
        self.support = learner.seen_support(support, learner.views)
        self.first = tf.function(self._first, autograph=False)
        self.go_on = tf.function(self._go_on, autograph=False)

    def pictures(self) -> tf.Tensor:
        """Return how many pictures there are, each with all of its views."""
        return tf.shape(self.fold)[0] // self.learner.views.count

    def testable(self) -> tf.Tensor:
        """Whether any fold has a label whose class the others show."""
        return tf.reduce_any([tf.reduce_any(self._held_out(tf.constant(k)) >= 0) for k in range(FOLDS)])

    def _first(self, number: tf.Tensor) -> list[tf.Tensor]:
        """Return the parameters that a fold starts from."""
        return self.learner.start_parameters(self.start, self._shown(number), self.classes)

    def _go_on(
        self, number: tf.Tensor, steps: tf.Tensor, taken: tf.Tensor, parameters: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Take more steps in a fold; return the parameters, then score and weight of its held-out labels."""
        shown, learner = self._shown(number), self.learner
        inner = replace(learner.inner, steps=steps, first_step=taken)
        moved = learner.adapted(self.start, parameters, shown, inner, anchor=self._first(number)).parameters
        return [*moved, *self._score(number, shown, moved)]

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

    def _score(self, number: tf.Tensor, shown: Support, parameters: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return sums over the held-out labels of each picture [n]: their Brier scores, 2 if diverged, and weights."""
        logits = self.learner.predict_queries(parameters, self.start.state, shown, self.support.x)
        answers = tf.nn.softmax(tf.cast(logits, tf.float32))
        right = tf.one_hot(self._held_out(number), tf.shape(answers)[-1])
        weight = label_weights(right[None], balanced=True)[0]
        brier = tf.reduce_sum((answers - right) ** 2, axis=-1)
        brier = tf.where(tf.math.is_finite(brier), brier, 2.0)
        return self._of_pictures(weight * brier), self._of_pictures(weight)

    def _of_pictures(self, labels: tf.Tensor) -> tf.Tensor:
        """Return the sums over the labels of each picture [n], in all of its views."""
        labels = tf.reduce_sum(labels, axis=range(1, labels.shape.rank))
        return tf.reduce_sum(tf.reshape(labels, [-1, self.learner.views.count]), axis=1)


def deal_pictures(labels: tf.Tensor) -> tf.Tensor:
    """Deal pictures to folds [n], those of each class in runs; a picture is of the class it shows most.

    Args:
        labels: [n] or [n, H, W] int32, -1 where ignored.
    """
    flat = tf.reshape(labels, [tf.shape(labels)[0], -1])
    counts = tf.reduce_sum(tf.one_hot(flat, tf.reduce_max(flat) + 1), axis=1)
    main = tf.argmax(counts, axis=1, output_type=tf.int32)
    same = tf.cast(tf.equal(main[:, None], main[None, :]), tf.int32)
    before = tf.reduce_sum(tf.linalg.band_part(same, -1, 0), axis=1) - 1  # of the same class
    return before * FOLDS // tf.reduce_sum(same, axis=1)


def _as(labels: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Return what holds for pictures [n] in the shape of their labels."""
    return tf.reshape(pictures, [-1, *[1] * (labels.shape.rank - 1)])
