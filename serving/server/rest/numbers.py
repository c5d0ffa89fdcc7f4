"""Numbers of a JSON document to tensors, straight from its text: no list and no Python number is made of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Literal

import numpy as np
import simdjson
import tensorflow as tf

from fewshot.exported.tensors import MOST_AXES

INTEGER_TYPES = {
    **dict.fromkeys((tf.int32, tf.int16, tf.int8, tf.uint8), (-(2**31), 2**31 - 1)),
    tf.int64: (-(2**63), 2**63 - 1),
    tf.uint32: (0, 2**32 - 1),
    tf.uint64: (0, 2**64 - 1),
}
FLOAT_TYPES = {tf.float32: 2**24 - 1, tf.float64: 2**53 - 1}  # with the largest whole number that is surely exact
_READ_AS: Mapping[tf.DType, Literal["d", "i"]] = {
    **dict.fromkeys((tf.float32, tf.float64), "d"),
    **dict.fromkeys((tf.int32, tf.int16, tf.int8, tf.uint8, tf.int64, tf.uint32), "i"),
}
_KEPT_TEXT = 1 << 20  # bytes of the longest text that a thread's parser keeps its memory for
_OF_THREAD = threading.local()
_NO_BRACKETS = bytes(set(range(256)) - set(b"[],"))


def flat_numbers(text: bytes, dtype: tf.DType) -> np.ndarray | None:
    """Return numbers as an array; None of anything else, and of numbers that need a closer look.

    Args:
        text: JSON: lists of lists of numbers, all of one depth.
        dtype: That is wanted.
    """
    if b'"' in text or b"{" in text or dtype not in _READ_AS or (shape := _shape_of_text(text)) is None:
        return None
    kind = _READ_AS[dtype]
    try:
        found = _parser(len(text)).parse(text)
        if not isinstance(found, simdjson.Array):
            return None
        flat = np.frombuffer(found.as_buffer(of_type=kind), np.float64 if kind == "d" else np.int64)
    except (ValueError, TypeError, RuntimeError):  # as simdjson says that they are others, or larger than 64 bits
        return None
    if len(flat) != math.prod(shape) or not len(flat):
        return None
    low, high = INTEGER_TYPES.get(dtype) or (-FLOAT_TYPES[dtype], FLOAT_TYPES[dtype])
    if not low <= flat.min() <= flat.max() <= high:
        return None
    return flat.astype(dtype.as_numpy_dtype).reshape(shape)


def _parser(length: int) -> simdjson.Parser:
    """Return this thread's parser, or for a long text one that is not kept: it keeps several times the text."""
    if length > _KEPT_TEXT:
        return simdjson.Parser()
    if not hasattr(_OF_THREAD, "parser"):
        _OF_THREAD.parser = simdjson.Parser()
    parser: simdjson.Parser = _OF_THREAD.parser
    return parser


def _shape_of_text(text: bytes) -> tuple[int, ...] | None:
    """Return the lengths of lists of each level, from the outermost in; None if those of a level differ, or are many.

    A list of one value is as long as one of none here.
    """
    brackets = text.translate(None, _NO_BRACKETS)
    depth = len(brackets) - len(brackets.lstrip(b"["))
    shape: list[int] = []
    length = 0  # of what a list of the level holds each of: its own brackets and commas
    for level in range(1, depth + 1 if depth <= MOST_AXES else 0):
        end = brackets.find(b"]" * level)
        if end < 0:
            return None
        own = end + 2 * level - depth
        shape.append((own - 1) // (length + 1))
        length = own
    whole = b""
    for size in shape:
        if size * (len(whole) + 1) >= len(brackets):
            return None
        whole = b"[" + (whole + b",") * (size - 1) + whole + b"]"
    return tuple(reversed(shape)) if shape and whole == brackets else None
