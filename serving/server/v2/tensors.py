"""Tensors of the protocol: names of types, and values as raw bytes, little-endian, strings with their length before."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fewshot.exported.status import StatusError, invalid
from fewshot.exported.tensors import LARGEST_TENSOR, MOST_AXES, STRING_BYTES, to_bytes, type_name

NAMES = {
    tf.bool: "BOOL",
    tf.uint8: "UINT8",
    tf.uint16: "UINT16",
    tf.uint32: "UINT32",
    tf.uint64: "UINT64",
    tf.int8: "INT8",
    tf.int16: "INT16",
    tf.int32: "INT32",
    tf.int64: "INT64",
    tf.half: "FP16",
    tf.bfloat16: "BF16",
    tf.float32: "FP32",
    tf.float64: "FP64",
    tf.string: "BYTES",
}
TYPES = {name: dtype for dtype, name in NAMES.items()}
LENGTH = struct.Struct("<I")


def datatype(dtype: tf.DType) -> str:
    """Return the protocol's name of a type.

    Raises:
        StatusError: UNIMPLEMENTED if it has none.
    """
    if dtype not in NAMES:
        raise StatusError("UNIMPLEMENTED", f"Tensors of type {type_name(dtype)} cannot be sent.")
    return NAMES[dtype]


def read_type(name: str, alias: str) -> tf.DType:
    """Return the type that a tensor says it is of.

    Raises:
        StatusError: INVALID_ARGUMENT if there is none of that name.
    """
    if name not in TYPES:
        raise invalid(f"{alias} is of datatype {name[:32]!r}; expected one of {', '.join(TYPES)}.")
    return TYPES[name]


def shaped(flat: np.ndarray, shape: Sequence[int], alias: str) -> np.ndarray:
    """Return values in their shape.

    Args:
        flat: As many as were sent.
        shape: That the request says they have.
        alias: The tensor's name, for messages.

    Raises:
        StatusError: INVALID_ARGUMENT if they do not make it.
    """
    if len(shape) > MOST_AXES or any(not isinstance(size, int) or size < 0 for size in shape):
        raise invalid(f"{alias} has no shape: expected at most {MOST_AXES} sizes, whole numbers from 0 on.")
    # An axis of none does not make the others small.
    if math.prod(shape) != flat.size or math.prod(max(size, 1) for size in shape) > LARGEST_TENSOR:
        raise invalid(f"{alias} has {flat.size} values, which do not make the shape {list(shape)}.")
    return flat.reshape(shape)


def from_raw(raw: bytes | memoryview, dtype: tf.DType, shape: Sequence[int], alias: str) -> np.ndarray:
    """Return a tensor from its raw bytes.

    Args:
        raw: All of its values.
        dtype: Of them.
        shape: Of the tensor.
        alias: Its name, for messages.

    Raises:
        StatusError: INVALID_ARGUMENT if the bytes are not those of the shape, RESOURCE_EXHAUSTED if there are too many
            strings.
    """
    if dtype == tf.string:
        return shaped(_read_strings(raw, alias), shape, alias)
    if len(raw) % dtype.size:
        raise invalid(f"{alias} has {len(raw)} bytes, which are no values of {dtype.size} bytes each.")
    return shaped(np.frombuffer(raw, dtype.as_numpy_dtype), shape, alias)


def to_raw(array: np.ndarray) -> bytes:
    """Return the raw bytes of a tensor."""
    if array.dtype == object:
        return b"".join(part for value in to_bytes(array) for part in (LENGTH.pack(len(value)), value))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _read_strings(raw: bytes | memoryview, alias: str) -> np.ndarray:
    values, at = [], 0
    while at < len(raw):
        end = at + LENGTH.size
        if end > len(raw) or (until := end + LENGTH.unpack_from(raw, at)[0]) > len(raw):
            raise invalid(f"{alias} is cut short: each string is its length, four bytes, and then itself.")
        values.append(bytes(raw[end:until]))
        at = until
        if len(values) * STRING_BYTES > LARGEST_TENSOR:
            raise StatusError("RESOURCE_EXHAUSTED", f"{alias} has too many strings. Send less.")
    found = np.empty(len(values), object)
    found[:] = values
    return found
