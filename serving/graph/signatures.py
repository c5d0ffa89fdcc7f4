"""The signatures of an exported model: adaptation and prediction as one graph of stock TensorFlow operations.

They adapt as training does. Everything is named and every answer is a dictionary; every input must be sent,
since runtimes disagree on filling defaults in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from fewshot.errors import ArtifactError
from fewshot.exported.card import CARD_NAME, Card
from fewshot.meta import MetaLearner, Support
from fewshot.meta.descent import support_loss
from fewshot.meta.one_task import Start
from serving.graph.checks import Checks, RequestChecks, unknown_shape
from serving.graph.contract import input_specs
from serving.graph.layout import NONE, column_shapes, flat, moving_of
from serving.graph.step_choice import choose_steps

Tensors = dict[str, tf.Tensor]
Unpacked = tuple[list[tf.Tensor], list[tf.Tensor]]


class Adaptation:
    """Adapts and predicts in a graph, for tensors that are already checked and scaled.

    Not a `tf.Module`: TensorFlow would store the weights of a Keras model in an exported module's attribute twice.
    """

    def __init__(self, learner: MetaLearner, card: Card) -> None:
        """Trace nothing yet.

        Raises:
            ArtifactError: if the learner has no head, so that nothing tells its classes.
        """
        if learner.head is None:
            raise ArtifactError("Only a learner with a head can be exported; this network ends in its own outputs.")
        self.learner, self.card, self.head = learner, card, learner.head
        bands = card.bands
        self._scale = np.array([band.scale for band in bands], np.float32)
        self._offset = np.array([band.offset for band in bands], np.float32)
        self.adapt = tf.function(self._adapt, autograph=False)
        self.choose = tf.function(self._choose, autograph=False)
        self.predict = tf.function(self._predict, autograph=False)
        self.features = tf.function(self._features, autograph=False)

    def scaled(self, images: tf.Tensor) -> tf.Tensor:
        """Return pictures `[n, H, W, bands]` as the network reads them, from values as clients send them."""
        scaled = images * self._scale
        return scaled + self._offset if self._offset.any() else scaled

    def _adapt(self, support: Support, classes: tf.Tensor, steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the adapted vector and the support loss `[2]` before and after."""
        learner, start = self.learner, self.learner.start()
        support = learner.seen_support(support, learner.views)
        begin = learner.start_parameters(start, support, classes)
        if learner.spread is None:
            parts, layer, losses = self._fitted(start, begin, support, steps)
        else:
            parts, layer, losses = learner.each_start(
                begin, start, support, lambda drawn: self._fitted(start, drawn, support, steps)
            )
            parts, layer, losses = tf.reshape(parts, [-1]), tf.reshape(layer, [-1]), tf.reduce_mean(losses, axis=0)
        finite = Checks()
        finite.require(
            lambda: tf.reduce_all(tf.math.is_finite(losses)),
            "Adaptation diverged: the support loss is not finite after {} of {} steps. Ask for fewer steps.",
            lambda: tf.argmax(tf.cast(~tf.math.is_finite(losses), tf.int32)),
            lambda: steps,
        )
        fingerprint = tf.constant([self.card.adapted.fingerprint], tf.float32)
        return finite.after(tf.concat([fingerprint, parts, layer], axis=0)), tf.stack([losses[0], losses[-1]])

    def _fitted(
        self, start: Start, begin: Sequence[tf.Tensor], support: Support, steps: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return what moved and the statistics, the head's layer, and the support losses, each `[n]`."""
        learner, inner = self.learner, replace(self.learner.inner, steps=steps)
        adapted = learner.adapted(start, begin, support, inner, anchor=begin)
        # One more pass over the support set: its loss, and the statistics that queries are normalised with.
        found = adapted.parameters[: len(start.rates)]  # without what the rule remembers
        outputs, state = learner.network.stateless_call(found, start.state, support.x, training=True)
        after = tf.cast(support_loss(outputs, support, inner.loss, balanced=inner.balanced), tf.float32)
        own = len(start.body)
        columns = zip(found[own:], column_shapes(learner, self.head), strict=True)
        layer = [part[: shape[0]] if shape else part for part, shape in columns]
        parts = [*moving_of(found[:own], start.rates), *state]
        return flat(parts), flat(layer), tf.concat([adapted.losses, [after]], axis=0)

    def _choose(self, support: Support, classes: tf.Tensor) -> tf.Tensor:
        """Return the number of inner steps that the support itself asks for."""
        card = self.card
        return choose_steps(self.learner, support, classes, usual=card.steps, most=card.limits.steps)

    def _unpacked(self, fixed: tf.Tensor, columns: tf.Tensor, classes: tf.Tensor) -> Unpacked:
        """Return the parameters, the head's layer last, and the statistics in an adapted vector's parts of one draw."""
        start, shapes_of_class = self.learner.start(), column_shapes(self.learner, self.head)
        moving = moving_of(start.body, start.rates)
        shapes = [value.shape for value in [*moving, *start.state]]
        values = tf.split(fixed, [math.prod(shape) for shape in shapes]) if shapes else []
        layer = tf.split(columns, [math.prod(shape) * classes for shape in shapes_of_class])
        layer = [tf.reshape(v, [*shape, classes]) for v, shape in zip(layer, shapes_of_class, strict=True)]
        if shapes_of_class[0] == NONE:
            layer[0] = self._own_layer()[0]
        values = [tf.reshape(value, shape) for value, shape in zip(values, shapes, strict=True)]
        state = [tf.cast(v, old.dtype) for v, old in zip(values[len(moving) :], start.state, strict=True)]
        moved = iter(values[: len(moving)])
        body = [
            value if rate is None else tf.cast(next(moved), value.dtype)
            for value, rate in zip(start.body, start.rates, strict=False)
        ]
        return [*body, *layer], state

    def _of_draws(self, adapted: tf.Tensor, classes: tf.Tensor, one: Callable[..., tf.Tensor]) -> tf.Tensor:
        """Return the mean of what `one` makes of the parameters and statistics of each draw in an adapted vector."""
        learner, fixed = self.learner, self.card.adapted.fixed
        if learner.spread is None:
            return one(*self._unpacked(adapted[1:fixed], adapted[fixed:], classes))
        draws = learner.spread.draws
        parts, layers = (tf.reshape(part, [draws, -1]) for part in (adapted[1:fixed], adapted[fixed:]))
        found = learner.spread.each(lambda draw: one(*self._unpacked(parts[draw], layers[draw], classes)))
        return tf.reduce_mean(found, axis=0)

    def _predict(self, adapted: tf.Tensor, classes: tf.Tensor, query_x: tf.Tensor) -> Tensors:
        """Return the probabilities of queries under an adapted vector."""

        def probabilities(parameters: list[tf.Tensor], state: list[tf.Tensor]) -> tf.Tensor:
            return self._probabilities(parameters, state, query_x)

        return _answer(self._of_draws(adapted, classes, probabilities))

    def _features(self, adapted: tf.Tensor, classes: tf.Tensor, query_x: tf.Tensor) -> Tensors:
        """Return the features of queries under an adapted vector."""
        own = len(self.learner.body.trainable_variables)

        def described(parameters: list[tf.Tensor], state: list[tf.Tensor]) -> tf.Tensor:
            return self._described(parameters[:own], state, query_x, training=False)

        return {"features": self._of_draws(adapted, classes, described)}

    def features_start(self, query_x: tf.Tensor) -> Tensors:
        """Return the features of queries before any adaptation, by statistics of their own."""
        start = self.learner.start()
        return {"features": self._described(start.body, start.state, query_x, training=True)}

    def _described(
        self, body: Sequence[tf.Tensor], state: Sequence[tf.Tensor], query_x: tf.Tensor, *, training: bool
    ) -> tf.Tensor:
        """Return features `[m, ..., F]` of scaled queries, the mean over their views."""
        learner, views = self.learner, self.learner.views
        features, _ = learner.body.stateless_call(body, state, learner.seen(query_x, views), training=training)
        features = tf.cast(features, tf.float32)
        if views.count > 1:
            features = tf.reduce_mean(tf.reshape(features, [-1, views.count, features.shape[-1]]), axis=1)
        return features

    def predict_base(self, query_x: tf.Tensor, state: Sequence[tf.Tensor]) -> Tensors:
        """Return the probabilities of queries before any adaptation, of a head with outputs of its own."""
        return _answer(self._probabilities([*self.learner.start().body, *self._own_layer()], state, query_x))

    def _own_layer(self) -> list[tf.Tensor]:
        """Return kernel and bias of a head with outputs of its own."""
        outputs = self.card.outputs or 0
        return self.head.start(None, tf.range(outputs), outputs)  # every class is shown, none ruled out

    def _probabilities(
        self, parameters: Sequence[tf.Tensor], state: Sequence[tf.Tensor], query_x: tf.Tensor
    ) -> tf.Tensor:
        """Return probabilities `[m, ..., classes]` of scaled queries, the mean over their views."""
        views = self.learner.views
        seen = self.learner.seen(query_x, views)
        outputs, _ = self.learner.network.stateless_call(parameters, state, seen, training=False)
        return tf.nn.softmax(views.joined(tf.cast(outputs, tf.float32)))


def _answer(probabilities: tf.Tensor) -> Tensors:
    """Return probabilities `[m, ..., classes]` and the index of the greatest `[m, ...]`."""
    return {
        "probabilities": probabilities,
        "class_index": tf.argmax(probabilities, axis=-1, output_type=tf.int32),
    }


class Requests:
    """The signatures: check what is sent, scale it, adapt and predict."""

    def __init__(self, adaptation: Adaptation, base_state: Sequence[tf.Variable]) -> None:
        """Take the statistics that `predict_base` normalises with beside the adaptation."""
        self.adaptation, self.card, self.base_state = adaptation, adaptation.card, base_state

    def adapt_and_predict(
        self,
        support_x: tf.Tensor,
        support_y: tf.Tensor,
        query_x: tf.Tensor,
        steps: tf.Tensor,
        support_weight: tf.Tensor | None = None,
    ) -> Tensors:
        """Adapt to the support pictures, answer for the queries.

        Args:
            support_x: [n, H, W, bands] values as clients send them.
            support_y: [n] or [n, H, W] classes; -1 is ignored.
            query_x: [m, H, W, bands] as `support_x`.
            steps: Scalar; inner steps.
            support_weight: [n] how much each picture counts; all the same if None.
        """
        checks = RequestChecks(self.card)
        queries = checks.images("query_x", query_x, self.card.limits.queries)
        adapted, losses, classes, taken = self._fit(checks, support_x, support_y, steps, support_weight)
        answer = self.adaptation.predict(adapted, classes, self.adaptation.scaled(checks.after(queries)))
        return {**answer, "support_loss": losses, "steps": taken}

    def adapt_and_predict_encoded(
        self, support_bytes: tf.Tensor, support_y: tf.Tensor, query_bytes: tf.Tensor, steps: tf.Tensor
    ) -> Tensors:
        """Args and errors are those of `adapt_and_predict`, but the pictures PNG or JPEG files, `[n]` and `[m]`."""
        checks, limits = RequestChecks(self.card), self.card.limits
        support_x = checks.decoded("support_bytes", support_bytes, limits.examples)
        query_x = checks.decoded("query_bytes", query_bytes, limits.queries)
        return self.adapt_and_predict(support_x, support_y, query_x, steps)

    def adapt(
        self, support_x: tf.Tensor, support_y: tf.Tensor, steps: tf.Tensor, support_weight: tf.Tensor | None = None
    ) -> Tensors:
        """Adapt to the support pictures; Args and errors are those of `adapt_and_predict`."""
        fitted = self._fit(RequestChecks(self.card), support_x, support_y, steps, support_weight)
        return dict(zip(("adapted", "support_loss", "classes", "steps"), fitted, strict=True))

    def predict(self, adapted: tf.Tensor, query_x: tf.Tensor) -> Tensors:
        """Answer for the queries with an adapted vector."""
        answer: Tensors = self.adaptation.predict(*self._adapted_queries(adapted, query_x))
        return answer

    def features(self, adapted: tf.Tensor, query_x: tf.Tensor) -> Tensors:
        """Return the features of the queries with an adapted vector."""
        answer: Tensors = self.adaptation.features(*self._adapted_queries(adapted, query_x))
        return answer

    def features_start(self, query_x: tf.Tensor) -> Tensors:
        """Return the features of the queries without adapting."""
        queries = RequestChecks(self.card).images("query_x", query_x, self.card.limits.queries)
        return self.adaptation.features_start(self.adaptation.scaled(queries))

    def predict_base(self, query_x: tf.Tensor) -> Tensors:
        """Answer for the queries without adapting."""
        queries = RequestChecks(self.card).images("query_x", query_x, self.card.limits.queries)
        state = [tf.convert_to_tensor(variable) for variable in self.base_state]
        return self.adaptation.predict_base(self.adaptation.scaled(queries), state)

    def card_json(self, document: tf.Tensor) -> Tensors:
        """Return the card.

        The input is there because TF Serving's REST API refuses signatures without one.
        """
        checks = Checks()
        asked = unknown_shape(document)
        checks.require(
            lambda: tf.reduce_all(tf.equal(asked, CARD_NAME)),
            f"document is {CARD_NAME}, the one there is; received {{}}.",
            lambda: asked,
        )
        return {"json": checks.after(tf.constant(self.card.to_json()))}

    def _adapted_queries(self, adapted: tf.Tensor, query_x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Check an adapted vector and queries; return the vector, its number of classes, and the scaled queries."""
        checks = RequestChecks(self.card)
        vector, classes = checks.adapted(adapted)
        queries = checks.images("query_x", query_x, self.card.limits.queries)
        return checks.after(vector), classes, self.adaptation.scaled(checks.after(queries))

    def _fit(
        self,
        checks: RequestChecks,
        support_x: tf.Tensor,
        support_y: tf.Tensor,
        steps: tf.Tensor,
        weight: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Check a support set and adapt to it; return the adapted vector, losses, classes, and steps taken."""
        images = checks.images("support_x", support_x, self.card.limits.examples)
        labels, classes = checks.labels(support_y, images)
        steps = checks.steps(steps)
        if weight is None:
            weight = tf.ones([tf.shape(labels)[0], *[1] * (labels.shape.rank - 1)])
        else:
            weight = checks.weight(weight, labels)
        support = Support(self.adaptation.scaled(checks.after(images)), checks.after(labels), weight)
        classes, steps = checks.after(classes), checks.after(steps)
        taken = tf.cond(steps < 0, lambda: self.adaptation.choose(support, classes), lambda: steps)
        adapted, losses = self.adaptation.adapt(support, classes, taken)
        return adapted, losses, classes, taken


def make_module(
    learner: MetaLearner, card: Card, base_state: Sequence[tf.Tensor] | None
) -> tuple[tf.Module, dict[str, Callable[..., Tensors]]]:
    """Make what `tf.saved_model.save` takes: a module that owns the weights, and the signatures by name.

    Args:
        learner: Trained, with a head.
        card: Complete, its signatures described.
        base_state: Values of the network's statistics for `predict_base`; None to leave that signature out.
    """
    module = tf.Module(name="fewshot")
    module.meta_learned = [variable.value for variable in learner.weights]
    module.constants = [variable.value for variable in learner.constants()]
    module.base_state = [tf.Variable(value, trainable=False) for value in base_state or ()]
    requests = Requests(Adaptation(learner, card), module.base_state)
    signatures = {}
    for name in card.signatures:
        method = requests.card_json if name == "card" else getattr(requests, name.removesuffix("_weighted"))
        traced = tf.function(_of_keywords(method), autograph=False)
        signatures[name] = traced.get_concrete_function(**{spec.name: spec for spec in input_specs(card, name)})
    signatures["serving_default"] = signatures["adapt_and_predict"]
    return module, signatures


def _of_keywords(method: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """Return a method without its optional parameters, which would double the time of a call in this process."""
    return lambda **tensors: method(**tensors)
