"""`MetaLearner`: a Keras model whose `call` adapts.

Because the call itself fits a copy of the parameters to each task, Keras's own `train_step` differentiates through
the inner loop, and `fit`, `evaluate`, `predict`, callbacks, mixed precision and distribution strategies need nothing
of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta.adapt import adapt, divergence_as_error, require_finite
from fewshot.meta.backward import require_way_back
from fewshot.meta.batch import check_tasks, over_tasks
from fewshot.meta.choices import require_exact, require_objective, require_rule, what_moves
from fewshot.meta.descent import Adapted, InnerLoop, Parameters, Rule, Support
from fewshot.meta.outer import Outer, distance
from fewshot.meta.rates import InnerRates
from fewshot.meta.rules import GradientRule, LearnedRule
from fewshot.meta.views import Views
from fewshot.models.headed import HeadedNetwork
from fewshot.models.heads import Head
from fewshot.models.normalization import is_transductive
from fewshot.models.pretrained import Constant, hidden_variables

LONGEST_UNROLLED = 10
"""More inner steps than this run in a loop of the graph, so that the graph stays small."""


class Start(NamedTuple):
    """Everything meta-learned, as plain tensors: where each task's adaptation starts."""

    body: list[tf.Tensor]
    state: list[tf.Tensor]
    rates: list[tf.Tensor | None]


class MetaLearner(keras.Model):
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
            views: What outside training is made of each example, to adapt to and to predict; itself alone if None.
            frozen: What examples go through before the body sees them, once for all steps; nothing if None.
            **kwargs: Passed to `keras.Model`.

        Raises:
            RecipeError: if `adapts` is unknown, or asks for the head of a network without one, or examples have no
                views, or the meta-gradient would be wrong.
        """
        super().__init__(**kwargs)
        self.body, self.head, self.inner_rates = body, head, rates
        self.inner, self.adapts, self.vary_steps, self.outer = inner, adapts, vary_steps, outer or Outer()
        self.rule = rule or GradientRule()
        self.evaluation_steps = inner.steps if evaluation_steps is None else evaluation_steps
        self.views = views or Views()
        self.frozen = frozen
        self.views.require_fit(self.eyes().input_shape[1:], body.output_shape[1:])
        layers = list(body._flatten_layers())
        self.transductive = any(is_transductive(layer) for layer in layers) or bool(head and head.transductive)
        moving = what_moves(body, head, adapts)
        if any(moving[: len(body.trainable_variables)]):
            require_exact(body, inner)
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
        self.moving = tuple(moving)
        self.network = body if head is None else HeadedNetwork(body, head)
        self._task = tf.function(self._one_task, autograph=False)
        self.built = True

    def compile(self, *args: Any, jit_compile: bool = False, **kwargs: Any) -> None:
        """As `keras.Model.compile`, but without XLA unless asked: on CPU it is slower (docs/results.md)."""
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:  # noqa: FBT001, FBT002 (Keras's signature)
        """Return query logits `[tasks, m, ..., classes]` after the inner steps of training, or of evaluation.

        Reptile trains without them: its queries are adapted to, and another adaptation takes as long again.
        """
        if not training:
            return self.predict_after(inputs, [self.evaluation_steps])[0]
        if self.outer.objective == "reptile":
            return []
        if self.vary_steps:
            # By the count of updates, which a resumed run goes on with; not by chance, which it would not.
            answers = self._answers(inputs, range(self.inner.steps + 1))
            return answers[self.optimizer.iterations % (self.inner.steps + 1)]
        if self.outer.fading:
            return tf.unstack(self._answers(inputs, range(1, self.inner.steps + 1)))
        return self._answers(inputs, [self.inner.steps])[0]

    def _answers(self, inputs: Sequence[tf.Tensor], steps: Sequence[int]) -> tf.Tensor:
        """Return the answers of training, in its first updates without second derivatives where that is asked for."""

        def after(backward: str) -> tf.Tensor:
            return self.predict_after(inputs, steps, views=Views(), backward=backward)

        if not self.outer.first_order_updates:
            return after(self.inner.backward)
        early = tf.convert_to_tensor(self.optimizer.iterations) < self.outer.first_order_updates
        return tf.cond(early, lambda: after("first_order"), lambda: after(self.inner.backward))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002 (Keras's signature)
    ) -> tf.Tensor:
        """Return the outer objective: of one answer, of one a step, or of the adapted parameters.

        Args:
            x: What `call` took.
            y: Labels of the queries.
            y_pred: What `call` returned.
            sample_weight: As Keras has it.
            training: Whether this is an update.
        """
        if training and self.outer.objective == "reptile":
            return self._distance(x, y)
        if not isinstance(y_pred, list):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        losses = [super(MetaLearner, self).compute_loss(x, y, one, sample_weight, training) for one in y_pred]
        weights = self.outer.step_weights(len(losses), tf.convert_to_tensor(self.optimizer.iterations))
        return tf.reduce_sum(weights * tf.stack(losses))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Measure the answer after the last step; Args and result are those of `keras.Model.compute_metrics`.

        Without answers (Reptile in training) the loss alone is known.
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

    def _distance(self, inputs: Sequence[tf.Tensor], query_y: tf.Tensor) -> tf.Tensor:
        """Return the tasks' mean distance from the start to parameters adapted to support and queries."""
        support_x, support_y, query_x, *_ = inputs
        start, classes = self.start(), self._classes(support_y)

        def one(task: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            joined = Support(tf.concat([task[0], task[2]], axis=0), tf.concat([task[1], task[3]], axis=0))
            support = self.seen_support(joined, Views())
            begin = self.start_parameters(start, support, classes)
            adapted = self.adapted(start, begin, support, replace(self.inner, backward="first_order"), anchor=begin)
            return distance(begin[: len(self.moving)], adapted.parameters[: len(self.moving)]), adapted.losses

        labels = [tf.cast(y, support_y.dtype) for y in (support_y, query_y)]
        distances, losses = over_tasks(one, [support_x, labels[0], query_x, labels[1]])
        require_finite(losses)
        return tf.reduce_mean(distances)

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
            backward: How the meta-gradient passes; the learner's own way if None.

        Raises:
            ShapeError: if the inputs differ in their number of tasks.
            DivergedError: outside a graph, if a support loss is not finite.
        """
        support_x, support_y, query_x, *weight = inputs
        check_tasks(inputs)
        if self.inner.loss == "cross_entropy":
            support_y = tf.cast(support_y, tf.int32)  # Keras may hand over whole numbers as floats
        start = self.start()
        classes = self._classes(support_y)
        steps, views, way = tuple(steps), views or self.views, backward or self.inner.backward

        def one(task: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            support = self.seen_support(Support(task[0], task[1], *task[3:]), views)
            outputs, losses = self._task(start, support, self.seen(task[2], views), classes, steps, way)
            return tf.stack([views.joined(logits) for logits in tf.unstack(outputs)]), losses

        outputs, losses = over_tasks(one, [support_x, support_y, query_x, *weight])
        require_finite(losses)
        return tf.transpose(outputs, [1, 0, *range(2, outputs.shape.rank)])

    # Methods, for Keras saves what it finds behind attributes.

    def eyes(self) -> keras.Model:
        """Return the network that examples come to first: the frozen one if there is one, else the body."""
        return self.body if self.frozen is None else self.frozen.model

    def constants(self) -> list[keras.Variable]:
        """Return the weights that never train, which are none of `weights`."""
        return [*([] if self.frozen is None else self.frozen.variables), *hidden_variables(self.body)]

    def seen(self, examples: tf.Tensor, views: Views) -> tf.Tensor:
        """Return every view of examples [n, ...], those of one together, as the body takes them."""
        examples = views.of(examples)
        return examples if self.frozen is None else self.frozen(examples)

    def seen_support(self, support: Support, views: Views) -> Support:
        """Return a support set of every view of those examples that count, as the body takes them."""
        support = views.of_support(support.counted())
        return support if self.frozen is None else support._replace(x=self.frozen(support.x))

    def start(self) -> Start:
        """Return the meta-learned values as tensors, the head's apart."""
        body = [tf.convert_to_tensor(variable) for variable in self.body.trainable_variables]
        if self.adapts == "context":  # a task's own numbers are 0 before it, and never meta-learned
            body = [0 * value if moves else value for value, moves in zip(body, self.moving, strict=False)]
        return Start(
            body,
            [tf.convert_to_tensor(variable) for variable in self.body.non_trainable_variables],
            self.inner_rates.values(),
        )

    def start_parameters(self, start: Start, support: Support, classes: int | tf.Tensor) -> list[tf.Tensor]:
        """Return the parameters that one task's adaptation starts from, the head's last, and the rule's memory.

        Args:
            start: What is meta-learned.
            support: The task's labelled examples.
            classes: How many classes the task has.
        """
        layer = self._start_layer(start, support, classes)
        begin = [*start.body, *layer]
        return [*begin, *self.rule.memory([value for value, moves in zip(begin, self.moving, strict=True) if moves])]

    def _start_layer(self, start: Start, support: Support, classes: int | tf.Tensor) -> list[tf.Tensor]:
        """Return where the head's layer starts; nothing without a head."""
        if self.head is None:
            return []
        features = None
        if self.head.uses_support:
            features, _ = self.body.stateless_call(start.body, start.state, support.x, training=True)
            features = tf.cast(features, self.head.variable_dtype)
        return self.head.start(features, support.y, classes, support.weight)

    def _one_task(  # noqa: PLR0913  a task, and what is wanted of it
        self,
        start: Start,
        support: Support,
        query_x: tf.Tensor,
        classes: tf.Tensor,
        steps: tuple[int, ...],
        backward: str,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Adapt to one task; return logits `[len(steps), m, ..., classes]` and support losses `[steps]`."""
        parameters = anchor = self.start_parameters(start, support, classes)
        outputs, losses, taken = [], [], 0
        for target in steps:
            more = target - taken
            count = more if more <= LONGEST_UNROLLED else tf.constant(more)
            inner = replace(self.inner, steps=count, first_step=taken, backward=backward)
            adapted = self.adapted(start, parameters, support, inner, anchor=anchor)
            parameters, taken = adapted.parameters, target
            losses.append(adapted.losses)
            outputs.append(self.predict_queries(parameters, start.state, support, query_x))
        return tf.stack(outputs), tf.concat(losses, axis=0)

    def adapted(
        self, start: Start, parameters: Parameters, support: Support, inner: InnerLoop, *, anchor: Parameters
    ) -> Adapted:
        """Take inner steps; where the head alone moves, over features that are computed once for all of them.

        Args:
            start: What is meta-learned.
            parameters: Before the steps.
            support: The task's labelled examples.
            inner: How many steps, and how.
            anchor: What `start_parameters` returned, before the first step of all.
        """
        network, still = self.network, 0
        if self.head is not None and not any(self.moving[: len(start.body)]):
            features, _ = self.body.stateless_call(start.body, start.state, support.x, training=True)
            network, still, support = self.network.alone, len(start.body), support._replace(x=features)
        found = adapt(
            network,
            parameters[still:],
            start.rates[still:],
            support,
            inner,
            state=start.state,
            anchor=anchor[still:],
            rule=self.rule,
        )
        return Adapted([*parameters[:still], *found.parameters], found.losses)

    def predict_queries(
        self, parameters: Parameters, state: Parameters, support: Support, query_x: tf.Tensor
    ) -> tf.Tensor:
        """Return logits `[m, ..., classes]` of queries under adapted parameters.

        Where the network keeps statistics, they are first taken from the support set under these parameters.

        Args:
            parameters: Adapted ones, the head's kernel and bias last; what the rule remembers may follow.
            state: The network's non-trainable values.
            support: The task's labelled examples.
            query_x: [m, ...] float.
        """
        parameters = parameters[: len(self.moving)]
        if state:
            _, state = self.network.stateless_call(parameters, state, support.x, training=True)
        outputs, _ = self.network.stateless_call(parameters, state, query_x, training=False)
        return tf.cast(outputs, tf.float32) if outputs.dtype in (tf.float16, tf.bfloat16) else outputs

    def _classes(self, support_y: tf.Tensor) -> int | tf.Tensor:
        """Return how many classes the tasks have: the head's own number, or the largest label and one."""
        if self.head is None:
            return self.body.output_shape[-1]
        return tf.reduce_max(support_y) + 1 if self.head.outputs is None else self.head.outputs

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
