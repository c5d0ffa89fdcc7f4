"""`MetaLearner`: a Keras model whose `call` adapts.

The call itself fits a copy of the parameters to each task, and the loss of training differentiates through that, so
that Keras's own `train_step`, `fit`, `evaluate`, `predict`, callbacks and distribution strategies need nothing of ours.
With mixed precision the body computes in half of it, and parameters are kept and adapt in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.adapt import divergence_as_error, require_finite
from fewshot.meta.backward import require_way_back
from fewshot.meta.batch import check_tasks, mean_over_tasks, over_tasks
from fewshot.meta.choices import (
    require_exact,
    require_head,
    require_objective,
    require_one_start,
    require_rule,
    what_moves,
)
from fewshot.meta.descent import InnerLoop, Rule, Support
from fewshot.meta.one_task import OneTask
from fewshot.meta.outer import Outer, distance
from fewshot.meta.rates import InnerRates
from fewshot.meta.rules import GradientRule, LearnedRule
from fewshot.meta.spread import Spread
from fewshot.meta.views import Views
from fewshot.models.headed import HeadedNetwork
from fewshot.models.heads import Head
from fewshot.models.normalization import is_transductive
from fewshot.models.pretrained import Constant


class MetaLearner(OneTask, keras.Model):
    """Adapts to each task's support set and predicts its queries.

    `call((support_x, support_y, query_x))` takes `[tasks, n, ...]`, `[tasks, n]` and `[tasks, m, ...]` and returns
    the queries' logits `[tasks, m, classes]`; a fourth input `[tasks, n]` weights the support examples.

    Attributes:
        transductive: Whether one query's prediction depends on the other queries.
        views: How often each example is seen outside training.
    """

    def __init__(  # noqa: PLR0913  the parts of a learner
        self,
        body: keras.Model,
        head: Head | None,
        rates: InnerRates,
        inner: InnerLoop,
        *,
        adapts: str = "all",
        evaluation_steps: int | None = None,
        vary_steps: bool = False,
        rule: Rule | None = None,
        outer: Outer | None = None,
        spread: Spread | None = None,
        views: Views | None = None,
        frozen: Constant | None = None,
        **kwargs: Any,
    ) -> None:
        """Join a network, a head and a way of adapting.

        Args:
            body: A built Keras model from one example to features, or to the outputs themselves without a head.
            head: Where the output layer starts; None where `body` ends in its outputs.
            rates: Inner learning rates.
            inner: Steps, loss and clipping of the inner loop, and how the meta-gradient passes through it.
            adapts: `all`, `head`, `no_normalization` (everything but affine terms of normalisation), or `context`.
            evaluation_steps: Inner steps outside training; as many as in training if None.
            vary_steps: In training, answer after 0, 1, 2 ... steps in turn, update by update; always after all if not.
            rule: How a gradient moves parameters; gradient descent if None.
            outer: What the meta-gradient is taken of; the queries' loss after the last step if None.
            spread: Of the starts that a task adapts from; one start if None.
            views: What outside training is made of each example, to adapt to and to predict; itself alone if None.
            frozen: What examples go through before the body sees them, once for all steps; nothing if None.
            **kwargs: Passed to `keras.Model`.

        Raises:
            RecipeError: if `adapts` is unknown, or asks for the head of a network without one, or examples have no
                views, or the meta-gradient would be wrong.
        """
        super().__init__(dtype=body.variable_dtype, **kwargs)  # parameters adapt as precisely as they are kept
        self.body, self.head, self.inner_rates = body, head, rates
        self.inner, self.adapts, self.vary_steps, self.outer = inner, adapts, vary_steps, outer or Outer()
        self.rule, self.spread = rule or GradientRule(), spread
        self.evaluation_steps = inner.steps if evaluation_steps is None else evaluation_steps
        self.views = views or Views()
        self.frozen = frozen
        self.views.require_fit(self.eyes().input_shape[1:], body.output_shape[1:])
        layers = list(body._flatten_layers())
        self.transductive = any(is_transductive(layer) for layer in layers) or bool(head and head.transductive)
        moving = what_moves(body, head, adapts)
        if any(moving[: len(body.trainable_variables)]):
            require_exact(body, inner)
        require_head(head, inner)
        shapes = [tuple(variable.shape) for variable in body.trainable_variables]
        if head is not None:
            head.build_for(body.output_shape[-1])
            shapes += head.rate_shapes(body.output_shape[-1])
        learned = rates.kind != "constant" or isinstance(self.rule, LearnedRule)
        require_way_back(inner, learned_rates=learned, every_step=vary_steps or bool(self.outer.fading))
        require_rule(self.rule, rates, moving)
        require_objective(self.outer, head, inner, learned_rates=learned)
        if not any(moving) and (inner.steps or self.evaluation_steps):
            raise RecipeError(
                "This head reads the support set and takes no inner steps. Use learner.steps = 0 and "
                "learner.evaluation_steps = 0."
            )
        rates.build_for(shapes, moving)
        if spread is not None:
            require_one_start(self.rule, self.outer, inner, moving, vary_steps=vary_steps)
            spread.build_for(shapes, moving)
        self.moving = tuple(moving)
        self.network = body if head is None else HeadedNetwork(body, head)
        self._task = tf.function(self.one_task, autograph=False)
        self.built = True

    def compile(
        self,
        optimizer: Any = "rmsprop",
        *args: Any,
        jit_compile: bool = False,
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, but without XLA unless asked: it refuses the assertion that no loss diverged.

        Args:
            optimizer: As Keras has it.
            *args: As Keras has them.
            jit_compile: Whether XLA compiles training.
            auto_scale_loss: Whether losses are scaled where the body computes in float16.
            **kwargs: As Keras has them.
        """
        optimizer, scaled = keras.optimizers.get(optimizer), keras.optimizers.LossScaleOptimizer
        if auto_scale_loss and self.body.dtype_policy.name == "mixed_float16" and not isinstance(optimizer, scaled):
            optimizer = scaled(optimizer)
        super().compile(optimizer, *args, jit_compile=jit_compile, auto_scale_loss=False, **kwargs)

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> Any:  # noqa: FBT001, FBT002 (Keras's signature)
        """Return query logits `[tasks, m, ..., classes]` after the inner steps of evaluation.

        In training return an empty list: the meta-gradient is taken of each task where its loss is, which asks for the
        queries' labels, so that `compute_loss` answers, and leaves what metrics are to see in that list.
        """
        return [] if training else self.predict_after(inputs, [self.evaluation_steps])[0]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 (Keras's signature)
    ) -> tf.Tensor:
        """Return the loss of answers; in training the outer objective, the mean over tasks of what each has alone.

        So a loss of Keras's own that sums, or counts labels where tasks have unequal numbers, is another in evaluation.

        Args:
            x: What `call` took.
            y: Labels of the queries.
            y_pred: What `call` returned.
            sample_weight: As Keras has it.
            training: Whether this is an update.

        Raises:
            ShapeError: if the inputs differ in their number of tasks.
        """
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        if not self.outer.first_order_updates:
            loss, answers = self._objective(x, y, sample_weight, self.inner.backward)
        else:
            early = tf.convert_to_tensor(self.optimizer.iterations) < self.outer.first_order_updates
            loss, answers = tf.cond(
                early,
                lambda: self._objective(x, y, sample_weight, "first_order"),
                lambda: self._objective(x, y, sample_weight, self.inner.backward),
            )
        if isinstance(y_pred, list):
            y_pred.extend(answers)
        return loss

    def _objective(
        self, inputs: Sequence[tf.Tensor], query_y: tf.Tensor, sample_weight: Any, backward: str
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the mean objective of the tasks, and a list of the queries' logits `[tasks, m, ..., classes]`.

        The list is empty where the answers know the labels (Reptile, or a spread).
        """
        support_x, support_y, query_x, *weight = inputs
        if self.inner.loss == "cross_entropy":  # Keras may hand over whole numbers as floats
            support_y = tf.cast(support_y, tf.int32)
        check_tasks([*inputs, query_y, *([] if sample_weight is None else [sample_weight])])
        classes, tasks = self.classes_of(support_y), tf.shape(support_x)[0]
        draws = tf.cast(self.optimizer.iterations, tf.int32) * tasks + tf.range(tasks)
        given = Support(support_x, support_y, *weight), Support(query_x, query_y, sample_weight), draws

        def one(task: tuple[Support, Support, tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            term, losses, answers = self._objective_of_task(*task, classes, backward)
            return term, [losses, *answers]

        unseen = self.outer.objective == "reptile" or self.spread is not None
        scale = self.optimizer.scale_loss(tf.ones([], self.variable_dtype))
        loss, (losses, *answers) = mean_over_tasks(
            one, given, self.trainable_variables, kept=1 if unseen else 2, dtype=self.variable_dtype, scale=scale
        )
        require_finite(losses)
        return loss, answers

    def _objective_of_task(
        self, support: Support, queries: Support, draw: tf.Tensor, classes: int | tf.Tensor, backward: str
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Return a task's objective, its support losses `[steps]`, and a list of the queries' logits, or of nothing."""
        start, replicas = self.start(), tf.distribute.get_strategy().num_replicas_in_sync  # whose gradients are summed
        if self.outer.objective == "reptile":
            labels = tf.concat([support.y, tf.cast(queries.y, support.y.dtype)], axis=0)
            joined = Support(tf.concat([support.x, queries.x], axis=0), labels)
            seen = self.seen_support(joined, Views())
            begin = self.start_parameters(start, seen, classes)
            adapted = self.adapted(start, begin, seen, replace(self.inner, backward="first_order"), anchor=begin)
            moved = distance(begin[: len(self.moving)], adapted.parameters[: len(self.moving)])
            return moved / replicas, adapted.losses, []
        support, shown = self.seen_support(support, Views()), self.seen(queries.x, Views())
        if self.spread is not None:
            seen = Support(shown, tf.cast(queries.y, tf.int32))
            answers, divergence, losses = self.bound_of_task(start, support, seen, classes, draw)
            # The loss is that of a mean label, and the bound of all of them has one divergence.
            counted = replicas * tf.reduce_sum(tf.cast(seen.y >= 0, divergence.dtype))
            return self._loss_of(queries, answers) + tf.math.divide_no_nan(divergence, counted), losses, []
        steps = self._answered()
        outputs, losses = self.one_task(start, support, shown, classes, steps, backward, views=1)
        if self.vary_steps:
            # By the count of updates, which a resumed run goes on with; not by chance, which it would not.
            outputs = outputs[self.optimizer.iterations % len(steps)][None]
        terms = [self._loss_of(queries, answers) for answers in tf.unstack(outputs)]
        weights = self.outer.step_weights(len(terms), tf.convert_to_tensor(self.optimizer.iterations))
        return tf.reduce_sum(tf.cast(weights, terms[0].dtype) * tf.stack(terms)), losses, [outputs[-1]]

    def _answered(self) -> tuple[int, ...]:
        """Return the numbers of steps that a task answers after in training."""
        last = int(self.inner.steps)
        if self.vary_steps:
            return tuple(range(last + 1))
        return tuple(range(1, last + 1)) if self.outer.fading else (last,)

    def _loss_of(self, queries: Support, answers: tf.Tensor) -> tf.Tensor:
        """Return the loss that the learner is compiled with, of a task's answers `[m, ..., classes]`."""
        weight = None if queries.weight is None else queries.weight[None]
        return super().compute_loss(None, queries.y[None], answers[None], weight, training=True)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Measure the answer after the last step; Args and result are those of `keras.Model.compute_metrics`.

        Without answers (Reptile, or a spread, in training) the loss alone is known.
        """
        if isinstance(y_pred, list) and not y_pred:
            return self._loss_alone()
        return super().compute_metrics(x, y, y_pred[-1] if isinstance(y_pred, list) else y_pred, sample_weight)

    def get_metrics_result(self) -> dict[str, Any]:
        """As `keras.Model.get_metrics_result`, which stops where no answer was measured yet."""
        if all(getattr(one, "built", True) for one in self.metrics):
            return dict(super().get_metrics_result())
        return self._loss_alone()

    def _loss_alone(self) -> dict[str, Any]:
        return {one.name: one.result() for one in self.metrics if one.name == "loss"}

    def predict_after(
        self,
        inputs: Sequence[tf.Tensor],
        steps: Sequence[int],
        *,
        views: Views | None = None,
        backward: str | None = None,
    ) -> tf.Tensor:
        """Return query logits `[len(steps), tasks, m, ..., classes]` after each of these numbers of inner steps.

        Args:
            inputs: (support_x, support_y, query_x) or with support_weight as the fourth.
            steps: Ascending numbers of steps; one adaptation passes through them all.
            views: Of each example; the learner's own if None.
            backward: How a derivative of the answers passes; as in training if None.

        Raises:
            ShapeError: if the inputs differ in their number of tasks.
            DivergedError: outside a graph, if a support loss is not finite.
        """
        support_x, support_y, query_x, *weight = inputs
        check_tasks(inputs)
        if self.inner.loss == "cross_entropy":
            support_y = tf.cast(support_y, tf.int32)  # Keras may hand over whole numbers as floats
        start = self.start()
        classes = self.classes_of(support_y)
        steps, views, way = tuple(steps), views or self.views, backward or self.inner.backward

        def one(task: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            support = self.seen_support(Support(task[0], task[1], *task[3:]), views)
            return self._task(start, support, self.seen(task[2], views), classes, steps, way, views.count)

        outputs, losses = over_tasks(one, [support_x, support_y, query_x, *weight])
        require_finite(losses)
        return tf.transpose(outputs, [1, 0, *range(2, outputs.shape.rank)])

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; raises DivergedError where a support loss is not finite."""
        with divergence_as_error(REMEDY):
            return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`; raises DivergedError where a support loss is not finite."""
        with divergence_as_error(REMEDY):
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`, given `(support_x, support_y, query_x)` or a dataset of `(inputs,)`."""
        with divergence_as_error(REMEDY):
            return super().predict(*args, **kwargs)


REMEDY = "Lower the inner rate (inner.rate), or clip inner gradients (inner.clip_value)."
