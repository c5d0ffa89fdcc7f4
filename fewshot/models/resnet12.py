"""ResNet-12, the field's deeper network (Lee et al. 2019; widths as in METEOR, Russwurm et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from fewshot.errors import RecipeError
from fewshot.models.enlarge import BilinearEnlargement
from fewshot.models.normalization import make_normalization
from fewshot.models.pooling import MaxPooling

CONVOLUTIONS_A_BLOCK = 3


def resnet12(
    input_shape: Sequence[int],
    *,
    filters: Sequence[int] = (64, 128, 256, 512),
    normalization: str = "instance",
    readout: str = "average",
    context: keras.layers.Layer | None = None,
) -> keras.Model:
    """Build residual blocks of three 3x3 convolutions, each halved but the last.

    Args:
        input_shape: (H, W, bands) in pixels.
        filters: Filters of each block.
        normalization: A kind of `fewshot.models.normalization`.
        readout: `average`, the mean over all pixels; or `pixels`, a vector for every pixel, the coarse features
            enlarged bilinearly to the input's size (a fully convolutional network, Long et al. 2015).
        context: A layer after the last block but one, one of `fewshot.models.context`.

    Returns:
        A model from [n, H, W, bands] to features [n, filters[-1]], or [n, H, W, filters[-1]].

    Raises:
        RecipeError: if the image is too small for the blocks, does not halve evenly, or the readout is unknown.
    """
    smallest = 2 ** (len(filters) - 1)
    if readout not in ("average", "pixels"):
        raise RecipeError(f"resnet12 expects readout 'average' or 'pixels'; received {readout!r}.")
    if readout == "pixels" and any(side % smallest for side in input_shape[:2]):
        raise RecipeError(
            f"resnet12 with {len(filters)} blocks and readout 'pixels' needs height and width divisible by {smallest}; "
            f"received {input_shape[0]}x{input_shape[1]}. Choose another data.size."
        )
    if min(input_shape[:2]) < smallest:
        raise RecipeError(
            f"resnet12 with {len(filters)} blocks needs images of at least {smallest} pixels; "
            f"received {input_shape[0]}x{input_shape[1]}."
        )
    x = inputs = keras.Input(tuple(input_shape), name="images")
    for block, width in enumerate(filters, start=1):
        shortcut = keras.layers.Conv2D(width, 1, use_bias=False, name=f"block{block}_shortcut")(x)
        shortcut = make_normalization(normalization, name=f"block{block}_shortcut_norm")(shortcut)
        for layer in range(1, CONVOLUTIONS_A_BLOCK + 1):
            x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"block{block}_conv{layer}")(x)
            x = make_normalization(normalization, name=f"block{block}_norm{layer}")(x)
            if layer < CONVOLUTIONS_A_BLOCK:
                x = keras.layers.LeakyReLU(0.1, name=f"block{block}_relu{layer}")(x)
        x = keras.layers.LeakyReLU(0.1, name=f"block{block}_out")(
            keras.layers.Add(name=f"block{block}_add")([x, shortcut])
        )
        if block < len(filters):
            x = MaxPooling(2, name=f"block{block}_pool")(x)
        if context is not None and block == max(len(filters) - 1, 1):
            x = context(x)
    if readout == "pixels":
        features = BilinearEnlargement(smallest, name="features")(x)
    else:
        features = keras.layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, features, name="resnet12")
