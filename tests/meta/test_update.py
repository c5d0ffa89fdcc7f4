"""What an update follows: the mean of the tasks' losses with the derivative of each, taken in one loop of one graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import ShapeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Outer, make_rule
from fewshot.models import make_head, mlp

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(3)


def made(head: str = "fixed", rule: str = "gradient", **more: Any) -> MetaLearner:
    inner = {key: more.pop(key) for key in ("steps", "backward") if key in more}
    keras.utils.set_random_seed(2)
    learner = MetaLearner(
        mlp((4,), units=(6, 5)),
        make_head(head, outputs=3),
        InnerRates(initial=0.1, kind="constant"),
        InnerLoop(**{"steps": 2, **inner}),
        rule=make_rule(rule),
        **more,
    )
    learner.compile(keras.optimizers.SGD(0.1), LOSS)
    return learner


def tasks(count: int) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
    labels = tf.constant(np.tile([0, 1, 2, 0, 1, 2], (count, 1)), tf.int32)
    x, queries = (tf.constant(RNG.random((count, 6, 4)), tf.float32) for _ in range(2))
    return (x, labels, queries), labels


def gradient(learner: MetaLearner, inputs: Any, labels: Any) -> list[np.ndarray | None]:
    with tf.GradientTape() as tape:
        loss = learner.compute_loss(inputs, labels, [])
    return tape.gradient(loss, [variable.value for variable in learner.trainable_variables])


def operations(learner: MetaLearner, count: int) -> list[str]:
    """Names of all that the graph of an update computes with."""
    graph = tf.function(learner.train_step, autograph=False).get_concrete_function(tasks(count)).graph.as_graph_def()
    return [node.op for node in graph.node] + [node.op for part in graph.library.function for node in part.node_def]


def test_the_gradient_of_a_meta_batch_is_the_mean_of_its_tasks() -> None:
    learner, (inputs, labels) = made(), tasks(3)
    alone = [
        gradient(learner, tuple(part[one : one + 1] for part in inputs), labels[one : one + 1]) for one in range(3)
    ]
    for together, *each in zip(gradient(learner, inputs, labels), *alone, strict=True):
        np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-4, atol=1e-7)


def test_the_graph_of_an_update_does_not_grow_with_the_tasks_nor_keep_a_loop_s_values() -> None:
    learner = made()
    learner.optimizer.build(learner.trainable_variables)
    few, many = (operations(learner, count) for count in (2, 20))
    assert sorted(few) == sorted(many)
    assert "TensorListPushBack" not in many


def test_annealing_asks_for_no_derivative_of_answers() -> None:
    learner = made(outer=Outer(first_order_updates=2))
    learner.optimizer.build(learner.trainable_variables)
    assert "TensorListPushBack" not in operations(learner, 2)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("parts", [{"rule": "lstm"}, {"head": "cosine"}])
def test_checkpointed_steps_have_the_exact_gradient_of_all_that_a_step_reads(
    parts: dict[str, str], *, graph: bool
) -> None:
    inputs, labels = tasks(2)
    found = []
    for backward in ("exact", "checkpointed"):
        learner = made(**parts, backward=backward)
        once = tf.function(gradient, autograph=False) if graph else gradient
        found.append(once(learner, inputs, labels))
    for variable, exact, again in zip(learner.trainable_variables, *found, strict=True):
        assert exact is not None, variable.path
        np.testing.assert_allclose(again, exact, rtol=1e-4, atol=1e-7, err_msg=variable.path)


def test_a_gradient_that_overflows_leaves_the_loss_as_it_is() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        learner = made()
        inputs, labels = tasks(2)
        first = learner.body.trainable_variables[0]
        first.assign(first * 3000)
        learner.inner = replace(learner.inner, steps=0)
        assert isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer)
        learner.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**40), LOSS)
        loss = float(learner.compute_loss(inputs, labels, []))
        assert np.isfinite(loss)
        history = learner.fit(tf.data.Dataset.from_tensors((inputs, labels)), verbose=0).history
    finally:
        keras.config.set_dtype_policy(policy)
    assert history["loss"][0] == pytest.approx(loss, rel=1e-3)
    assert int(learner.optimizer.inner_optimizer.iterations) == 0, "and the update is left out"


def test_validation_adapts_as_precisely_as_training() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        learner, (inputs, _) = made(), tasks(2)
        np.testing.assert_array_equal(learner(inputs), learner.predict_after(inputs, [2])[0])
        assert learner(inputs).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy(policy)


def test_a_loss_sees_labels_as_they_are() -> None:
    learner, (inputs, labels) = made(), tasks(2)
    soft = tf.one_hot(labels, 3) * 0.6 + 0.4 / 3
    learner.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    expected = learner.compute_loss(inputs, soft, learner(inputs), training=False)
    assert float(learner.compute_loss(inputs, soft, [])) == pytest.approx(float(expected), rel=1e-5)


def test_weights_of_other_tasks_are_refused() -> None:
    learner, (inputs, labels) = made(), tasks(2)
    with pytest.raises(ShapeError, match="same number of tasks"):
        learner.compute_loss((*inputs, tf.ones([3, 6])), labels, [])
    with pytest.raises(ShapeError, match="same number of tasks"):
        learner.compute_loss(inputs, labels, [], tf.ones([1, 6]))
