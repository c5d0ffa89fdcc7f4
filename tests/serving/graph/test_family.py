"""Every part of the family in the adapted vector: what `predict` answers with it is what the learner answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Spread, Support, Views, make_rule
from fewshot.models import HEADS, conv4, make_context, make_head
from serving.graph.layout import adapted_layout
from serving.graph.signatures import Adaptation

RNG = np.random.default_rng(7)
X = RNG.random((6, 8, 8, 2)).astype("float32")
Y = np.array([0, 0, 1, 1, 2, 2], "int32")
LEARNERS: dict[str, dict[str, Any]] = {
    **{head: {"head": head} for head in HEADS},
    "anil": {"head": "ridge", "adapts": "head"},
    "anil-group": {"head": "fixed", "adapts": "head", "normalization": "group"},  # nothing but a layer travels
    "matching-none": {"head": "matching", "normalization": "none"},
    "cavia": {"adapts": "context", "context": "film"},
    "bias-transformation": {"context": "join"},
    "probabilistic": {"spread": 0.1},
    "probabilistic-views": {"spread": 0.1, "views": 3},
    "adam": {"rule": "adam"},
    "meta-lstm": {"rule": "meta_lstm", "head": "prototype"},
    "hierarchical": {"rule": "hierarchical", "head": "prototype"},
    "imaml": {"backward": "implicit", "proximity": 2.0, "damping": 22.0, "steps": 10},
}
ALIKE = ("logistic", "svm", "siamese", "relation", "lstm", "snail", "imaml", "adam", "hierarchical", "prototype")
"""Those whose layer is laid out as that of another one here."""
READING = ("matching", "siamese", "relation", "propagation", "lstm", "mann", "snail")


def make(
    head: str = "fixed",
    *,
    adapts: str = "all",
    context: str = "",
    rule: str = "gradient",
    spread: float = 0.0,
    views: int = 1,
    normalization: str = "support",
    **loop: Any,
) -> MetaLearner:
    keras.utils.set_random_seed(5)
    layer = make_context(context, 3) if context else None
    body = conv4((8, 8, 2), filters=4, blocks=2, normalization=normalization, context=layer)
    inner = InnerLoop(**{"steps": 0 if head in READING else 2, **loop})
    made = MetaLearner(
        body,
        make_head(head, outputs=3, shots=2),
        InnerRates(initial=0.1),
        inner,
        adapts=adapts,
        rule=make_rule(rule),
        spread=Spread(spread, draws=3) if spread else None,
        views=Views(views, rotation=20.0) if views > 1 else None,
    )
    for variable in made.trainable_variables:
        variable.assign(variable + 0.1 * RNG.standard_normal(variable.shape))
    return made


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in ALIKE else ()) for n in LEARNERS])
def test_what_predict_answers_is_what_the_learner_answers(name: str) -> None:
    learner = make(**LEARNERS[name])
    layout, weight = adapted_layout(learner), tf.constant([1.0, 2, 1, 1, 0, 1])
    assert learner.head is not None
    limits = SimpleNamespace(steps=10)
    card: Any = SimpleNamespace(adapted=layout, bands=(), steps=2, limits=limits, outputs=learner.head.outputs)
    adaptation, steps = Adaptation(learner, card), learner.inner.steps
    support = Support(tf.constant(X), tf.constant(Y), weight)
    vector, losses = adaptation.adapt(support, tf.constant(3), tf.constant(steps))
    assert vector.shape == (layout.fixed + 3 * layout.per_class,)
    described = adaptation.features(vector, tf.constant(3), tf.constant(X))["features"]
    assert described.shape == (6, layout.width)
    assert np.isfinite(losses).all()
    found = adaptation.predict(vector, tf.constant(3), tf.constant(X))["probabilities"]
    own = learner.predict_after((X[None], Y[None], X[None], weight[None]), [steps])[0, 0]
    np.testing.assert_allclose(found, tf.nn.softmax(own), rtol=1e-4, atol=1e-5)
