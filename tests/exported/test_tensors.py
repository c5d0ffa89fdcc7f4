"""Arrays to messages and back, as requests send them and as responses do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from fewshot.exported.tensors import FEW, decode, encode, write_content


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, np.float16, np.complex64])
def test_tensors_survive_the_typed_fields(dtype: Any) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    proto = encode(values)
    assert proto.tensor_content == b""
    np.testing.assert_array_equal(tf.make_ndarray(proto), values)
    np.testing.assert_array_equal(decode(proto, "x"), values)


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
