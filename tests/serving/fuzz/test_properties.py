"""Whatever is claimed or written is an array or a refusal: found by Hypothesis, the same in every run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from fewshot.exported.status import StatusError
from fewshot.exported.tensors import LARGEST_TENSOR, MOST_FILLED, decode
from serving.server.pictures import picture_size
from serving.server.rest.documents import read_document
from serving.server.rest.requests import examples_input, predict_inputs

REFUSED = ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED")
TYPES = [tf.float32, tf.int32, tf.int64, tf.string, tf.bool, tf.float64, tf.uint8, tf.half, tf.complex64]

axes = st.one_of(st.integers(-2, 4), st.sampled_from([1 << 20, 1 << 31, 1 << 62, (1 << 63) - 1]))
tensors = st.builds(
    lambda dtype, shape, **fields: (dtype, shape, fields),
    st.integers(0, 130),
    st.lists(axes, max_size=40),
    tensor_content=st.binary(max_size=40),
    float_val=st.lists(st.floats(width=32), max_size=5),
    int_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
    int64_val=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    string_val=st.lists(st.binary(max_size=5), max_size=5),
    bool_val=st.lists(st.booleans(), max_size=5),
    half_val=st.lists(st.integers(0, 2**16), max_size=5),
    scomplex_val=st.lists(st.floats(width=32), max_size=5),
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=5),
        st.builds(lambda text: {"b64": text}, st.text("ABCab+/= ", max_size=9)),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
    max_leaves=12,
)


@given(tensors)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_tensor_that_is_claimed_is_an_array_or_refused(claimed: Any) -> None:
    dtype, shape, fields = claimed
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    try:
        found = decode(proto, "x")
    except StatusError as refused:
        assert refused.code in REFUSED
        return
    assert found.shape == tuple(shape)
    assert found.nbytes <= max(proto.ByteSize() * 16, MOST_FILLED) < LARGEST_TENSOR


@given(values, st.sampled_from(TYPES), st.sampled_from(["inputs", "instances", "examples"]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_value_that_is_written_is_an_array_or_refused(value: Any, dtype: Any, key: str) -> None:
    infos = {name: meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum) for name in ("x", "y")}
    try:
        if key == "examples":
            examples_input({key: value})
            return
        found, _ = predict_inputs({key: value}, infos)
    except StatusError as refused:
        assert refused.code in REFUSED
        assert len(str(refused)) < 20_000
        return
    assert {array.dtype for array in found.values()} <= {np.dtype(dtype.as_numpy_dtype)}
    assert all(math.prod(array.shape) <= 12 for array in found.values())


@given(st.one_of(st.binary(max_size=60), st.text('{}[]":,\\/bfnrtu0123456789.eE+-NaInfity ', max_size=60)))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_document_is_an_object_or_refused(body: Any) -> None:
    try:
        assert isinstance(read_document(body if isinstance(body, bytes) else body.encode()), dict)
    except StatusError as refused:
        assert refused.code == "INVALID_ARGUMENT"


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b""]), st.binary(max_size=80))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_head_of_any_file_tells_a_size_or_none(head: bytes, rest: bytes) -> None:
    size = picture_size(head + rest)
    assert size is None or min(size) >= 0
