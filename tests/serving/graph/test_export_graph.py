"""The exported graph: the learner's own answers, refusals in place of wrong ones, and nothing a server cannot run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fewshot.exported.predictor import LocalPredictor
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_head, unet
from serving.graph.contract import describe_signatures
from serving.graph.description import describe_size
from serving.graph.layout import adapted_layout
from serving.graph.signatures import make_module

Signatures = Any


@pytest.fixture(scope="module")
def signatures(local: LocalPredictor) -> Signatures:
    return local._model.signatures


@pytest.fixture(scope="module")
def picture_signatures(local_pictures: LocalPredictor) -> Signatures:
    return local_pictures._model.signatures


def run(signature: Callable[..., dict[str, tf.Tensor]], **inputs: Any) -> dict[str, Any]:
    return {key: value.numpy() for key, value in signature(**{k: tf.constant(v) for k, v in inputs.items()}).items()}


def request(task: tuple[np.ndarray, ...], steps: int = 2) -> dict[str, Any]:
    return {"support_x": task[0], "support_y": task[1], "query_x": task[2], "steps": np.int32(steps)}


@pytest.mark.parametrize(
    ("shots", "steps"), [((2, 2, 2, 2), 2), ((1, 3), 0), ((1, 2, 5), 1), ((2, 1, 1, 1, 4), 2), ((3, 1, 2), 13)]
)
def test_answers_are_the_learners_own(trained: Any, signatures: Signatures, shots: Any, steps: int) -> None:
    task = trained.task(shots, seed=steps)
    answer = run(signatures["adapt_and_predict"], **request(task, steps))
    expected = trained.probabilities(*task, steps=steps)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(answer["class_index"], expected.argmax(axis=-1))
    np.testing.assert_allclose(answer["probabilities"].sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_fixed_head_answers_with_its_own_classes_at_any_size(pictures: Any, picture_signatures: Signatures) -> None:
    support_x, _, query_x = pictures.task((2, 2))
    labels = np.array([0, 0, 2, 2], np.int32)  # the second class is not shown, and so ruled out
    answer = run(picture_signatures["adapt_and_predict"], **request((support_x, labels, query_x)))
    np.testing.assert_allclose(
        answer["probabilities"], pictures.probabilities(support_x, labels, query_x, steps=2), atol=1e-5
    )
    assert answer["probabilities"].shape == (5, 3)
    assert answer["probabilities"][:, 1].max() == 0
    larger = np.random.default_rng(0).integers(0, 256, (3, 20, 25, 3)).astype(np.float32)
    answer = run(picture_signatures["adapt_and_predict"], **request((support_x, labels, larger)))
    np.testing.assert_allclose(
        answer["probabilities"], pictures.probabilities(support_x, labels, larger, steps=2), atol=1e-5
    )


def test_adapting_once_and_predicting_is_the_same(trained: Any, signatures: Signatures) -> None:
    task = request(trained.task((1, 2, 3)))
    whole = run(signatures["adapt_and_predict"], **task)
    query_x = task.pop("query_x")
    adapted = run(signatures["adapt"], **task)
    assert adapted["classes"] == 3
    assert adapted["adapted"].dtype == np.float32
    layout = trained.card.adapted
    assert adapted["adapted"].shape == (layout.fixed + 3 * layout.per_class,)
    parts = run(signatures["predict"], adapted=adapted["adapted"], query_x=query_x)
    for key in ("probabilities", "class_index"):
        np.testing.assert_array_equal(parts[key], whole[key])
    np.testing.assert_array_equal(adapted["support_loss"], whole["support_loss"])


def test_the_support_loss_is_that_before_and_after(trained: Any, signatures: Signatures) -> None:
    task = trained.task((2, 2, 2))
    losses = [run(signatures["adapt_and_predict"], **request(task, steps))["support_loss"] for steps in (0, 1, 2)]
    assert losses[0][0] == losses[0][1]
    np.testing.assert_allclose([loss[0] for loss in losses], losses[0][0], rtol=1e-5)
    assert losses[0][1] > losses[1][1] > losses[2][1]
    logits = trained.logits(*task[:2], task[0], steps=0)
    chosen = logits[np.arange(6), task[1]] - np.log(np.exp(logits).sum(axis=-1))
    np.testing.assert_allclose(losses[0][0], -chosen.mean(), rtol=1e-4)


def test_an_answer_does_not_depend_on_the_other_queries(trained: Any, signatures: Signatures) -> None:
    task = request(trained.task(queries=6))
    together = run(signatures["adapt_and_predict"], **task)["probabilities"]
    order = [3, 1, 5]
    some = run(signatures["adapt_and_predict"], **{**task, "query_x": task["query_x"][order]})["probabilities"]
    np.testing.assert_allclose(some, together[order], atol=1e-6)
    strange = np.concatenate([task["query_x"][:1], 1e3 * np.ones_like(task["query_x"])])
    beside = run(signatures["adapt_and_predict"], **{**task, "query_x": strange})["probabilities"]
    np.testing.assert_allclose(beside[0], together[0], atol=1e-6)


def test_classes_may_come_in_any_order(trained: Any, signatures: Signatures) -> None:
    support_x, labels, query_x = trained.task((2, 1, 3))
    plain = run(signatures["adapt_and_predict"], **request((support_x, labels, query_x)))["probabilities"]
    swapped = np.array([2, 0, 1], np.int32)
    other = run(signatures["adapt_and_predict"], **request((support_x, swapped[labels], query_x)))["probabilities"]
    np.testing.assert_allclose(other[:, swapped], plain, atol=1e-5)


def test_weights_and_ignored_labels_are_the_learners(trained: Any, signatures: Signatures) -> None:
    support_x, labels, query_x = trained.task((2, 2, 2))
    weight = np.array([1, 0, 2, 0.5, 1, 1], np.float32)
    answer = run(
        signatures["adapt_and_predict_weighted"], **request((support_x, labels, query_x)), support_weight=weight
    )
    expected = trained.probabilities(support_x, labels, query_x, weight, steps=2)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    plain = trained.probabilities(support_x, labels, query_x, steps=2)
    assert np.abs(expected - plain).max() > 1e-3
    adapted = run(
        signatures["adapt_weighted"],
        support_x=support_x,
        support_y=labels,
        support_weight=weight,
        steps=np.int32(2),
    )
    parts = run(signatures["predict"], adapted=adapted["adapted"], query_x=query_x)
    np.testing.assert_array_equal(parts["probabilities"], answer["probabilities"])
    labels = np.array([0, -1, 1, 1, 2, 2], np.int32)
    answer = run(signatures["adapt_and_predict"], **request((support_x, labels, query_x)))
    expected = trained.probabilities(support_x, labels, query_x, steps=2)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)


def test_encoded_pictures_answer_as_numbers_do(pictures: Any, picture_signatures: Signatures) -> None:
    task = request(pictures.task((2, 2, 1)))
    plain = run(picture_signatures["adapt_and_predict"], **task)
    files = {
        key: np.array([tf.io.encode_png(picture.astype(np.uint8)).numpy() for picture in task[f"{key}_x"]], object)
        for key in ("support", "query")
    }
    encoded = run(
        picture_signatures["adapt_and_predict_encoded"],
        support_bytes=files["support"],
        query_bytes=files["query"],
        support_y=task["support_y"],
        steps=task["steps"],
    )
    np.testing.assert_array_equal(encoded["probabilities"], plain["probabilities"])


def test_the_unadapted_model_is_the_start_with_statistics_of_training(
    pictures: Any, picture_signatures: Signatures
) -> None:
    query_x = pictures.task()[2]
    answer = run(picture_signatures["predict_base"], query_x=query_x)["probabilities"]
    assert answer.shape == (5, 3)
    assert answer.min() > 0  # no class is ruled out
    body, head = pictures.learner.body, pictures.learner.head
    start = pictures.learner.start()
    images = pictures.regions.store.read(pictures.regions.regions[0].images)
    _, state = body.stateless_call(start.body, start.state, images, training=True)
    features, _ = body.stateless_call(start.body, state, query_x / np.float32(255), training=False)
    expected = tf.nn.softmax(features @ head.kernel + head.bias)
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    alone = run(picture_signatures["predict_base"], query_x=query_x[2:3])["probabilities"]
    np.testing.assert_allclose(alone[0], answer[2], atol=1e-6)


def test_features_are_what_the_last_layer_is_applied_to(trained: Any, signatures: Signatures) -> None:
    support_x, labels, query_x = trained.task((1, 2, 3))
    adapted = run(signatures["adapt"], support_x=support_x, support_y=labels, steps=np.int32(2))["adapted"]
    features = run(signatures["features"], adapted=adapted, query_x=query_x)["features"]
    layout = trained.card.adapted
    assert features.shape == (5, layout.per_class - 1)
    kernel, bias = np.split(adapted[layout.fixed :], [-3])
    answer = run(signatures["predict"], adapted=adapted, query_x=query_x)
    expected = tf.nn.softmax(features @ kernel.reshape(-1, 3) + bias)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="adapted was made by another model"):
        run(signatures["features"], adapted=adapted + 1, query_x=query_x)


def test_features_of_the_start_are_by_statistics_of_the_pictures_sent(trained: Any, signatures: Signatures) -> None:
    query_x = trained.task()[2]
    start, body = trained.learner.start(), trained.learner.body
    expected, _ = body.stateless_call(start.body, start.state, query_x * trained.scale, training=True)
    found = run(signatures["features_start"], query_x=query_x)["features"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    unadapted = run(signatures["adapt"], support_x=query_x, support_y=np.array([0, 1, 0, 1, 0], np.int32), steps=0)
    same = run(signatures["features"], adapted=unadapted["adapted"], query_x=query_x)["features"]
    np.testing.assert_allclose(same, found, atol=1e-4)


def test_the_card_comes_over_the_graph(trained: Any, signatures: Signatures) -> None:
    text = run(signatures["card"], document=b"card.json")["json"].decode()
    assert text == (trained.folder / "assets.extra" / "card.json").read_text(encoding="utf-8").rstrip("\n")
    with pytest.raises(tf.errors.InvalidArgumentError, match="document is card.json"):
        run(signatures["card"], document=b"passwd")


WRONG: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "empty support": (lambda r: {"support_x": r["support_x"][:0], "support_y": r["support_y"][:0]}, "no picture"),
    "lengths": (lambda r: {"support_y": r["support_y"][:4]}, r"shape \[4\], support_x asks for \[6\]"),
    "label too low": (lambda r: {"support_y": r["support_y"] - 2}, "labels from -2 to 0; .* 0 to 99"),
    "label too high": (lambda r: {"support_y": r["support_y"] + 98}, "labels from 98 to 100; .* 0 to 99"),
    "all ignored": (lambda r: {"support_y": np.full(6, -1, np.int32)}, "every label as ignored"),
    "one class": (lambda r: {"support_y": np.zeros(6, np.int32)}, "one class alone"),
    "labels of pixels": (lambda r: {"support_y": r["support_y"][:, None]}, "one label a picture.*2 axes"),
    "nan": (
        lambda r: {"support_x": np.where(r["support_x"] == r["support_x"][0, 0, 0, 0], np.nan, r["support_x"])},
        "not a number",
    ),
    "infinite query": (lambda r: {"query_x": r["query_x"] + np.float32(np.inf)}, "query_x holds values"),
    "bands": (lambda r: {"support_x": r["support_x"][..., :3]}, "3 bands; the model reads 4"),
    "size": (lambda r: {"query_x": r["query_x"][:, :15]}, "15x16 pixels; the model reads 16x16"),
    "one picture, no axis": (lambda r: {"query_x": r["query_x"][0]}, "3 axes, expected 4"),
    "no query": (lambda r: {"query_x": r["query_x"][:0]}, "query_x holds no picture"),
    "negative steps": (lambda r: {"steps": np.int32(-2)}, "steps is -2; the model takes 0 to 50"),
    "too many steps": (lambda r: {"steps": np.int32(51)}, "steps is 51"),
    "list of steps": (lambda r: {"steps": np.array([1, 2], np.int32)}, "one whole number; received 1 axes"),
    "too many examples": (
        lambda r: {"support_x": np.zeros([513, 16, 16, 4], np.float32), "support_y": np.zeros(513, np.int32)},
        "513 pictures; the model takes at most 512",
    ),
    "too many queries": (lambda r: {"query_x": np.zeros([4097, 16, 16, 4], np.float32)}, "4097 pictures"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_requests_are_refused_with_a_sentence(trained: Any, signatures: Signatures, name: str) -> None:
    good = request(trained.task())
    change, sentence = WRONG[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"assertion failed: .*{sentence}"):
        run(signatures["adapt_and_predict"], **{**good, **change(good)})


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (np.ones(5, np.float32), "5 numbers and support_x 6 pictures"),
        (-np.ones(6, np.float32), "negative"),
        (np.full(6, np.nan, np.float32), "not a number"),
        (np.zeros(6, np.float32), "0 for every labelled picture"),
        (np.ones([6, 1], np.float32), "2 axes"),
    ],
)
def test_wrong_weights_are_refused(trained: Any, signatures: Signatures, weight: np.ndarray, sentence: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"assertion failed: .*{sentence}"):
        run(signatures["adapt_and_predict_weighted"], **request(trained.task()), support_weight=weight)


def test_vectors_of_others_are_refused(trained: Any, signatures: Signatures) -> None:
    task = request(trained.task())
    query_x = task.pop("query_x")
    good = run(signatures["adapt"], **task)["adapted"]
    broken = good.copy()
    broken[5] = np.nan
    foreign = good.copy()
    foreign[0] += 1
    for vector, sentence in (
        (good[:-1], "a vector of this model has"),
        (good[: trained.card.adapted.fixed + trained.card.adapted.per_class], "2 to 100 classes"),
        (good[None], "2 axes"),
        (foreign, "another model or another version"),
        (broken, "not a number"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"assertion failed: .*{sentence}"):
            run(signatures["predict"], adapted=vector, query_x=query_x)


def test_wrong_files_and_sizes_are_refused(pictures: Any, picture_signatures: Signatures) -> None:
    task = request(pictures.task((2, 2)))
    good = [tf.io.encode_png(picture.astype(np.uint8)).numpy() for picture in task["support_x"]]
    smaller = [tf.io.encode_png(picture[:10].astype(np.uint8)).numpy() for picture in task["support_x"]]
    for files, sentence in (
        ([], "support_bytes holds no picture"),
        ([*good[:3], smaller[0]], r"of \[16 16\] and of \[10 16\] rows and columns"),
        ([b"no picture"] * 4, "holds a file that is neither PNG nor JPEG"),
        ([good[0][:60], *good[1:]], "Invalid PNG"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
            run(
                picture_signatures["adapt_and_predict_encoded"],
                support_bytes=np.array(files, object),
                query_bytes=np.array(good, object),
                support_y=task["support_y"],
                steps=task["steps"],
            )
    for shape in ((2, 3, 16, 3), (2, 16, 257, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="model reads 4 to 256 rows and columns"):
            run(picture_signatures["predict_base"], query_x=np.zeros(shape, np.float32))


def test_a_diverging_adaptation_is_refused(trained: Any) -> None:
    learner = MetaLearner(
        conv4((16, 16, 4), filters=4, blocks=2, normalization="support"),
        make_head("shared"),
        InnerRates("constant", initial=3e38),
        InnerLoop(),
    )
    wanted = {name: trained.card.signatures[name] for name in ("adapt_and_predict",)}
    card = replace(trained.card, adapted=adapted_layout(learner), signatures=wanted)
    module, signatures = make_module(learner, card, None)
    support_x, labels, query_x = trained.task()
    conflicting = np.concatenate([support_x, support_x]), np.concatenate([labels, labels[::-1]]), query_x
    with pytest.raises(tf.errors.InvalidArgumentError, match="Adaptation diverged: .* after [0-9] of 9 steps"):
        run(signatures["adapt_and_predict"], **request(conflicting, 9))
    del module  # owns the variables until here


@pytest.mark.slow
def test_a_network_of_pixels_adapts_to_labels_of_pixels(trained: Any) -> None:
    learner = MetaLearner(
        unet((16, 16, 4), filters=(4, 6), normalization="support"),
        make_head("prototype"),
        InnerRates("constant", initial=0.1),
        InnerLoop(steps=2),
    )
    size = describe_size(learner.body, (16, 16, 4))
    assert (size.free, size.smallest, size.multiple_of) == (True, 2, 2)
    bands = tuple(replace(band, scale=1.0) for band in trained.card.bands)
    card = replace(trained.card, adapted=adapted_layout(learner), output="pixel", size=size, bands=bands)
    card = replace(card, signatures=describe_signatures(card, base=False))
    module, signatures = make_module(learner, card, None)
    rng = np.random.default_rng(0)
    support_x = rng.uniform(0, 1, (3, 16, 16, 4)).astype(np.float32)
    labels = rng.integers(-1, 3, (3, 16, 16)).astype(np.int32)
    query_x = rng.uniform(0, 1, (2, 20, 14, 4)).astype(np.float32)
    weight = np.array([1, 2, 0], np.float32)
    for extra, name in (({}, "adapt_and_predict"), ({"support_weight": weight}, "adapt_and_predict_weighted")):
        answer = run(signatures[name], **request((support_x, labels, query_x)), **extra)
        parts = [value[None, :, None, None] + np.zeros([1, 3, 16, 16], np.float32) for value in extra.values()]
        logits = learner.predict_after((support_x[None], labels[None], query_x[None], *parts), [2])[0, 0]
        np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(logits), atol=1e-5)
        assert answer["probabilities"].shape == (2, 20, 14, 3)
        assert answer["class_index"].shape == (2, 20, 14)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of shape \[3 16 15\], support_x asks for \[3 16 16\]"):
        run(signatures["adapt_and_predict"], **request((support_x, labels[:, :, :15], query_x)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="15x14 pixels; .* a multiple of 2"):
        run(signatures["adapt_and_predict"], **request((support_x, labels, query_x[:, :15])))
    del module
