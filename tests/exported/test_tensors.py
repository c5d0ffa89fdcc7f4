"""Arrays to messages and back, as requests send them and as responses do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from fewshot.exported.status import StatusError
from fewshot.exported.tensors import FEW, MOST_AXES, decode, encode, shortened, write_content


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, np.float16, np.complex64])
def test_tensors_survive_the_typed_fields(dtype: Any) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    proto = encode(values)
    assert proto.tensor_content == b""
    np.testing.assert_array_equal(tf.make_ndarray(proto), values)
    np.testing.assert_array_equal(decode(proto, "x"), values)


@pytest.mark.parametrize(
    ("values", "given"),
    [
        (np.array([[[1, 2], [3, 0]], [[0, 0], [0, 0]]], np.float32), 4),
        (np.zeros((3, 2000), np.int32), 1),
        (np.arange(5, dtype=np.int64), 5),
        (np.int32(7), 1),
        (np.array([b"first", b"other", b"other"], object), 2),
    ],
)
def test_the_last_value_given_stands_for_all_that_follow(values: Any, given: int) -> None:
    proto = shortened(np.asarray(values))
    assert sum(len(getattr(proto, field)) for field in ("float_val", "int_val", "int64_val", "string_val")) == given
    np.testing.assert_array_equal(tf.make_ndarray(proto), values)
    np.testing.assert_array_equal(decode(proto, "x"), values)
    if given > 1 and values.dtype != object:
        np.testing.assert_array_equal(tf.io.parse_tensor(proto.SerializeToString(), proto.dtype), values)


@pytest.mark.parametrize("size", [1, FEW, FEW + 1])
def test_long_and_short_typed_fields_read_the_same(size: int) -> None:
    values = np.linspace(-1, 1, size, dtype=np.float32)
    np.testing.assert_array_equal(decode(encode(values), "x"), values)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.int32(7),
        np.zeros((0, 4), np.float32),
        np.array([b"\xff\x00", b"plain"], object),
        np.array([True, False]),
        np.arange(4, dtype=np.float64)[::2],
    ],
)
def test_tensors_survive_raw_content(values: Any) -> None:
    proto = tensor_pb2.TensorProto()
    write_content(proto, np.asarray(values))
    for found in (tf.make_ndarray(proto), decode(proto, "x")):
        assert found.dtype == np.asarray(values).dtype
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("axes", [MOST_AXES + 1, 40, 64, 66, 300])
@pytest.mark.parametrize("dtype", [tf.string, tf.float32, tf.int64])
def test_more_axes_than_numpy_and_tensorflow_agree_on_are_refused_before_they_are_read(axes: int, dtype: Any) -> None:
    """A string tensor of forty axes, each of length one, ended the process that turned it into an array."""
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for _ in range(axes):
        proto.tensor_shape.dim.add(size=1)
    if dtype == tf.string:
        proto.string_val.append(b"card.json")
    with pytest.raises(StatusError, match=f"x has {axes} axes; the most is {MOST_AXES}") as refused:
        decode(proto, "x")
    assert refused.value.code == "INVALID_ARGUMENT"


def test_as_many_axes_as_are_taken_are_read() -> None:
    values = np.array([b"a"], object).reshape([1] * MOST_AXES)
    proto = tensor_pb2.TensorProto()
    write_content(proto, values)
    assert decode(proto, "x").shape == values.shape
