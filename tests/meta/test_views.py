"""Views of examples: which there are, and that learners adapt to and average over them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner, Support, Views
from fewshot.models import conv4, make_head
from fewshot.training.kinds.losses import LabelledAccuracy, TaskCrossEntropy

FEW = Views(3, rotation=20.0, shift=0.1, fill="constant")


def make(views: Views | None = None) -> MetaLearner:
    keras.utils.set_random_seed(0)
    body = conv4((8, 8, 1), filters=4, blocks=2, normalization="support")
    rates = InnerRates("constant", initial=0.3, steps=2)
    return MetaLearner(body, make_head("prototype"), rates, InnerLoop(steps=2), views=views)


@pytest.fixture
def task() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tasks of three classes with one example each, four queries."""
    rng = np.random.default_rng(1)
    images = rng.uniform(size=(2, 7, 8, 8, 1)).astype(np.float32)
    return images[:, :3], np.tile(np.arange(3, dtype=np.int32), (2, 1)), images[:, 3:]


def test_turns_and_flips_show_all_eight_views_of_a_square() -> None:
    image = np.random.default_rng(0).uniform(size=(5, 5, 2)).astype(np.float32)
    seen = Views(8, turns=True, flips=True).of(tf.constant(image[None])).numpy()
    for k, view in enumerate(seen):
        expected = np.rot90(image, k % 4) if k < 4 else np.rot90(image[:, ::-1], -(k % 4))
        np.testing.assert_allclose(view, expected, atol=1e-5)


def test_the_first_view_is_the_example_and_the_others_differ(task: tuple) -> None:
    images = tf.constant(task[0][0])
    seen = FEW.of(images).numpy().reshape(3, 3, 8, 8, 1)
    np.testing.assert_array_equal(seen[:, 0], images)
    assert all(np.abs(seen[:, k] - images).max() > 0.1 for k in (1, 2))
    np.testing.assert_array_equal(FEW.of(images[1:]).numpy(), seen[1:].reshape(-1, 8, 8, 1))


def test_labels_and_weights_follow_their_example() -> None:
    support = Support(tf.zeros([2, 4, 4, 1]), tf.constant([1, 0]), tf.constant([0.5, 2.0]))
    seen = FEW.of_support(support)
    np.testing.assert_array_equal(seen.y, [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(seen.weight, [0.5, 0.5, 0.5, 2, 2, 2])


@pytest.mark.slow
def test_a_learner_adapts_to_the_views_and_averages_over_those_of_a_query(task: tuple) -> None:
    support_x, support_y, query_x = task
    plain, seeing = make(), make(FEW)
    by_hand = [
        plain.predict_after(
            (FEW.of(support_x[t])[None], np.repeat(support_y[t : t + 1], 3, axis=1), FEW.of(query_x[t])[None]), [0, 2]
        )
        for t in range(2)
    ]
    views = tf.nn.log_softmax(tf.concat(by_hand, axis=1)).numpy().reshape(2, 2, 4, 3, 3)
    np.testing.assert_allclose(seeing.predict_after(task, [0, 2]), views.mean(axis=3), rtol=1e-4, atol=1e-5)
    assert np.abs(tf.nn.log_softmax(plain.predict_after(task, [2])) - seeing.predict_after(task, [2])).max() > 1e-3


@pytest.mark.slow
def test_training_sees_each_example_once(task: tuple) -> None:
    answers: tuple[list[tf.Tensor], ...] = ([], [])
    for learner, seen in zip((make(FEW), make()), answers, strict=True):
        learner.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        learner.compute_loss(task, np.zeros(task[2].shape[:2], "int32"), seen)
    np.testing.assert_array_equal(*(seen[0] for seen in answers))
    np.testing.assert_array_equal(make(Views())(task), make()(task))


def test_a_query_s_answer_does_not_depend_on_the_others(task: tuple) -> None:
    support_x, support_y, query_x = task
    together = make(FEW)(task).numpy()
    alone = make(FEW)((support_x, support_y, query_x[:, 2:3])).numpy()
    np.testing.assert_allclose(together[:, 2:3], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_keras_trains_and_validates_with_views(task: tuple) -> None:
    data = tf.data.Dataset.from_tensors((task, np.zeros((2, 4), np.int32)))
    data = data.unbatch().batch(2)  # the number of tasks is not known to the graph
    learner = make(FEW)
    learner.compile(optimizer="sgd", loss=TaskCrossEntropy(), metrics=[LabelledAccuracy(name="accuracy")])
    history = learner.fit(data, validation_data=data, epochs=2, verbose=0).history
    expected = np.mean(np.argmax(learner.predict_after(task, [2])[0], axis=-1) == 0)
    assert history["val_accuracy"][-1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": 0}, "views.count lies in 1-64, received 0"),
        ({"count": 4}, "nothing differs between the views"),
        ({"count": 4, "rotation": -3.0}, "views.rotation lies in 0-180"),
    ],
)
def test_limits(wrong: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Views(**wrong)


def test_what_has_no_views_is_refused() -> None:
    with pytest.raises(RecipeError, match="images with one label each"):
        FEW.require_fit((8, 8, 1), (8, 8, 4))
    with pytest.raises(RecipeError, match="needs square images, received 8x6"):
        Views(4, turns=True).require_fit((8, 6, 1), (4,))
