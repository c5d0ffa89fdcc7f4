"""Any pretrained Keras model as a network: its features at several depths, and the light networks that go on from them.

The model always runs as it does in inference: its batch normalisation uses the statistics it came with, which makes
it an affine map, exact to the second derivative; a pass over a support set never changes it. It is hidden from Keras,
so that what never trains is neither a parameter nor a state of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fewshot.errors import RecipeError
from fewshot.models.enlarge import BilinearEnlargement
from fewshot.models.normalization import BatchNormalization, make_normalization

INEXACT = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
)
"""Layers of Keras whose second derivative is wrong; batch normalisation only where it takes statistics."""


class Constant:
    """A Keras model that never trains: whoever holds one does not count its weights as their own."""

    def __init__(self, model: keras.Model) -> None:
        """Hide `model`."""
        self.model = model

    def __call__(self, x: tf.Tensor) -> Any:
        """Return what the model makes of `x` in inference, whatever pass this is part of."""
        return self.model(x, training=False)

    @property
    def variables(self) -> list[keras.Variable]:
        """The model's weights (no seeds of dropout, which is never at work), and those of what it hides in turn."""
        return [*self.model.weights, *hidden_variables(self.model)]


class PretrainedMaps(keras.layers.Layer):
    """A pretrained model from pictures [n, H, W, channels] to one output a depth; constant, or trained."""

    def __init__(self, model: keras.Model, *, trains: bool = False, **kwargs: Any) -> None:
        """Hide `model`; where it `trains`, copies of its trainable weights are the layer's own."""
        super().__init__(**kwargs)
        self.constant, self.trains = Constant(model), trains

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Copy what trains."""
        del input_shape
        self.copies = []
        for variable in self.constant.model.trainable_variables if self.trains else ():
            copy = self.add_weight(name=variable.name, shape=variable.shape, initializer="zeros")
            copy.assign(variable)
            self.copies.append(copy)

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        """Return the output of each depth."""
        model = self.constant.model
        if self.trains:
            copies = [tf.convert_to_tensor(copy) for copy in self.copies]
            fixed = [variable.value for variable in model.non_trainable_variables]
            outputs, _ = model.stateless_call(copies, fixed, inputs, training=False)
        else:
            outputs = self.constant(inputs)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

    @property
    def inexact(self) -> list[str]:
        """Layers through which second derivatives would be wrong."""
        layers = self.constant.model._flatten_layers()
        return [layer.name for layer in layers if isinstance(layer, INEXACT[1:])]


def hidden_variables(model: keras.Model) -> list[keras.Variable]:
    """Return the weights that a network uses and that are not among its own."""
    maps = [layer for layer in model._flatten_layers() if isinstance(layer, PretrainedMaps)]
    return [variable for layer in maps for variable in layer.constant.variables]


@dataclass(frozen=True)
class Showing:
    """How a pretrained model is shown a picture.

    Attributes:
        rgb: Which of the picture's bands are the model's channels; the first is 0. One band may be several.
        matrix: [channels, channels], from those bands, 0-1, to the model's channels.
        offset: [channels], added.
        size: Pixels of the side that pictures are brought to; 0 for their own.
        mirror: Take the mean with the features of the mirror image.
        learned: Train the way from bands to channels.
        trains: Train the model too.
    """

    rgb: tuple[int, ...]
    matrix: Any
    offset: Any
    size: int = 0
    mirror: bool = False
    learned: bool = False
    trains: bool = False


def depths_of(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Return a model that ends in the outputs of the named layers; in its own where none is named.

    Raises:
        RecipeError: if it has no such layers, is not made of layers, or takes statistics of a batch.
    """
    try:
        outputs = [model.get_layer(name).output for name in names] or list(model.outputs)
        cut = keras.Model(model.inputs, outputs, name=model.name)
    except (AttributeError, ValueError) as error:
        known = [layer.name for layer in model.layers]
        shown = ", ".join([*known[:3], "...", *known[-12:]] if len(known) > 15 else known)
        raise RecipeError(
            f"network.layers = {list(names)}: expected layers of {model.name!r}, a functional or Sequential model; "
            f"it has {shown or 'none'}. ({error})"
        ) from None
    for layer in cut._flatten_layers():
        if type(layer) is BatchNormalization:
            raise RecipeError(
                f"Layer {layer.name!r} of {model.name!r} normalises with the statistics of whatever pictures come "
                "together, so that answers depend on each other; expected layers that use statistics of their own."
            )
    if len(cut.inputs) != 1 or len(cut.inputs[0].shape) != 4:
        raise RecipeError(f"{model.name!r} must take pictures [n, H, W, channels]; it takes {model.input_shape}.")
    return cut


def picture_features(input_shape: Sequence[int], model: keras.Model, showing: Showing) -> keras.Model:
    """Build the network from pictures [n, H, W, bands] to features [n, F]: the mean of each depth, of one length.

    Args:
        input_shape: (H, W, bands) of a picture in pixels.
        model: With one output a depth, as `depths_of` makes it.
        showing: How the model is shown a picture.
    """
    pictures = keras.Input(tuple(input_shape), name="pictures")
    shown = _channels(pictures, showing)
    maps = PretrainedMaps(model, trains=showing.trains, name="depths")
    views = [shown, Mirrored(name="mirrored")(shown)] if showing.mirror else [shown]
    features = []
    for depth in zip(*(maps(view) for view in views), strict=True):
        means = [_average(part) for part in depth]
        mean = means[0] if len(means) == 1 else keras.layers.Average()(means)
        features.append(EqualLength()(mean))
    joined = features[0] if len(features) == 1 else keras.layers.Concatenate(name="features")(features)
    return keras.Model(pictures, joined, name="pretrained")


def pixel_features(
    input_shape: Sequence[int], model: keras.Model, showing: Showing, *, filters: int, normalization: str
) -> keras.Model:
    """Build an encoder of pretrained depths with a light decoder: pictures [n, H, W, bands] to [n, H, W, filters].

    Args:
        input_shape: (H, W, bands) of a picture in pixels.
        model: With one output a depth, each a map, as `depths_of` makes it.
        showing: How the model is shown a picture; mirror images are for whole pictures.
        filters: Of the decoder.
        normalization: A kind of `fewshot.models.normalization`, of the decoder.

    Raises:
        RecipeError: if a depth is no map, or `showing` asks for the mirror image.
    """
    pictures = keras.Input(tuple(input_shape), name="pictures")
    depths = PretrainedMaps(model, trains=showing.trains, name="depths")(_channels(pictures, showing))
    if showing.mirror or any(len(depth.shape) != 4 for depth in depths):
        raise RecipeError(
            "Tasks of pixels need network.mirror = false and network.layers that are maps [n, rows, columns, channels]."
        )
    # A 1x1 convolution and an enlargement commute: the small maps are convolved, not the large ones.
    parts = [keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name="picture_conv")(pictures)]
    for number, depth in enumerate(depths, start=1):
        narrow = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"narrow{number}")(EqualLength()(depth))
        parts.append(BilinearEnlargement(name=f"enlarge{number}")(narrow, like=pictures))
    x = keras.layers.Concatenate(name="join")(
        [_normalized(part, normalization, f"part{number}") for number, part in enumerate(parts)]
    )
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=normalization == "none", name="decode_conv")(x)
    return keras.Model(pictures, _normalized(x, normalization, "decode"), name="pretrained")


def top(features: int, *, units: int = 0, normalization: str = "support") -> keras.Model:
    """Build the network that goes on from features [n, features]: normalised, projected, and of one length.

    Args:
        features: Numbers of one example.
        units: Of the projection, which is linear; 0 for none.
        normalization: A kind of `fewshot.models.normalization`.
    """
    x = inputs = keras.Input((features,), name="features")
    x = make_normalization(normalization, name="norm")(x)
    if units:
        x = keras.layers.Dense(units, use_bias=False, name="projection")(x)
    return keras.Model(inputs, EqualLength()(x), name="top")


class EqualLength(keras.layers.Layer):
    """Divide vectors [..., features] by their length, and scale them so that their numbers are about 1.

    The small number keeps derivatives finite where a vector is 0, which `keras.layers.UnitNormalization` does not.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return vectors whose mean square is 1."""
        return inputs * tf.math.rsqrt(tf.reduce_mean(inputs**2, axis=-1, keepdims=True) + 1e-6)


class Mirrored(keras.layers.Layer):
    """Turn pictures [n, H, W, channels] left to right."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the mirror images."""
        return tf.reverse(inputs, [2])


def _channels(pictures: keras.KerasTensor, showing: Showing) -> keras.KerasTensor:
    """Return pictures as the model takes them: of its size, and of its channels."""
    x = pictures
    if showing.size:
        x = BilinearEnlargement(sides=(showing.size, showing.size), name="enlarge")(x)
    kernel = np.zeros([1, 1, pictures.shape[-1], len(showing.offset)])
    for channel, band in enumerate(showing.rgb):
        kernel[0, 0, band] += showing.matrix[channel]
    first = keras.layers.Conv2D(len(showing.offset), 1, name="channels", trainable=showing.learned)
    x = first(x)
    first.set_weights([kernel, np.asarray(showing.offset)])
    return x


def _average(depth: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean over a map's pixels; a vector as it is."""
    return depth if len(depth.shape) == 2 else keras.layers.GlobalAveragePooling2D()(depth)


def _normalized(x: keras.KerasTensor, normalization: str, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(name=f"{name}_relu")(make_normalization(normalization, name=f"{name}_norm")(x))
