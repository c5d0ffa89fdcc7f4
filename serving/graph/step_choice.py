"""How many inner steps a support set asks for: cross-validation over its pictures, inside the request's graph.

The pictures are dealt to folds, each class to as many as it can be. A fold is adapted to the other pictures, and after
each number of `GRID` it answers for its own; one adaptation passes through all of the numbers. What counts is the Brier
score of held-out labels, bounded where the log-loss would be decided by the few answers that are wrong and sure. Each
class counts the same. Where two numbers in a row are worse than the best, more are not tried.
"""

from __future__ import annotations

from dataclasses import replace

import tensorflow as tf

from fewshot.meta import MetaLearner, Support, adapt
from fewshot.meta.adapt import label_weights

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
    grid = tf.constant([steps for steps in GRID if steps <= most])
    fold = tf.repeat(deal_pictures(support.y), learner.views.count)
    support = learner.views.of_support(support)
    start = learner.start()
    more = tf.concat([grid[:1], grid[1:] - grid[:-1]], axis=0)

    def shown(number: tf.Tensor) -> Support:
        return support._replace(y=tf.where(_as(support.y, tf.equal(fold, number)), -1, support.y))

    @tf.function(autograph=False)
    def first(number: tf.Tensor) -> list[tf.Tensor]:
        return learner.start_parameters(start, shown(number), classes)

    @tf.function(autograph=False)
    def go_on(number: tf.Tensor, steps: tf.Tensor, taken: tf.Tensor, parameters: list[tf.Tensor]) -> list[tf.Tensor]:
        own = shown(number)
        inner = replace(learner.inner, steps=steps, first_step=taken)
        moved = adapt(learner.network, parameters, start.rates, own, inner, state=start.state).parameters
        return [*moved, _score(learner, moved, start.state, own, support, tf.equal(fold, number))]

    def one_number(
        at: tf.Tensor, best: tf.Tensor, lowest: tf.Tensor, worse: tf.Tensor, folds: list[list[tf.Tensor]]
    ) -> tuple[object, ...]:
        taken = tf.gather(grid, tf.maximum(at - 1, 0))
        results = [go_on(tf.constant(k), more[at], taken, parameters) for k, parameters in enumerate(folds)]
        scores = tf.stack([result[-1] for result in results])  # [folds, 2]: sum, weight
        total = tf.reduce_sum(scores[:, 1])
        score = tf.where(total > 0, tf.math.divide_no_nan(tf.reduce_sum(scores[:, 0]), total), 0.0)
        better = score < lowest - _BETTER
        return (
            at + 1,
            tf.where(better, grid[at], best),
            tf.where(better, score, lowest),
            tf.where(better, 0, worse + 1),
            [result[:-1] for result in results],
        )

    begin = (tf.constant(0), tf.constant(usual), tf.constant(9.0), tf.constant(0))
    folds = [list(first(tf.constant(k))) for k in range(FOLDS)]
    testable = tf.reduce_any(tf.stack([_any_held_out(support, fold, k) for k in range(FOLDS)]))
    shapes = [[tf.TensorShape(value.shape) for value in parameters] for parameters in folds]
    _, best, *_ = tf.while_loop(
        lambda at, best, lowest, worse, folds: testable & (at < tf.size(grid)) & (worse < _PATIENCE),
        one_number,
        (*begin, folds),
        shape_invariants=(*(tf.TensorShape([]) for _ in begin), shapes),
    )
    return best


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


def _held_out(support: Support, own: Support, held: tf.Tensor) -> tf.Tensor:
    """Return the labels of pictures that are held out, -1 where the others do not show the class or nothing counts."""
    labels = tf.where(_as(support.y, held), support.y, -1)
    if support.weight is not None:
        labels = tf.where(support.weight > 0, labels, -1)
    flat = tf.reshape(own.y, [-1])
    known = tf.math.bincount(tf.maximum(flat, 0), tf.cast(flat >= 0, tf.int32), minlength=tf.reduce_max(support.y) + 1)
    return tf.where(tf.gather(known, tf.maximum(labels, 0)) > 0, labels, -1)


def _any_held_out(support: Support, fold: tf.Tensor, number: int) -> tf.Tensor:
    """Whether a fold has a label that can be tested."""
    held = tf.equal(fold, number)
    own = support._replace(y=tf.where(_as(support.y, held), -1, support.y))
    return tf.reduce_any(_held_out(support, own, held) >= 0)


def _score(
    learner: MetaLearner,
    parameters: list[tf.Tensor],
    state: list[tf.Tensor],
    own: Support,
    support: Support,
    held: tf.Tensor,
) -> tf.Tensor:
    """Return the sum of the Brier scores of held-out labels, and their weight [2]; parameters that diverged get 2."""
    labels = _held_out(support, own, held)
    answers = tf.nn.softmax(tf.cast(learner.predict_queries(parameters, state, own, support.x), tf.float32))
    shown = tf.one_hot(labels, tf.shape(answers)[-1])
    weight = label_weights(shown[None], balanced=True)[0]
    brier = tf.reduce_sum((answers - shown) ** 2, axis=-1)
    brier = tf.where(tf.math.is_finite(brier), brier, 2.0)
    return tf.stack([tf.reduce_sum(weight * brier), tf.reduce_sum(weight)])
