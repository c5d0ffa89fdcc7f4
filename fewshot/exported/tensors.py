"""Arrays and the `TensorProto` of requests and responses.

Requests come as raw content or in typed fields, with TensorFlow's rule that the last value given repeats to fill
the shape. Responses fill the typed fields, which is where TF Serving's clients look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from fewshot.exported.status import TOO_LARGE, StatusError, invalid

TensorProto = Any
"""TensorFlow's own, or that of `messages`: they have the same fields."""

MOST_AXES = 32
"""Of a tensor that is read. TensorFlow claims to take 254 and NumPy takes 64, but from 40 on a string tensor between
the two ends the process."""
LARGEST_TENSOR = 1 << 30  # bytes, as an array
MOST_FILLED = 16 << 20  # bytes that are not sent: a short message can claim any shape, and its last value fills it
STRING_BYTES = 64  # of an array's string beside its content


class TensorType(NamedTuple):
    """How a type of tensor is sent.

    Attributes:
        name: TensorFlow's.
        number: In messages.
        memory: Its values in an array; objects are bytes.
        field: The typed field that holds its values.
    """

    name: str
    number: int
    memory: np.dtype[Any]
    field: str

    @property
    def parts(self) -> int:
        """How many values of the field make one of the tensor."""
        return 2 if self.memory.kind == "c" else 1


TYPES = tuple(
    TensorType(name, number, np.dtype(memory), field)
    for name, number, memory, field in (
        ("float32", 1, np.float32, "float_val"),
        ("float64", 2, np.float64, "double_val"),
        ("int32", 3, np.int32, "int_val"),
        ("uint8", 4, np.uint8, "int_val"),
        ("int16", 5, np.int16, "int_val"),
        ("int8", 6, np.int8, "int_val"),
        ("string", 7, object, "string_val"),
        ("complex64", 8, np.complex64, "scomplex_val"),
        ("int64", 9, np.int64, "int64_val"),
        ("bool", 10, np.bool_, "bool_val"),
        ("bfloat16", 14, ml_dtypes.bfloat16, "half_val"),
        ("uint16", 17, np.uint16, "int_val"),
        ("complex128", 18, np.complex128, "dcomplex_val"),
        ("float16", 19, np.float16, "half_val"),
        ("uint32", 22, np.uint32, "uint32_val"),
        ("uint64", 23, np.uint64, "uint64_val"),
    )
)
BY_NUMBER = {each.number: each for each in TYPES}
_BY_MEMORY = {each.memory: each for each in TYPES}
# Fields by their numbers, and how values lie in memory: those where that equals the packed wire format, and those of
# whole numbers, which take a byte each as long as they are below 128.
_PACKED: dict[str, tuple[int, np.dtype[Any]]] = {
    "float_val": (5, np.dtype(np.float32)),
    "double_val": (6, np.dtype(np.float64)),
    "scomplex_val": (9, np.dtype(np.float32)),
    "bool_val": (11, np.dtype(np.bool_)),
    "dcomplex_val": (12, np.dtype(np.float64)),
}
_FIXED = {1: 8, 5: 4}  # bytes of what has no length, by its kind
_WHOLE = {"int_val": 7, "int64_val": 10, "uint32_val": 16, "uint64_val": 17}
FEW = 1000  # values that are read one by one faster than out of the packed field

_NAMES = {"float32": "float", "float64": "double", "float16": "half"}  # that C++ has otherwise


def type_name(dtype: Any) -> str:
    """Return a type's name as TensorFlow's C++ writes it; the type is one of these or TensorFlow's own."""
    return str(_NAMES.get(dtype.name, dtype.name))


def decode(proto: TensorProto, alias: str) -> np.ndarray:
    """Return a tensor as an array, strings as an object array of bytes; `alias` is the input's name in messages.

    Fewer values than the shape has stand for all, the last one repeated, and none for zeros, as in TensorFlow.

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
    if proto.tensor_content and dtype.name != "string":
        if len(proto.tensor_content) != nbytes:
            raise unreadable
        return np.frombuffer(proto.tensor_content, dtype.memory).reshape(shape)
    count = math.prod(shape)
    values = _field_values(proto, dtype)[:count]
    if len(values) < count:
        last = values[-1:] if len(values) else np.array([b""] if dtype.name == "string" else [0], dtype.memory)
        values = np.concatenate([values, np.repeat(last, count - len(values))])
    return values.reshape(shape)


def _field_values(proto: TensorProto, dtype: TensorType) -> np.ndarray:
    """Return what the typed field holds."""
    values = getattr(proto, dtype.field)
    if dtype.name == "string":
        found = np.empty(len(values), object)
        found[:] = list(values)
        return found
    if dtype.field == "half_val":
        return np.fromiter(values, np.int64, len(values)).astype(np.uint16).view(dtype.memory)
    if dtype.field in _WHOLE:
        return _whole_numbers(proto, dtype.field, values).astype(dtype.memory)
    number, each = _PACKED[dtype.field]
    flat = _packed(proto, number) if len(values) > FEW else b""
    if len(flat) == len(values) * each.itemsize:
        found = np.frombuffer(flat, each).copy()  # to be written to
    else:
        found = np.fromiter(values, each, len(values))
    return found[: len(values) // dtype.parts * dtype.parts].view(dtype.memory)


def _whole_numbers(proto: TensorProto, field: str, values: Sequence[int]) -> np.ndarray:
    flat = _packed(proto, _WHOLE[field]) if len(values) > FEW else b""
    if flat and len(flat) == len(values):
        return np.frombuffer(flat, np.uint8)
    return np.fromiter(values, np.uint64 if field == "uint64_val" else np.int64, len(values))


def _packed(proto: TensorProto, number: int) -> memoryview | bytes:
    """Return a packed field as it is written: a hundred times faster to read than value by value.

    It is b"" where the field is not found.
    """
    view, at = memoryview(proto.SerializeToString()), 0
    while at < len(view):
        tag, at = _read_varint(view, at)
        kind = tag & 7
        if kind == 2:  # noqa: PLR2004 (of a length that is written before)
            length, at = _read_varint(view, at)
            if tag >> 3 == number:
                return view[at : at + length]
            at += length
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind == 0:
            _, at = _read_varint(view, at)
        else:  # a group, which only a field has that nobody knows
            break
    return b""


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        value |= (view[at] & 0x7F) << shift
        if view[at] < 0x80:  # noqa: PLR2004 (the bit that says whether more follow)
            return value, at + 1
        at, shift = at + 1, shift + 7


def _require_size(proto: TensorProto, alias: str, dtype: TensorType, shape: tuple[int, ...]) -> int:
    """Return the bytes that a tensor takes as an array, before it is made."""
    text = dtype.name == "string"
    each = STRING_BYTES if text else dtype.memory.itemsize
    # An axis of none does not make the others small: their product has to fit a machine's whole number.
    most = math.prod(max(size, 1) for size in shape) * each
    if most > LARGEST_TENSOR:
        raise StatusError(
            "RESOURCE_EXHAUSTED",
            f"Tensor {alias} of shape {list(shape)} takes {most} bytes; the most is {LARGEST_TENSOR}. Send less.",
            http=TOO_LARGE,
        )
    count = math.prod(shape)
    if not proto.tensor_content or text:
        values = getattr(proto, dtype.field)
        sent = len(values) // dtype.parts
        last = len(values[-1]) if text and values else 0
        filled = (count - sent) * (each + last)
        if filled > MOST_FILLED:
            raise invalid(
                f"Tensor {alias} of shape {list(shape)} holds {sent} values, and {filled} bytes would be filled with "
                f"the last of them; the most is {MOST_FILLED}. Send every value."
            )
    return count * each


def write_content(proto: TensorProto, array: np.ndarray) -> None:
    """Fill an empty tensor of a request, its values as raw content, which is the fastest to write and to read.

    The array may have any shape; one of objects holds bytes.

    Raises:
        StatusError: UNIMPLEMENTED for a type that tensors do not have.
    """
    dtype = _type_of(array)
    proto.dtype = dtype.number
    _write_shape(proto, array)
    if dtype.name == "string":
        proto.string_val.extend(to_bytes(array))
    else:
        proto.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def encode(array: np.ndarray) -> TensorProto:
    """Return an array of any shape as a `TensorProto` with its values in the typed field; one of objects holds bytes.

    Raises:
        StatusError: UNIMPLEMENTED for a type that has no typed field.
    """
    from tensorflow.core.framework import tensor_pb2

    dtype = _type_of(array)
    proto = tensor_pb2.TensorProto(dtype=dtype.number)
    _write_shape(proto, array)
    if dtype.field in _PACKED and array.size:
        raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        # A hundred times faster than extending the field value by value.
        proto.MergeFromString(_varint(_PACKED[dtype.field][0] << 3 | 2) + _varint(len(raw)) + raw)
    elif dtype.field == "half_val":
        proto.half_val.extend(array.view(np.uint16).ravel().tolist())
    else:
        getattr(proto, dtype.field).extend(to_bytes(array) if dtype.name == "string" else array.ravel().tolist())
    return proto


def shortened(array: np.ndarray) -> TensorProto:
    """Return an array, not empty, as `encode` does, but the values at its end that the last one given stands for."""
    flat = array.ravel()
    others = np.flatnonzero(flat != flat[-1])
    proto = encode(flat[: others[-1] + 2 if len(others) else 1])
    _write_shape(proto, array)
    return proto


def _type_of(array: np.ndarray) -> TensorType:
    """Return how an array's type is sent."""
    dtype = np.dtype(object) if array.dtype.kind in "SU" else array.dtype.newbyteorder("=")
    if dtype not in _BY_MEMORY:
        raise StatusError("UNIMPLEMENTED", f"Tensors of type {type_name(array.dtype)} cannot be sent.")
    return _BY_MEMORY[dtype]


def _write_shape(proto: TensorProto, array: np.ndarray) -> None:
    del proto.tensor_shape.dim[:]
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)


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
