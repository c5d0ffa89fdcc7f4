"""Heads that solve: the output layer is the minimum of a convex problem over the support set's features.

Each minimum is found without a gradient, in float64, and differentiated through one Newton step from there: with r the
equations that hold at the minimum and J their derivative in the unknowns, J held constant, solution - J^-1 r has the
value of the solution and the derivative of the implicit function theorem.

| head | problem | known as |
|---|---|---|
| `ridge` | least squares to one-hot targets | R2-D2, MetaOptNet-RR |
| `logistic` | multinomial logistic regression | LR-D2 is its like for two classes |
| `svm` | support vector machine of many classes (Crammer and Singer) | MetaOptNet-SVM |

Labels that count nothing are left out, and so are classes that are not shown; weights multiply each example's part of
the problem. Inner steps may follow.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fewshot.models.heads import Count, Given, Head, counted, of_support, ruled_out

NEWTON_STEPS = 15
"""Of logistic regression, from zero; a step that goes too far is halved."""
HALVINGS = 8
INTERIOR_STEPS = 30
"""Of the interior point method."""
SMALLEST_GAP = 1e-12
"""What the interior point method leaves of each bound's complementarity."""
SMOOTHING = 1.0
"""Added to the kernel matrix of the support vector machine, as in MetaOptNet's own code: its solution is then one."""


class HeadProblem(NamedTuple):
    """What is to be solved, in float64.

    Attributes:
        x: [n, F + 1] features of the examples that count, and a column of ones.
        target: [n, classes] one-hot, of the classes that are shown.
        share: [n] each example's share of the whole weight.
        strength: Of the pull to a layer of zeros.
    """

    x: tf.Tensor
    target: tf.Tensor
    share: tf.Tensor
    strength: tf.Tensor

    def held(self) -> HeadProblem:
        """Return the same numbers as constants."""
        return HeadProblem(*(tf.stop_gradient(part) for part in self))


class SolvingHead(Head):
    """The layer that solves a problem of the support set's features; learned are its regularisation and a scale."""

    uses_support = True

    def __init__(self, *, strength: float = 0.0, scale: float = 1.0, **kwargs: Any) -> None:
        """Make the head.

        Args:
            strength: Of the regularisation, where it starts; 0 for a tenth of the number of features.
            scale: Of the logits, where it starts.
            **kwargs: Passed to `keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.strength, self.scale = strength, scale

    def build_for(self, features: int) -> None:
        """Create the logarithms of strength and scale."""
        strength = keras.initializers.Constant(math.log(self.strength or 0.1 * features))
        self.log_strength = self.add_weight(name="log_strength", shape=(), initializer=strength)
        scale = keras.initializers.Constant(math.log(self.scale))
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=scale)
        self.built = True

    def start(self, features: Given, labels: tf.Tensor, classes: Count, weight: Given = None) -> list[tf.Tensor]:
        """Return the solution as a linear layer; a class without examples that count is ruled out.

        Raises:
            ShapeError: if there are no features.
        """
        features = of_support(features)
        labels = counted(labels, weight)
        each = tf.ones_like(labels, tf.float64)
        if weight is not None:
            each *= tf.cast(weight, tf.float64)
        kept = tf.reshape(labels >= 0, [-1])  # [n, H, W] -> [n*H*W]: where pixels are labelled, each is an example
        x, y, each = (
            tf.boolean_mask(flat, kept)
            for flat in (
                tf.reshape(features, [-1, features.shape[-1]]),
                tf.reshape(labels, [-1]),
                tf.reshape(each, [-1]),
            )
        )
        x, shut = tf.cast(x, tf.float64), ruled_out(labels, classes, features.dtype)
        shown = tf.where(tf.equal(shut, 0))
        layer = self.solve(
            HeadProblem(
                tf.concat([x, tf.ones_like(x[:, :1])], axis=1),
                tf.gather(tf.one_hot(y, classes, dtype=tf.float64), shown[:, 0], axis=1),
                tf.math.divide_no_nan(each, tf.reduce_sum(each)),
                tf.exp(tf.cast(self.log_strength, tf.float64)),
            )
        )
        layer *= tf.exp(tf.cast(self.log_scale, tf.float64))
        rows = tf.scatter_nd(tf.cast(shown, tf.int32), tf.transpose(layer), [classes, features.shape[-1] + 1])
        rows = tf.cast(rows, features.dtype)
        return [tf.transpose(rows[:, :-1]), rows[:, -1] + shut]

    def solve(self, problem: HeadProblem) -> tf.Tensor:
        """Return the layer [F + 1, classes], its bias the last row."""
        raise NotImplementedError


class Basis(NamedTuple):
    """What a layer is a sum of, `span' A` with the unknowns A: features or examples, whichever are fewer.

    Attributes:
        span: [m, F + 1] the rows of the sum.
        logits: [n, m] turns unknowns into logits.
        gather: [m, n] turns derivatives in the logits into the equations of the unknowns.
    """

    span: tf.Tensor
    logits: tf.Tensor
    gather: tf.Tensor


def smaller_basis(x: tf.Tensor) -> Basis:
    """Return the examples [n, F + 1] as a basis where they are fewer than the features, else the features."""

    def of_examples() -> list[tf.Tensor]:
        return [x, tf.matmul(x, x, transpose_b=True), tf.eye(tf.shape(x)[0], dtype=x.dtype)]

    def of_features() -> list[tf.Tensor]:
        return [tf.eye(tf.shape(x)[1], dtype=x.dtype), x, tf.transpose(x)]

    return Basis(*tf.cond(tf.shape(x)[0] < tf.shape(x)[1], of_examples, of_features))


def attached(solution: tf.Tensor, residual: tf.Tensor, jacobian: tf.Tensor) -> tf.Tensor:
    """Return the solution with the derivative of the equations that it solves.

    Args:
        solution: [m, k], constant.
        residual: [m, k] what the equations leave at `solution`, differentiable in what they are made of.
        jacobian: [m, m] their derivative in the unknowns, the same for each column; or [m * k, m * k].
    """
    jacobian = tf.stop_gradient(jacobian)
    step = tf.linalg.solve(jacobian, tf.reshape(residual, [tf.shape(jacobian)[0], -1]))
    return tf.stop_gradient(solution) - tf.reshape(step, tf.shape(solution))


class RidgeHead(SolvingHead):
    """Least squares to one-hot targets (R2-D2, Bertinetto et al. 2019).

    The bias is regularised too, and the loss is a mean over the examples, as in the authors' code. Their learned bias,
    the same for all logits, has no effect under a softmax and is left out.
    """

    def solve(self, problem: HeadProblem) -> tf.Tensor:
        """Return the layer at which strength A + gather share (logits A - target) is 0."""
        basis = smaller_basis(problem.x)
        shared = basis.gather * problem.share
        jacobian = problem.strength * tf.eye(tf.shape(shared)[0], dtype=shared.dtype) + shared @ basis.logits
        found = tf.stop_gradient(tf.linalg.solve(jacobian, shared @ problem.target))
        residual = problem.strength * found + shared @ (basis.logits @ found - problem.target)
        return tf.matmul(basis.span, attached(found, residual, jacobian), transpose_a=True)


class LogisticHead(SolvingHead):
    """Multinomial logistic regression, for which LR-D2 (Bertinetto et al. 2019) solves one class against all."""

    def solve(self, problem: HeadProblem) -> tf.Tensor:
        """Return the layer at which strength A + gather share (softmax(logits A) - target) is 0."""
        basis = smaller_basis(problem.x)
        at = Logistic(basis, problem)
        held = Logistic(Basis(*(tf.stop_gradient(part) for part in basis)), problem.held())
        begin = tf.zeros([tf.shape(basis.span)[0], tf.shape(problem.target)[1]], tf.float64)
        (found,) = tf.while_loop(
            lambda _: True,
            lambda now: [held.improved(now)],
            [begin],
            maximum_iterations=NEWTON_STEPS,
            shape_invariants=[tf.TensorShape([None, None])],
        )
        found = tf.stop_gradient(found)
        return tf.matmul(basis.span, attached(found, at.slope(found), held.curvature(found)), transpose_a=True)


class Logistic(NamedTuple):
    """The equations of logistic regression in the unknowns A [m, classes]."""

    basis: Basis
    problem: HeadProblem

    def loss(self, unknowns: tf.Tensor) -> tf.Tensor:
        """Return the regularised loss [...] of unknowns [..., m, classes]."""
        answers = tf.nn.log_softmax(tf.matmul(self.basis.logits, unknowns))
        of_examples = tf.reduce_sum(self.problem.share[:, None] * self.problem.target * answers, axis=[-2, -1])
        layer = tf.matmul(self.basis.span, unknowns, transpose_a=True)
        return self.problem.strength / 2 * tf.reduce_sum(layer**2, axis=[-2, -1]) - of_examples

    def slope(self, unknowns: tf.Tensor) -> tf.Tensor:
        """Return what the equations leave, [m, classes]."""
        wrong = tf.nn.softmax(self.basis.logits @ unknowns) - self.problem.target
        return self.problem.strength * unknowns + self.basis.gather @ (self.problem.share[:, None] * wrong)

    def curvature(self, unknowns: tf.Tensor) -> tf.Tensor:
        """Return the derivative of the slope, [m * classes, m * classes]."""
        answers = tf.nn.softmax(self.basis.logits @ unknowns)
        each = tf.linalg.diag(answers) - answers[:, :, None] * answers[:, None]  # [n, classes, classes]
        each *= self.problem.share[:, None, None]
        # One class's equations at a time, [m, m, classes]: of all at once, n examples would ask for too much memory.
        rows = tf.map_fn(
            lambda own: tf.einsum("pi,id,iq->pqd", self.basis.gather, own, self.basis.logits),
            tf.transpose(each, [1, 0, 2]),
        )
        size = tf.size(unknowns)
        curved = tf.reshape(tf.transpose(rows, [1, 0, 2, 3]), [size, size])
        return curved + self.problem.strength * tf.eye(size, dtype=curved.dtype)

    def improved(self, unknowns: tf.Tensor) -> tf.Tensor:
        """Return the unknowns after a Newton step, halved as often as makes the loss smallest."""
        whole = attached(unknowns, self.slope(unknowns), self.curvature(unknowns)) - unknowns
        lengths = 0.5 ** tf.range(HALVINGS, dtype=unknowns.dtype)
        tried = unknowns + lengths[:, None, None] * whole
        return tried[tf.argmin(self.loss(tried))]


class MachineHead(SolvingHead):
    """Support vector machine of many classes (MetaOptNet, Lee et al. 2019; Crammer and Singer 2001).

    Its dual: the a [n, classes] that make tr(a' (K + 1) a) / 2 - tr(target' a) smallest, rows summing to 0, none above
    its bound, weight / strength for the example's own class and 0 for the others. The layer is X'a, without a bias.
    """

    def solve(self, problem: HeadProblem) -> tf.Tensor:
        """Return the layer that the solution of the dual makes."""
        x = problem.x[:, :-1]
        count = tf.cast(tf.shape(x)[0], x.dtype)
        bound = problem.target * (problem.share * count / problem.strength)[:, None]
        dual = Dual(tf.matmul(x, x, transpose_b=True) + SMOOTHING * tf.eye(tf.shape(x)[0], dtype=x.dtype), bound)
        held = Dual(*(tf.stop_gradient(part) for part in dual))
        classes = tf.cast(tf.shape(bound)[1], x.dtype)
        inside = held.bound - tf.reduce_sum(held.bound, axis=1, keepdims=True) / classes
        begin = (inside / 2, tf.zeros_like(x[:, 0]), tf.ones_like(bound))
        state = tf.while_loop(
            lambda *_: True,
            lambda *now: held.improved(now, problem.target),
            begin,
            maximum_iterations=INTERIOR_STEPS,
            shape_invariants=tuple(tf.TensorShape([None] * part.shape.rank) for part in begin),
        )
        state = [tf.stop_gradient(part) for part in state]
        step, *_ = dual.newton(state, problem.target, tf.constant(SMALLEST_GAP, x.dtype))
        layer = tf.matmul(x, state[0] + step, transpose_a=True)
        return tf.pad(layer, [[0, 1], [0, 0]])


class Dual(NamedTuple):
    """The support vector machine's dual; its state is (a, multipliers of the rows' sums, multipliers of the bounds)."""

    kernel: tf.Tensor
    bound: tf.Tensor

    def newton(self, state: Any, target: tf.Tensor, gap: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the Newton step of the state to where each bound's complementarity is `gap`.

        It is differentiable in kernel and bound as far as the equations are; their own derivative is held constant.

        Args:
            state: As the class has it.
            target: [n, classes] one-hot.
            gap: What is to be left of multiplier times distance to the bound.
        """
        a, rows, bounds = state
        slack = self.bound - a
        slope = self.kernel @ a - target + rows[:, None] + bounds
        left = bounds * slack - gap
        held_slack = tf.stop_gradient(slack)
        n, classes = tf.shape(a)[0], tf.shape(a)[1]
        whole = tf.linalg.diag(tf.reshape(bounds / held_slack, [-1])) + tf.reshape(
            tf.einsum("ij,cd->icjd", self.kernel, tf.eye(classes, dtype=a.dtype)), [n * classes, n * classes]
        )
        sums = tf.reshape(tf.repeat(tf.eye(n, dtype=a.dtype), classes, axis=0), [n * classes, n])
        below = tf.concat([tf.transpose(sums), tf.zeros([n, n], a.dtype)], axis=1)
        matrix = tf.concat([tf.concat([whole, sums], axis=1), below], axis=0)
        right = tf.concat([tf.reshape(left / held_slack - slope, [-1]), -tf.reduce_sum(a, axis=1)], axis=0)
        found = tf.linalg.solve(tf.stop_gradient(matrix), right[:, None])[:, 0]
        of_a = tf.reshape(found[: n * classes], tf.shape(a))
        return of_a, found[n * classes :], (bounds * of_a - left) / held_slack

    def improved(self, state: Any, target: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return the state after a step of the interior point method, which stays inside all bounds."""
        a, _, bounds = state
        slack = self.bound - a
        gap = tf.maximum(0.1 * tf.reduce_mean(bounds * slack), SMALLEST_GAP)
        steps = self.newton(state, target, gap)
        limits = [tf.where(steps[0] > 0, slack / steps[0], 1.0), tf.where(steps[2] < 0, -bounds / steps[2], 1.0)]
        length = tf.minimum(tf.ones([], a.dtype), 0.95 * tf.reduce_min(limits))
        return tuple(part + length * step for part, step in zip(state, steps, strict=True))
