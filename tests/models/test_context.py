"""Context: what the numbers do inside a network, that they alone adapt where asked, and are never meta-learned then."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_context, make_head, mlp
from fewshot.models.context import FilmContext
from serving.graph.layout import adapted_layout

RNG = np.random.default_rng(2)


def test_film_scales_and_shifts_each_channel() -> None:
    layer = FilmContext(2)
    x = RNG.standard_normal((3, 4, 4, 5)).astype("float32")
    np.testing.assert_array_equal(layer(x), x)  # a context of zeros and no offset change nothing
    layer.context.assign([0.5, -1.0])
    layer.offset.assign(np.arange(10) / 10)
    gamma, beta = np.split(np.array([0.5, -1.0]) @ layer.matrix.numpy() + np.arange(10) / 10, 2)
    np.testing.assert_allclose(layer(x), x * (1 + gamma) + beta, rtol=1e-5, atol=1e-6)


def test_joined_numbers_come_beside_the_channels() -> None:
    layer = make_context("join", 2)
    x = RNG.standard_normal((3, 4, 4, 5)).astype("float32")
    layer(x)
    layer.context.assign([3.0, 7.0])
    found = layer(x).numpy()
    np.testing.assert_array_equal(found[..., :5], x)
    np.testing.assert_array_equal(found[..., 5:], np.broadcast_to([3.0, 7.0], (3, 4, 4, 2)))


def learner(kind: str, *, adapts: str = "context", head: str = "fixed") -> MetaLearner:
    keras.utils.set_random_seed(1)
    context = make_context(kind, 6)
    body = (
        mlp((3,), units=(8,), context=context)
        if kind == "join"
        else conv4((8, 8, 1), filters=4, blocks=2, context=context)
    )
    return MetaLearner(body, make_head(head, outputs=3), InnerRates(initial=1.0), InnerLoop(steps=2), adapts=adapts)


def tasks(made: MetaLearner) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
    y = tf.constant([[0, 1, 2, 0, 1, 2]] * 2)
    x = RNG.standard_normal((2, 6, *made.body.input_shape[1:])).astype("float32")
    return (tf.constant(x), y, tf.constant(x + 0.1)), y


@pytest.mark.parametrize("kind", ["film", "join"])
def test_the_context_alone_adapts_from_zero_and_is_not_meta_learned(kind: str) -> None:
    made = learner(kind)
    x, y = tasks(made)
    before, after = made.predict_after(x, [0, 2]).numpy()
    assert np.abs(before - after).max() > 1e-3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.1), loss, run_eagerly=True)
    made.fit(tf.data.Dataset.from_tensors((x, y)).repeat(3), verbose=0)
    (context,) = [variable for variable in made.trainable_variables if variable.name == "context"]
    np.testing.assert_array_equal(context.numpy(), 0)
    context.assign(np.ones(6))
    np.testing.assert_array_equal(made.predict_after(x, [0]), learner_without_context(made, x))


def learner_without_context(made: MetaLearner, x: tuple[tf.Tensor, ...]) -> np.ndarray:
    """What the learner answers once its variable is 0 again."""
    for variable in made.trainable_variables:
        if variable.name == "context":
            variable.assign(np.zeros(6))
    return made.predict_after(x, [0]).numpy()


def test_an_adapted_model_is_some_numbers() -> None:
    """The fingerprint, the context, and the bias of each class, in which classes may be ruled out."""
    layout = adapted_layout(learner("film"))
    assert (layout.fixed, layout.per_class) == (1 + 6, 1)
    assert adapted_layout(learner("film", adapts="head")).per_class > 1


def test_bias_transformation_learns_and_adapts_its_numbers() -> None:
    made = learner("join", adapts="all")
    place = [variable.name for variable in made.body.trainable_variables].index("context")
    assert made.inner_rates.values()[place] is not None
    x, y = tasks(made)
    made.compile(
        keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    made.fit(tf.data.Dataset.from_tensors((x, y)), verbose=0)
    assert np.abs(made.body.trainable_variables[place].numpy()).max() > 0


def test_what_cannot_be_is_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match=r"set network\.context"):
        MetaLearner(mlp((3,), units=(4,)), make_head("fixed", outputs=2), InnerRates(), InnerLoop(), adapts="context")
    with pytest.raises(RecipeError, match="would no longer fit them"):
        learner("film", head="prototype")
    with pytest.raises(RecipeError, match="Unknown context 'add'"):
        make_context("add", 3)
