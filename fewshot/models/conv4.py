"""Conv-4, the field's small convolutional network (Vinyals et al. 2016; Finn et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.models.normalization import make_normalization


def conv4(  # noqa: PLR0913  what the network is made of
    input_shape: Sequence[int],
    *,
    filters: int | Sequence[int] = 64,
    blocks: int = 4,
    normalization: str = "batch",
    downsample: str = "pool",
    readout: str = "flatten",
    context: keras.layers.Layer | None = None,
) -> keras.Model:
    """Build blocks of 3x3 convolution, normalisation, ReLU and halving, ending in a feature vector.

    Convolutions have no bias where a normalisation would take it away again.

    Args:
        input_shape: (H, W, bands) in pixels.
        filters: Filters of every convolution, or of each in turn.
        blocks: Number of blocks; each halves height and width.
        normalization: A kind of `fewshot.models.normalization`.
        downsample: `pool`, 2x2 max-pooling after the ReLU; or `stride`, convolutions of stride 2.
        readout: `flatten`, every remaining pixel; `average`, the mean over them; or `depths`, the means over the pixels
            of every block and the bands' own means and deviations, joined and normalised: colours and textures beside
            what is made of them.
        context: A layer after the last block but one, one of `fewshot.models.context`.

    Returns:
        A model from [n, H, W, bands] to features [n, F].

    Raises:
        RecipeError: if an option is unknown, filters and blocks differ in number, or the image is too small.
    """
    if downsample not in ("pool", "stride") or readout not in ("flatten", "average", "depths"):
        raise RecipeError(
            f"conv4 expects downsample 'pool' or 'stride' and readout 'flatten', 'average' or 'depths'; "
            f"received {downsample!r} and {readout!r}."
        )
    if downsample == "pool" and min(input_shape[:2]) < 2**blocks:
        raise RecipeError(
            f"conv4 with {blocks} pooling blocks needs images of at least {2**blocks} pixels; "
            f"received {input_shape[0]}x{input_shape[1]}. Use fewer blocks or larger images."
        )
    widths = (filters,) * blocks if isinstance(filters, int) else tuple(filters)
    if len(widths) != blocks or min(widths, default=0) < 1:
        raise RecipeError(
            f"conv4 expects filters as one number, or one of 1 or more for each of its {blocks} blocks; received "
            f"{list(widths)}. Set network.filters or network.blocks."
        )
    x = inputs = keras.Input(tuple(input_shape), name="images")
    means = [keras.layers.GlobalAveragePooling2D(name="mean0")(x), Deviation(name="deviation")(x)]
    for block, width in enumerate(widths, start=1):
        strides, pool = (2, 1) if downsample == "stride" else (1, 2)
        x = keras.layers.Conv2D(
            width, 3, strides, padding="same", use_bias=normalization == "none", name=f"conv{block}"
        )(x)
        # Maximum and ReLU commute; pooling with the normalisation leaves a quarter of the pixels to what follows.
        x = make_normalization(normalization, name=f"norm{block}", pool=pool)(x)
        x = keras.layers.ReLU(name=f"relu{block}")(x)
        if context is not None and block == max(blocks - 1, 1):
            x = context(x)
        means.append(keras.layers.GlobalAveragePooling2D(name=f"mean{block}")(x))
    if readout == "depths":
        joined = keras.layers.Concatenate(name="features")(means)
        return keras.Model(inputs, make_normalization(normalization, name="norm_features")(joined), name="conv4")
    readout_layer = keras.layers.Flatten if readout == "flatten" else keras.layers.GlobalAveragePooling2D
    return keras.Model(inputs, readout_layer(name="features")(x), name="conv4")


class Deviation(keras.layers.Layer):
    """The standard deviation over the pixels of images [n, H, W, channels], never quite 0, which has no derivative."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return deviations [n, channels]."""
        mean = tf.reduce_mean(inputs, [1, 2], keepdims=True)
        return tf.sqrt(tf.reduce_mean((inputs - mean) ** 2, [1, 2]) + 1e-6)
