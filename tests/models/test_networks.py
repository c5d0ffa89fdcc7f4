"""Networks: shapes, sizes and kind refusals."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fewshot.errors import RecipeError
from fewshot.models import conv4, make_head, mlp, resnet12
from fewshot.training.build import reads_any_size


@pytest.mark.parametrize(
    ("options", "features"),
    [
        ({}, 64),
        ({"downsample": "stride"}, 256),
        ({"readout": "average", "blocks": 2}, 64),
        ({"readout": "depths", "blocks": 3}, 194),
        ({"blocks": 2}, 3136),
        ({"filters": (2, 3, 4, 5)}, 5),
        ({"filters": [2, 3], "blocks": 2, "readout": "depths"}, 7),
    ],
)
def test_conv4_features(options: dict, features: int) -> None:
    assert conv4((28, 28, 1), **options).output_shape == (None, features)


def test_depths_end_in_the_average_of_the_last_block() -> None:
    network = conv4((16, 16, 2), filters=4, blocks=2, readout="depths", normalization="none")
    last = keras.Model(network.inputs, network.get_layer("relu2").output)
    pictures = np.random.default_rng(0).random((3, 16, 16, 2)).astype(np.float32)
    features = np.asarray(network(pictures))
    np.testing.assert_allclose(features[:, :2], pictures.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(features[:, 2:4], pictures.std(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(features[:, 8:], np.asarray(last(pictures)).mean(axis=(1, 2)), rtol=1e-5)
    assert reads_any_size(network)


def test_conv4_has_the_papers_parameters() -> None:
    """Four 3x3 convolutions of 64 filters with biases: 111,424 numbers besides normalisation (Finn 2017)."""
    assert conv4((28, 28, 1), normalization="none").count_params() == 9 * 64 + 3 * 9 * 64 * 64 + 4 * 64


def test_mlp_and_resnet12() -> None:
    assert mlp((28, 28, 1), units=(256, 128, 64, 64), normalization="batch").output_shape == (None, 64)
    assert mlp((1,), units=(40, 40)).count_params() == 40 + 40 + 40 * 40 + 40
    assert resnet12((32, 32, 3)).output_shape == (None, 512)


def test_images_too_small_are_refused() -> None:
    with pytest.raises(RecipeError, match="at least 16 pixels; received 8x8"):
        conv4((8, 8, 1))
    with pytest.raises(RecipeError, match="at least 8 pixels; received 4x4"):
        resnet12((4, 4, 3))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(RecipeError, match="downsample 'pool' or 'stride'"):
        conv4((28, 28, 1), downsample="skip")
    for filters in ((8, 8, 8), (8, 8, 0, 8), ()):
        with pytest.raises(RecipeError, match="one of 1 or more for each of its 4 blocks"):
            conv4((28, 28, 1), filters=filters)
    with pytest.raises(RecipeError, match="Unknown head 'nearest'"):
        make_head("nearest")
    with pytest.raises(RecipeError, match="needs the number of classes"):
        make_head("fixed")
