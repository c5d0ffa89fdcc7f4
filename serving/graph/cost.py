"""What a network takes for each pixel it looks at, counted in the graph of one picture; for the card."""

from __future__ import annotations

import math

import tensorflow as tf

from fewshot.exported.card import PixelCost
from fewshot.meta import MetaLearner
from fewshot.meta.views import Views

NOT_KEPT = ("Const", "Identity", "Placeholder", "ReadVariableOp", "Reshape", "Squeeze", "ExpandDims", "StopGradient")
"""Operations whose outputs take no memory of their own."""


def pixel_cost(learner: MetaLearner) -> PixelCost:
    """Return what one pass of a learner's network takes for a pixel of a picture, in all views and draws."""
    rows, columns, bands = learner.eyes().input_shape[1:]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([1, rows, columns, bands])])
    def one_pass(picture: tf.Tensor) -> tf.Tensor:
        start, seen = learner.start(), learner.seen(picture, Views())
        return learner.body.stateless_call(start.body, start.state, seen, training=True)[0]

    operations = one_pass.get_concrete_function().graph.get_operations()
    times, draws = learner.views.count / (rows * columns), learner.draws()
    numbers = sum(
        math.prod(output.shape)
        for operation in operations
        if operation.type not in NOT_KEPT
        for output in operation.outputs
        if output.dtype.is_floating and output.shape.is_fully_defined()
    )
    # Draws follow one another, so that they take time, and memory for their answers alone.
    return PixelCost(flop=sum(map(_flop, operations)) * times * draws, numbers=numbers * times)


def _flop(operation: tf.Operation) -> float:
    """Return the floating-point operations of one operation; one for each output where it is no product."""
    shapes = [output.shape for output in operation.outputs]
    if operation.type == "MatMul":
        return 2.0 * math.prod(shapes[0]) * operation.inputs[0].shape[-1]
    if operation.type == "Conv2DBackpropInput":
        return 2.0 * math.prod(operation.inputs[2].shape) * math.prod(operation.inputs[1].shape[:3])
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        kernel = operation.inputs[1].shape
        return 2.0 * math.prod(shapes[0]) * math.prod(kernel[: 3 if operation.type == "Conv2D" else 2])
    return float(sum(math.prod(shape) for shape in shapes if shape.is_fully_defined()))
