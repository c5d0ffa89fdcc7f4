"""A compact U-Net (Ronneberger et al. 2015): a feature vector for every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from fewshot.errors import RecipeError
from fewshot.models.normalization import make_normalization
from fewshot.models.pooling import MaxPooling


def unet(
    input_shape: Sequence[int],
    *,
    filters: Sequence[int] = (16, 32, 64),
    normalization: str = "group",
    context: keras.layers.Layer | None = None,
) -> keras.Model:
    """Build a contracting and an expanding path of 3x3 convolutions, joined level by level.

    One convolution a level on either side keeps second-order gradients affordable; the expanding path enlarges by
    repeating pixels, which leaves no checkerboard.

    Args:
        input_shape: (H, W, bands) in pixels.
        filters: Filters of each level, finest first; each level but the first halves height and width.
        normalization: A kind of `fewshot.models.normalization`.
        context: A layer on the maps of the coarsest level, one of `fewshot.models.context`.

    Returns:
        A model from [n, H, W, bands] to features [n, H, W, filters[0]].

    Raises:
        RecipeError: if height or width do not halve evenly at every level.
    """
    halved = 2 ** (len(filters) - 1)
    if any(side % halved for side in input_shape[:2]):
        raise RecipeError(
            f"unet with {len(filters)} levels needs height and width divisible by {halved}; received "
            f"{input_shape[0]}x{input_shape[1]}. Choose another data.size, or fewer levels in network.widths."
        )

    def convolve(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=normalization == "none", name=f"{name}_conv")(x)
        x = make_normalization(normalization, name=f"{name}_norm")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    x = inputs = keras.Input(tuple(input_shape), name="images")
    across = []
    for level, width in enumerate(filters, start=1):
        if level > 1:
            x = MaxPooling(2, name=f"down{level}_pool")(x)
        x = convolve(x, width, f"down{level}")
        across.append(x)
    x = x if context is None else context(x)
    for level in range(len(filters) - 1, 0, -1):
        x = convolve(x, filters[level - 1], f"narrow{level}")
        x = keras.layers.UpSampling2D(2, name=f"up{level}")(x)
        x = keras.layers.Concatenate(name=f"join{level}")([across[level - 1], x])
        x = convolve(x, filters[level - 1], f"up{level}")
    return keras.Model(inputs, x, name="unet")
