"""Arrays to messages and back, as requests send them and as responses do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from fewshot.exported import messages
from fewshot.exported.status import StatusError
from fewshot.exported.tensors import (
    BY_NUMBER,
    FEW,
    MOST_AXES,
    MOST_FILLED,
    TYPES,
    TensorType,
    decode,
    encode,
    shortened,
    write_content,
)


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


@pytest.mark.parametrize("each", TYPES, ids=lambda each: each.name)
@pytest.mark.parametrize("most", [120, 2000])
@pytest.mark.parametrize("given", [0, 1, 7, FEW, FEW + 1])
def test_typed_fields_are_read_as_tensorflow_reads_them(each: TensorType, given: int, most: int) -> None:
    """Long and short ones; where values are missing, the last one is repeated."""
    dtype, size = tf.as_dtype(each.number), FEW + 5
    proto = tensor_pb2.TensorProto(dtype=each.number)
    proto.tensor_shape.dim.add(size=size)
    draw = np.random.default_rng(given).integers(0, 2 if dtype == tf.bool else most, given * each.parts)
    getattr(proto, each.field).extend([str(n).encode() for n in draw] if dtype == tf.string else draw.tolist())
    found = decode(proto, "x")
    assert found.dtype == dtype.as_numpy_dtype
    np.testing.assert_array_equal(found, tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy())


def test_fields_of_other_versions_do_not_hide_the_values() -> None:
    values = np.linspace(-1, 1, FEW + 1, dtype=np.float32)
    unknown = b"\xf8\x07\x96\x01" + b"\xf9\x07" + bytes(8) + b"\xfa\x07\x02ab" + b"\xfd\x07" + bytes(4)
    unknown += b"\xfb\x07\xf8\x07\x7f\xfc\x07"  # a group
    proto = tensor_pb2.TensorProto.FromString(unknown + encode(values).SerializeToString() + unknown)
    np.testing.assert_array_equal(decode(proto, "x"), values)


@pytest.mark.parametrize(
    "theirs", [predict_pb2.PredictRequest, predict_pb2.PredictResponse], ids=lambda theirs: theirs.DESCRIPTOR.name
)
def test_messages_are_declared_as_tf_serving_declares_them(theirs: Any) -> None:
    require_same(getattr(messages, theirs.DESCRIPTOR.name).DESCRIPTOR, theirs.DESCRIPTOR)


def require_same(ours: Any, theirs: Any) -> None:
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.is_repeated) == (other.number, other.is_repeated), field.full_name
        enum = other.type == other.TYPE_ENUM  # a number, on the way
        assert field.type == (field.TYPE_INT32 if enum else other.type), field.full_name
        if field.message_type:
            require_same(field.message_type, other.message_type)


def test_a_client_sends_and_reads_what_tf_serving_declares() -> None:
    request = messages.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "land", "adapt"
    request.model_spec.version.value = 3
    write_content(request.inputs["steps"], np.asarray(7, np.int32))
    theirs = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (theirs.model_spec.name, theirs.model_spec.signature_name) == ("land", "adapt")
    assert theirs.model_spec.version.value == 3
    assert tf.make_ndarray(theirs.inputs["steps"]) == 7
    answer = predict_pb2.PredictResponse()
    for each in TYPES:
        values = np.array([b"a", b""], object) if each.name == "string" else np.arange(2).astype(each.memory)
        answer.outputs[each.name].CopyFrom(encode(values))
    ours = messages.PredictResponse.FromString(answer.SerializeToString())
    assert len(ours.outputs) == len(TYPES)
    for name, proto in ours.outputs.items():
        np.testing.assert_array_equal(decode(proto, name), decode(answer.outputs[name], name))


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


def claiming(dtype: Any, shape: list[int], *values: Any) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, BY_NUMBER[dtype.as_datatype_enum].field).extend(values)
    return proto


@pytest.mark.parametrize("dtype", [tf.as_dtype(each.number) for each in TYPES], ids=lambda dtype: dtype.name)
def test_a_shape_that_is_only_claimed_is_not_filled(dtype: Any) -> None:
    """One value for thirty-two million: gigabytes that a message of some bytes took."""
    one = [b"a"] if dtype == tf.string else [1, 1] if dtype.is_complex else [1]
    for values in ([], one):
        with pytest.raises(StatusError, match="bytes would be filled|Send less") as refused:
            decode(claiming(dtype, [32 << 20], *values), "x")
        assert refused.value.code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")


def test_a_long_string_is_not_filled_in_a_thousand_times() -> None:
    with pytest.raises(StatusError, match="holds 1 values"):
        decode(claiming(tf.string, [1000], b"a" * (MOST_FILLED // 999)), "x")


def test_what_may_be_filled_is_filled_with_the_last_value() -> None:
    found = decode(claiming(tf.float32, [MOST_FILLED // 4 + 2], 1.0, 2.0), "x")
    assert (found[0], found[1], found[-1]) == (1.0, 2.0, 2.0)


@pytest.mark.parametrize("content", [b"", b"1234"])
def test_an_axis_of_none_does_not_hide_axes_that_are_too_long(content: bytes) -> None:
    proto = claiming(tf.float32, [0, 1 << 62, 1 << 62])
    proto.tensor_content = content
    with pytest.raises(StatusError) as refused:
        decode(proto, "x")
    assert refused.value.code == "RESOURCE_EXHAUSTED"
