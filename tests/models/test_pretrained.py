"""Pretrained Keras models as networks: what is frozen stays so, what would be wrong is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fewshot.errors import DataNotFoundError, RecipeError
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import Constant, hidden_variables, make_head, make_normalization
from fewshot.models.enlarge import BilinearEnlargement
from fewshot.models.loading import load_application, load_file, scaling_of
from fewshot.models.pretrained import Showing, depths_of, picture_features, pixel_features

PLAIN = Showing((0, 1, 2), np.eye(3), np.zeros(3))


def small_model(*extra: keras.layers.Layer) -> keras.Model:
    """Two convolutions with batch normalisation whose statistics are those of other pictures."""
    x = inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.9)(keras.layers.ReLU(name="shallow")(x))
    for layer in extra:
        x = layer(x)
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same", name="deep")(x)
    model = keras.Model(inputs, x, name="small")
    model.get_layer("norm").moving_mean.assign([0.5, -0.5, 0.2, 0.0])
    return model


def pictures(n: int = 3, side: int = 8, bands: int = 3) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).random((n, side, side, bands)), tf.float32)


def test_features_are_the_averages_of_the_depths_each_of_one_length() -> None:
    model = depths_of(small_model(), ["shallow", "deep"])
    features = picture_features((8, 8, 3), model, PLAIN)(pictures()).numpy()
    means = [depth.numpy().mean(axis=(1, 2)) for depth in model(pictures(), training=False)]
    wanted = [m / np.linalg.norm(m, axis=1, keepdims=True) * np.sqrt(m.shape[1]) for m in means]
    # A small number in the root, and weights drawn anew: the last digits differ.
    np.testing.assert_allclose(features, np.concatenate(wanted, axis=1), rtol=1e-3)


def test_a_mirrored_picture_has_the_same_features_where_mirrors_are_averaged() -> None:
    network = picture_features((8, 8, 3), small_model(), replace(PLAIN, mirror=True))
    np.testing.assert_allclose(network(pictures()), network(pictures()[:, :, ::-1]), rtol=1e-4)


def test_the_pass_over_a_support_set_neither_uses_nor_changes_batch_statistics() -> None:
    for trains in (False, True):
        network = picture_features((8, 8, 3), small_model(), replace(PLAIN, trains=trains))
        before = [variable.numpy() for variable in hidden_variables(network)]
        together = network(pictures(), training=True)
        alone = network(pictures()[:1], training=True)
        np.testing.assert_allclose(together[:1], alone, rtol=1e-5)
        for old, variable in zip(before, hidden_variables(network), strict=True):
            np.testing.assert_array_equal(old, variable.numpy())


def test_what_is_frozen_is_neither_parameter_nor_state() -> None:
    frozen = picture_features((8, 8, 3), small_model(), PLAIN)
    trained = picture_features((8, 8, 3), small_model(), replace(PLAIN, trains=True, learned=True))
    assert frozen.trainable_variables == []
    assert len(hidden_variables(frozen)) == len(small_model().weights)
    assert len(trained.trainable_variables) == 2 + len(small_model().trainable_variables)
    assert trained.non_trainable_variables == []


def test_more_bands_come_in_through_a_layer_that_begins_as_the_way_of_three() -> None:
    three, four = pictures(bands=3), pictures(bands=3)
    four = tf.concat([four[..., ::-1], tf.ones_like(four[..., :1])], axis=-1)  # blue, green, red and another
    model = small_model()
    plain = picture_features((8, 8, 3), model, PLAIN)
    wide = picture_features((8, 8, 4), model, replace(PLAIN, rgb=(2, 1, 0), learned=True))
    np.testing.assert_allclose(plain(three), wide(four), rtol=1e-5)
    assert [tuple(variable.shape) for variable in wide.trainable_variables] == [(1, 1, 4, 3), (3,)]


def test_a_grey_picture_is_shown_as_red_green_and_blue_alike() -> None:
    model, grey = small_model(), pictures(bands=1)
    found = picture_features((8, 8, 1), model, replace(PLAIN, rgb=(0, 0, 0)))(grey)
    wanted = picture_features((8, 8, 3), model, PLAIN)(tf.repeat(grey, 3, axis=-1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_pixels_have_features_of_their_own_in_pictures_of_any_size() -> None:
    model = depths_of(small_model(), ["shallow", "deep"])
    network = pixel_features((8, 8, 3), model, PLAIN, filters=6, normalization="group")
    assert network.output_shape == (None, 8, 8, 6)
    any_size = tf.function(network).get_concrete_function(tf.TensorSpec([None, None, None, 3]))
    assert any_size(pictures(side=11)).shape == (3, 11, 11, 6)
    with pytest.raises(RecipeError, match="mirror = false"):
        pixel_features((8, 8, 3), model, replace(PLAIN, mirror=True), filters=6, normalization="group")


def test_pictures_of_any_size_are_brought_to_one() -> None:
    layer = BilinearEnlargement(sides=(12, 12))
    np.testing.assert_allclose(layer(pictures(side=6)), tf.image.resize(pictures(side=6), [12, 12]), atol=1e-6)
    smaller = tf.image.resize(pictures(side=24), [12, 12], antialias=True)
    np.testing.assert_allclose(layer(pictures(side=24)), smaller, atol=1e-5)


def test_layers_that_take_statistics_of_a_batch_are_refused() -> None:
    with pytest.raises(RecipeError, match="'cheat' of 'small' normalises with the statistics of whatever pictures"):
        depths_of(small_model(make_normalization("batch", "cheat")), ["deep"])


def test_inexact_second_derivatives_are_refused_and_first_ones_are_not() -> None:
    model = small_model(keras.layers.LayerNormalization(name="layer_norm"))

    def learner(adapts: str, backward: str = "exact") -> MetaLearner:
        body = picture_features((8, 8, 3), model, replace(PLAIN, trains=True))
        inner = InnerLoop(steps=1, backward=backward)
        return MetaLearner(body, make_head("shared"), InnerRates(), inner, adapts=adapts)

    with pytest.raises(RecipeError, match="through 'layer_norm' of the pretrained model"):
        learner("all")
    assert learner("head").trainable_variables
    assert learner("all", "first_order").trainable_variables


def test_a_frozen_part_is_seen_once_and_its_learner_saves_what_trains() -> None:
    frozen = Constant(picture_features((8, 8, 3), small_model(), PLAIN))
    body = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    learner = MetaLearner(body, make_head("prototype"), InnerRates(), InnerLoop(steps=2), frozen=frozen)
    inputs = (pictures(4)[None], tf.constant([[0, 0, 1, 1]]), pictures(3)[None])
    beside = MetaLearner(body, make_head("prototype"), InnerRates(), InnerLoop(steps=2))
    seen = (frozen(inputs[0][0])[None], inputs[1], frozen(inputs[2][0])[None])
    np.testing.assert_allclose(learner(inputs), beside(seen), rtol=1e-5)
    assert len(learner.trainable_variables) == 3
    assert len(learner.constants()) == len(frozen.model.weights) + len(small_model().weights)


def test_unknown_layers_files_and_applications_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"expected layers of 'small'.*it has .*shallow"):
        depths_of(small_model(), ["shalow"])
    with pytest.raises(DataNotFoundError, match="there is no such file"):
        load_file(tmp_path / "none.keras")
    (tmp_path / "broken.keras").write_text("no model")
    with pytest.raises(RecipeError, match="cannot be loaded"):
        load_file(tmp_path / "broken.keras")
    with pytest.raises(RecipeError, match=r"keras.applications has .*MobileNetV2"):
        load_application("MobileNetV9", "imagenet")


def test_a_failed_download_says_what_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: object) -> None:
        raise Exception("URL fetch failure on https://weights.invalid: None")  # noqa: TRY002  as Keras raises it

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(DataNotFoundError, match=r"'imagenet' of MobileNetV2 .*URL fetch failure.*Go online once"):
        load_application("MobileNetV2", "imagenet")


def test_an_application_has_its_own_scaling() -> None:
    model = load_application("MobileNetV2", "", size=32)
    assert model.output_shape == (None, 1, 1, 1280)
    for name, black, red in (("MobileNetV2", -1.0, 1.0), ("EfficientNetB0", 0.0, 255.0)):
        matrix, offset = scaling_of("own", name)
        assert offset[0] == pytest.approx(black)
        assert (matrix @ [1, 0, 0] + offset)[0] == pytest.approx(red)
    matrix, offset = scaling_of("own", "ResNet50")  # takes blue, green, red, less ImageNet's mean
    np.testing.assert_allclose(matrix @ [1, 0, 0] + offset, [-103.939, -116.779, 255 - 123.68], rtol=1e-5)
