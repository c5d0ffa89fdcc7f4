"""Arrays and the `TensorProto` of requests and responses.

Requests come as raw content or in typed fields, with TensorFlow's rule that the last value given repeats to fill
the shape. Responses fill the typed fields, which is where TF Serving's clients look.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

from fewshot.exported.status import TOO_LARGE, StatusError, invalid

MOST_AXES = 32
"""Of a tensor that is read. TensorFlow claims to take 254 and NumPy takes 64, but from 40 on a string tensor between
the two ends the process."""
LARGEST_TENSOR = 1 << 30  # bytes, as an array
MOST_FILLED = 16 << 20  # bytes that are not sent: a short message can claim any shape, and its last value fills it
STRING_BYTES = 64  # of an array's string beside its content

# A tensor's type: the typed field that holds it.
FIELDS = {
    **dict.fromkeys((tf.int32, tf.int16, tf.int8, tf.uint16, tf.uint8), "int_val"),
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
    tf.half: "half_val",
    tf.bfloat16: "half_val",
    tf.complex64: "scomplex_val",
    tf.complex128: "dcomplex_val",
}
RAW = (tf.float32, tf.float64, tf.bool, tf.complex64, tf.complex128)  # memory equals the packed wire format
BY_NUMBER = {dtype.as_datatype_enum: dtype for dtype in FIELDS}
PLAIN = (tf.float32, tf.float64, tf.int32, tf.int64)  # a value of the typed field is one of the tensor
FEW = 1000  # values that are read one by one faster than by TensorFlow

# Names that differ from NumPy's.
TYPE_NAMES = {tf.float32: "float", tf.float64: "double", tf.half: "half"}


def type_name(dtype: tf.DType) -> str:
    """Return a type's name as TensorFlow's C++ writes it."""
    return str(TYPE_NAMES.get(dtype, dtype.name))


def decode(proto: tensor_pb2.TensorProto, alias: str) -> np.ndarray:
    """Return a tensor as an array, strings as an object array of bytes; `alias` is the input's name in messages.

    Raises:
        StatusError: INVALID_ARGUMENT if the tensor is malformed, RESOURCE_EXHAUSTED if it claims too many values.
    """
    unreadable = invalid(f"tensor parsing error: {alias}")
    dtype = BY_NUMBER.get(proto.dtype)
    if len(proto.tensor_shape.dim) > MOST_AXES:
        raise invalid(f"Tensor {alias} has {len(proto.tensor_shape.dim)} axes; the most is {MOST_AXES}.")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if dtype is None or proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise unreadable
    nbytes = _require_size(proto, alias, dtype, shape)
    if proto.tensor_content and dtype != tf.string:
        if len(proto.tensor_content) != nbytes:
            raise unreadable
        return np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype).reshape(shape)
    values = getattr(proto, FIELDS[dtype])
    if dtype in PLAIN and len(values) == math.prod(shape) <= FEW:
        return np.fromiter(values, dtype.as_numpy_dtype, len(values)).reshape(shape)
    try:
        parsed = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
    except tf.errors.OpError:
        raise unreadable from None
    return np.asarray(parsed, dtype.as_numpy_dtype)


def _require_size(proto: tensor_pb2.TensorProto, alias: str, dtype: tf.DType, shape: tuple[int, ...]) -> int:
    """Return the bytes that a tensor takes as an array, before it is made."""
    each = STRING_BYTES if dtype == tf.string else dtype.size
    # An axis of none does not make the others small: their product has to fit a machine's whole number.
    most = math.prod(max(size, 1) for size in shape) * each
    if most > LARGEST_TENSOR:
        raise StatusError(
            "RESOURCE_EXHAUSTED",
            f"Tensor {alias} of shape {list(shape)} takes {most} bytes; the most is {LARGEST_TENSOR}. Send less.",
            http=TOO_LARGE,
        )
    count = math.prod(shape)
    if not proto.tensor_content or dtype == tf.string:
        values = getattr(proto, FIELDS[dtype])
        sent = len(values) // (2 if dtype.is_complex else 1)
        last = len(values[-1]) if dtype == tf.string and values else 0
        filled = (count - sent) * (each + last)
        if filled > MOST_FILLED:
            raise invalid(
                f"Tensor {alias} of shape {list(shape)} holds {sent} values, and {filled} bytes would be filled with "
                f"the last of them; the most is {MOST_FILLED}. Send every value."
            )
    return count * each


def write_content(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Fill an empty tensor of a request, its values as raw content, which is the fastest to write and to read.

    The array may have any shape; one of objects holds bytes.
    """
    dtype = tf.as_dtype(array.dtype)
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.CopyFrom(shape_of(array))
    if dtype == tf.string:
        proto.string_val.extend(to_bytes(array))
    else:
        proto.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def encode(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Return an array of any shape as a `TensorProto` with its values in the typed field; one of objects holds bytes.

    Raises:
        StatusError: UNIMPLEMENTED for a type that has no typed field.
    """
    dtype = tf.as_dtype(array.dtype)
    if dtype not in FIELDS:
        raise StatusError("UNIMPLEMENTED", f"Tensors of type {type_name(dtype)} cannot be sent in a response.")
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=shape_of(array))
    field = FIELDS[dtype]
    if dtype in RAW and array.size:
        number = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number
        raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        # A hundred times faster than extending the field value by value.
        proto.MergeFromString(_varint(number << 3 | 2) + _varint(len(raw)) + raw)
    elif field == "half_val":
        proto.half_val.extend(array.view(np.uint16).ravel().tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())
    return proto


def shortened(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Return an array, not empty, as `encode` does, but the values at its end that the last one given stands for."""
    flat = array.ravel()
    others = np.flatnonzero(flat != flat[-1])
    proto = encode(flat[: others[-1] + 2 if len(others) else 1])
    proto.tensor_shape.CopyFrom(shape_of(array))
    return proto


def shape_of(array: np.ndarray) -> tensor_shape_pb2.TensorShapeProto:
    """Return an array's shape as a message has it."""
    return tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in array.shape]
    )


def to_bytes(array: np.ndarray) -> list[Any]:
    """Return the values of a string tensor in order, as bytes."""
    return [value if isinstance(value, bytes) else str(value).encode() for value in array.ravel().tolist()]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
