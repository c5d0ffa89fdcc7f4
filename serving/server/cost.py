"""What a request will take, told from its shapes and number of steps before anything of it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from tensorflow.core.framework import tensor_pb2

from fewshot.exported.card import AUTO_STEPS, Card
from serving.server.pictures import picture_size

PASSES_A_STEP = 3  # one through the network, and twice that for the gradients
BESIDE_STEPS = 2  # passes over the support: where its head starts, and the statistics it leaves
FOLDS, NUMBERS = 4, 10  # of cross-validation, which chooses a number of steps: parts, and numbers tried
LET_GO = 7  # a pass without gradients takes so much less memory, since it keeps nothing; measured with Conv-4
MEGABYTE = 1e6


class Work(NamedTuple):
    """What a request takes.

    Attributes:
        gflop: Floating-point operations, in thousands of millions.
        megabytes: Memory for what the network computes.
    """

    gflop: float
    megabytes: float


Inputs = Mapping[str, np.ndarray | tensor_pb2.TensorProto]


def work_of(card: Card, signature: str, inputs: Inputs) -> Work:
    """Return what a prediction will take.

    Args:
        card: Of a model whose card says what a pixel costs.
        signature: Its name.
        inputs: As they came; not looked at but for their shapes, the number of steps and the heads of files.
    """
    if card.cost is None or signature == "card":
        return Work(0.0, 0.0)
    support, query = (_pixels(card, inputs, name) for name in ("support", "query"))
    most, steps = card.limits.steps, _steps(inputs)
    passes, together = BESIDE_STEPS + PASSES_A_STEP * min(max(steps, 0), most), 1
    if steps == AUTO_STEPS:
        passes, together = BESIDE_STEPS + PASSES_A_STEP * most, FOLDS
        passes += FOLDS * (passes + NUMBERS * BESIDE_STEPS)
    kept = max(support * together, query / LET_GO)
    return Work(
        gflop=card.cost.flop * (support * passes + query) / 1e9,
        megabytes=card.cost.numbers * np.dtype(np.float32).itemsize * kept / MEGABYTE,
    )


def _pixels(card: Card, inputs: Inputs, name: str) -> int:
    """Return the pixels of pictures, sent as numbers or as files."""
    if (pictures := inputs.get(f"{name}_x")) is not None:
        return math.prod(max(size, 1) for size in _shape(pictures)[:3])
    files = inputs.get(f"{name}_bytes")
    if files is None:
        return 0
    values = files.ravel().tolist() if isinstance(files, np.ndarray) else files.string_val
    largest = card.size.largest if card.size.free else max(card.size.rows, card.size.columns)
    # One that is larger is refused before it is unpacked; one that tells no size may have any.
    sides = (picture_size(value) or (largest, largest) for value in values if isinstance(value, bytes))
    each = [min(rows, largest) * min(columns, largest) for rows, columns in sides]
    claimed = math.prod(max(size, 1) for size in _shape(files))  # the last one stands for those that are not sent
    return sum(each) + (each[-1] if each else 0) * max(claimed - len(each), 0)


def _steps(inputs: Inputs) -> int:
    """Return the number of steps asked for; 0 where nothing adapts, and the graph refuses what is no number."""
    steps = inputs.get("steps")
    if steps is None:
        return 0
    if isinstance(steps, np.ndarray):
        return int(steps.item()) if steps.size == 1 and steps.dtype.kind in "iu" else 0
    if len(steps.tensor_content) == np.dtype(np.int32).itemsize:
        return int.from_bytes(steps.tensor_content, "little", signed=True)
    return int(steps.int_val[-1]) if steps.int_val else 0


def _shape(value: np.ndarray | tensor_pb2.TensorProto) -> tuple[int, ...]:
    return value.shape if isinstance(value, np.ndarray) else tuple(dim.size for dim in value.tensor_shape.dim)
