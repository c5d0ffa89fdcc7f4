"""Starts that are drawn: the distributions, the bound that is trained, and what several draws answer together."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Outer, Spread, Support, make_rule
from fewshot.models import make_head, mlp

RNG = np.random.default_rng(9)
Y = np.tile(np.array([0, 1, 2, 0, 1, 2], "int32"), (2, 1))
X = (RNG.standard_normal((2, 6, 4)) + Y[..., None]).astype("float32")
QUERIES = X + 0.3 * RNG.standard_normal(X.shape).astype("float32")
TASKS = tuple(tf.constant(part) for part in (X, Y, QUERIES))


def made(spread: Spread | None, head: str = "fixed", **parts: Any) -> MetaLearner:
    keras.utils.set_random_seed(2)
    inner = parts.pop("inner", InnerLoop(steps=2))
    learner = MetaLearner(
        mlp((4,), units=(5,)), make_head(head, outputs=3), InnerRates(initial=0.3), inner, spread=spread, **parts
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    learner.compile(keras.optimizers.Adam(3e-2), loss, metrics=["accuracy"])
    return learner


def built(deviation: float = 0.5) -> Spread:
    spread = Spread(deviation)
    spread.build_for([(40, 1), (3,), (2,)], [True, False, True])
    return spread


def test_draws_have_the_standard_deviation_and_leave_what_does_not_adapt() -> None:
    spread, mean = built(0.5), [tf.ones([40, 100]), tf.ones([3]), tf.zeros([2])]
    first, again, other = (spread.drawn(mean, tf.constant(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], mean[1])
    assert np.abs(first[0] - other[0]).max() > 0.5
    assert np.abs(first[2]).min() > 0
    assert np.std(first[0]) == pytest.approx(0.5, rel=0.05)
    assert np.mean(first[0]) == pytest.approx(1.0, abs=0.05)


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    """Against the mean of log q - log p over draws of q."""
    spread = Spread(0.5)
    spread.build_for([(2,)], [True])
    posterior, prior = np.array([0.2, -0.1]), np.array([-0.3, 0.4])
    drawn = posterior + 0.5 * RNG.standard_normal((100_000, 2))
    log_ratio = (((drawn - prior) ** 2).sum(1) - ((drawn - posterior) ** 2).sum(1)) / (2 * 0.5**2)
    found = float(spread.divergence([tf.constant(posterior)], [tf.constant(prior)]))
    assert found == pytest.approx(log_ratio.mean(), rel=0.02)


def test_the_answer_is_the_mean_probability_of_learners_that_start_at_the_draws() -> None:
    learner = made(Spread(0.2, draws=4))
    spread = learner.spread
    assert spread is not None
    spread.support_rate.assign([0.0])  # the draws are then around the start itself
    together = tf.nn.softmax(learner(TASKS)).numpy()
    alone = made(None)
    assert alone.head is not None
    names = [*alone.body.trainable_variables, *alone.head.trainable_variables]
    values = [variable.numpy() for variable in names]
    answers = []
    for draw in range(4):
        start = spread.drawn([tf.constant(value) for value in values], tf.constant(draw))
        for variable, value in zip(names, start, strict=True):
            variable.assign(value)
        answers.append(tf.nn.softmax(alone(TASKS)).numpy())
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    np.testing.assert_allclose(together, np.mean(answers, axis=0), rtol=1e-4, atol=1e-5)


def test_training_sees_the_labels_of_queries_and_lowers_its_bound() -> None:
    learner = made(Spread(0.05))
    tasks = tf.data.Dataset.from_tensors((TASKS, Y))
    history = learner.fit(tasks.repeat(60), epochs=3, steps_per_epoch=20, validation_data=tasks, verbose=0).history
    assert set(history) == {"loss", "val_loss", "val_accuracy"}  # training shows its bound alone
    assert history["loss"][-1] < history["loss"][0]
    assert history["val_loss"][-1] < history["val_loss"][0]
    spread = learner.spread
    assert spread is not None
    assert all(np.abs(log - np.log(0.05)).max() > 1e-3 for log in spread.log_spread), "every deviation is learned"


def test_the_bound_is_the_loss_of_one_draw_and_the_divergence_a_label() -> None:
    learner = made(Spread(0.1))
    spread, start = learner.spread, learner.start()
    assert spread is not None
    spread.query_rate.assign([0.5])
    losses = []
    for task in range(2):
        support, queries = (learner.seen_support(s, learner.views) for s in supports(task))
        logits, divergence, _ = learner.bound_of_task(start, support, queries, 3, tf.constant(task))
        loss = keras.losses.sparse_categorical_crossentropy(Y[task], logits, from_logits=True)
        losses.append(tf.reduce_mean(loss) + divergence / 6)
        assert divergence > 0
    assert float(learner.compute_loss(TASKS, Y, [])) == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_weights_and_tasks_of_unequal_labels_count_in_the_bound() -> None:
    learner = made(Spread(0.1), "prototype")
    assert learner.spread is not None
    learner.spread.query_rate.assign([0.5])
    whole = float(learner.compute_loss(TASKS, Y, []))
    weighted = float(learner.compute_loss((*TASKS, tf.constant([[1.0, 1, 1, 0, 1, 2]] * 2)), Y, []))
    assert abs(weighted - whole) > 1e-4
    few = np.stack([Y[0], np.where(np.arange(6) < 2, Y[1], -1)])  # of the second task, two labels count
    learner.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))
    bounds = []
    for task, counted in enumerate((6, 2)):
        support, queries = (learner.seen_support(s, learner.views) for s in supports(task))
        queries = Support(queries.x, tf.constant(few[task]))
        logits, divergence, _ = learner.bound_of_task(learner.start(), support, queries, 3, tf.constant(task))
        loss = keras.losses.sparse_categorical_crossentropy(Y[task, :counted], logits[:counted], from_logits=True)
        bounds.append(tf.reduce_mean(loss) + divergence / counted)
    assert float(learner.compute_loss(TASKS, few, [])) == pytest.approx(float(np.mean(bounds)), rel=1e-4)


def test_labels_that_the_support_rules_out_do_not_pull_the_posterior() -> None:
    learner = made(Spread(0.1), "prototype")
    start = learner.start()
    support = Support(TASKS[0][0], tf.minimum(TASKS[1][0], 1))  # shows classes 0 and 1 of three
    one, other = (
        learner.bound_of_task(start, support, Support(TASKS[2][0], tf.constant(y)), 3, tf.constant(0))[1]
        for y in ([0, 1, 2, 0, 1, 2], [0, 1, -1, 0, 1, -1])
    )
    np.testing.assert_allclose(one, other)


def supports(task: int) -> tuple[Support, Support]:
    return Support(TASKS[0][task], TASKS[1][task]), Support(TASKS[2][task], TASKS[1][task])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"head": "matching", "inner": InnerLoop(steps=0)}, "nothing adapts beside a head that reads"),
        ({"rule": make_rule("adam")}, "other than 'gradient' begins with a memory"),
        ({"inner": InnerLoop(steps=2, loss="squared_error")}, "it is for classes"),
        ({"outer": Outer("reptile")}, "Reptile moves one start"),
        ({"inner": InnerLoop(steps=0)}, "no inner step follows"),
        ({"vary_steps": True}, "training looks at the last step alone"),
        ({"outer": Outer(fading=10)}, "training looks at the last step alone"),
    ],
)
def test_what_has_one_start_is_refused_beside_a_spread(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        made(Spread(0.1), **parts)


@pytest.mark.parametrize(("initial", "draws"), [(0.0, 5), (-0.1, 5), (0.1, 0), (0.1, 65)])
def test_a_spread_without_extent_or_draws_is_refused(initial: float, draws: int) -> None:
    with pytest.raises(RecipeError, match="above 0 and drawn 1 to 64 times"):
        Spread(initial, draws=draws)
