"""One task: what a learner's examples go through, where its adaptation starts, the steps, the answers.

`MetaLearner` does this for each task of a meta-batch; an exported model does it inside a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fewshot.meta.adapt import adapt
from fewshot.meta.descent import Adapted, InnerLoop, Parameters, Rule, Support
from fewshot.meta.rates import InnerRates
from fewshot.meta.spread import Spread, mixed, require_spread
from fewshot.meta.views import Views, joined
from fewshot.models.headed import HeadedNetwork
from fewshot.models.heads import Head, ruled_out
from fewshot.models.pretrained import Constant, hidden_variables

LONGEST_UNROLLED = 10
"""More inner steps than this run in a loop of the graph, so that the graph stays small."""


class Start(NamedTuple):
    """Everything meta-learned, as plain tensors: where each task's adaptation starts."""

    body: list[tf.Tensor]
    state: list[tf.Tensor]
    rates: list[tf.Tensor | None]


class OneTask:
    """What a learner does with one task; its parts are those that `MetaLearner` was given.

    Attributes:
        moving: For each parameter of the body, then for the head's kernel and bias, whether it adapts.
        network: The body with its head.
    """

    body: keras.Model
    head: Head | None
    frozen: Constant | None
    views: Views
    inner: InnerLoop
    inner_rates: InnerRates
    rule: Rule
    spread: Spread | None
    adapts: str
    moving: tuple[bool, ...]
    network: keras.Model | HeadedNetwork

    def eyes(self) -> keras.Model:
        """Return the network that examples come to first: the frozen one if there is one, else the body.

        This and what follows are methods, for Keras saves what it finds behind attributes.
        """
        return self.body if self.frozen is None else self.frozen.model

    def constants(self) -> list[keras.Variable]:
        """Return the weights that never train, which are none of `weights`."""
        return [*([] if self.frozen is None else self.frozen.variables), *hidden_variables(self.body)]

    def draws(self) -> int:
        """Return how many starts of a task adapt side by side, outside training."""
        return 1 if self.spread is None else self.spread.draws

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

    def one_task(  # noqa: PLR0913  a task, and what is wanted of it
        self,
        start: Start,
        support: Support,
        query_x: tf.Tensor,
        classes: tf.Tensor,
        steps: tuple[int, ...],
        backward: str,
        views: int,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Adapt to one task; return logits `[len(steps), m, ..., classes]` and support losses `[steps]`.

        Args:
            start: What is meta-learned.
            support: The task's labelled examples, in all of their views.
            query_x: [m * views, ...] float.
            classes: How many classes the task has.
            steps: Ascending numbers of steps, after which it answers.
            backward: How the meta-gradient passes.
            views: Of each query.
        """
        begin = self.start_parameters(start, support, classes)

        def answers(begin: Parameters) -> tuple[tf.Tensor, tf.Tensor]:
            outputs, losses = self.answers_from(begin, start, support, query_x, steps, backward)
            return tf.stack([joined(logits, views) for logits in tf.unstack(outputs)]), losses

        if self.spread is None:
            return answers(begin)
        outputs, losses = self.each_start(begin, start, support, answers)
        return mixed(outputs), tf.reduce_mean(losses, axis=0)

    def answers_from(  # noqa: PLR0913  a task, and what is wanted of it
        self,
        begin: Parameters,
        start: Start,
        support: Support,
        query_x: tf.Tensor,
        steps: tuple[int, ...],
        backward: str,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As `one_task`, but nothing is drawn.

        Args:
            begin: The parameters that adaptation begins with.
            start: What is meta-learned.
            support: The task's labelled examples.
            query_x: [m, ...] float.
            steps: Ascending numbers of steps, after which it answers.
            backward: How the meta-gradient passes.
        """
        parameters = begin
        outputs, losses, taken = [], [], 0
        for target in steps:
            more = target - taken
            count = more if more <= LONGEST_UNROLLED else tf.constant(more)
            inner = replace(self.inner, steps=count, first_step=taken, backward=backward)
            adapted = self.adapted(start, parameters, support, inner, anchor=begin)
            parameters, taken = adapted.parameters, target
            losses.append(adapted.losses)
            outputs.append(self.predict_queries(parameters, start.state, support, query_x))
        return tf.stack(outputs), tf.concat(losses, axis=0)

    def each_start(
        self, begin: Parameters, start: Start, support: Support, one: Callable[[list[tf.Tensor]], Any]
    ) -> Any:
        """Stack what `one` makes of each start that is drawn, [draws, ...].

        Args:
            begin: What `start_parameters` returned.
            start: What is meta-learned.
            support: The task's labelled examples.
            one: Given the parameters that a task adapts from.
        """
        spread = require_spread(self.spread)
        mean = self._mean_of(begin, start, support, spread.support_rate)
        return spread.each(lambda draw: one(spread.drawn(mean, draw)))

    def bound_of_task(  # noqa: PLR0913  a task with the labels of its queries
        self, start: Start, support: Support, queries: Support, classes: tf.Tensor, draw: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return what a spread learns from: logits `[m, ..., classes]`, divergence, and support losses `[steps]`.

        Args:
            start: What is meta-learned.
            support: The task's labelled examples.
            queries: The task's queries, labelled.
            classes: How many classes the task has.
            draw: A scalar int32 tensor that is another in every update.
        """
        spread, begin = require_spread(self.spread), self.start_parameters(start, support, classes)
        # What the support does not show may be ruled out: no step could bring it nearer.
        absent = tf.gather(ruled_out(support.y, classes, tf.float32), tf.maximum(queries.y, 0)) < 0
        queries = queries._replace(y=tf.where(absent, -1, queries.y))
        prior = self._mean_of(begin, start, support, spread.support_rate)
        posterior = self._mean_of(begin, start, queries, spread.query_rate)
        steps, way = (int(self.inner.steps),), self.inner.backward
        outputs, losses = self.answers_from(spread.drawn(posterior, draw), start, support, queries.x, steps, way)
        return outputs[0], spread.divergence(posterior, prior), losses

    def _mean_of(self, begin: Parameters, start: Start, shown: Support, rate: Any) -> list[tf.Tensor]:
        """Return the mean of the starts that labelled examples speak for: a step from `begin` down their loss."""
        rates = [tf.convert_to_tensor(rate) if moves else None for moves in self.moving]
        way = "first_order" if self.inner.backward == "first_order" else "exact"
        inner = replace(self.inner, steps=1, batch=0, backward=way)
        return self.adapted(start._replace(rates=rates), begin, shown, inner, anchor=begin).parameters

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

    def classes_of(self, support_y: tf.Tensor) -> int | tf.Tensor:
        """Return how many classes the tasks have: the head's own number, or the largest label and one.

        Args:
            support_y: [tasks, n] or [tasks, n, H, W].
        """
        if self.head is None:
            return self.body.output_shape[-1]
        return tf.reduce_max(support_y) + 1 if self.head.outputs is None else self.head.outputs
