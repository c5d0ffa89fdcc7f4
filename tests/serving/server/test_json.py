"""Numbers, lists and documents of the REST API, without a server; numbers by comparison with what they must read as."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.protobuf import meta_graph_pb2

from fewshot.exported.status import StatusError
from serving.server.rest import documents
from serving.server.rest.documents import LONG, UnreadValue, decimals, read_document, read_predict_document
from serving.server.rest.requests import predict_inputs, to_array
from serving.server.rest.responses import from_tensors


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.2), "0.2"),
        (np.float32(1 / 3), "0.333333343"),
        (np.float32(9_000_000), "9e+06"),
        (np.float32(0.00003), "3e-05"),
        (np.float32(100), "100.0"),
        (np.float32(-0.0), "-0.0"),
        (np.float32(16777216), "16777216.0"),
        (np.float64(1 / 3), "0.33333333333333331"),
        (np.float64(0.1), "0.1"),
        (np.float32(np.nan), "NaN"),
        (np.float32(-np.inf), "-Infinity"),
        (np.float64(np.inf), "Infinity"),
    ],
)
def test_numbers_are_written_as_tf_serving_writes_them(value: Any, text: str) -> None:
    assert decimals(np.asarray(value)) == [text]


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(st.sampled_from([np.float32, np.float64]), st.integers(0, 20)))
def test_numbers_read_back_as_they_were(values: np.ndarray) -> None:
    texts = decimals(values)
    again = np.array([float(text) for text in texts], values.dtype)
    np.testing.assert_array_equal(again, values)
    assert all(text[-1].isdigit() and not text.isdigit() for text in np.array(texts)[np.isfinite(values)])


def skeleton(value: Any) -> Any:
    return [skeleton(item) for item in value] if isinstance(value, list) else "value"


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)))
def test_columns_nest_as_the_array_does(values: np.ndarray) -> None:
    found = json.loads(from_tensors({"y": values}, rows=False))["outputs"]
    assert skeleton(found) == skeleton(values.tolist())
    np.testing.assert_array_equal(np.asarray(found, np.float32).ravel(), values.ravel())


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.int64, arrays.array_shapes(min_dims=2, max_dims=4, max_side=3)))
def test_rows_nest_as_the_array_does(values: np.ndarray) -> None:
    assert json.loads(from_tensors({"y": values}, rows=True)) == {"predictions": values.tolist()}
    named = json.loads(from_tensors({"a": values, "b": values}, rows=True))["predictions"]
    assert named == [{"a": row, "b": row} for row in values.tolist()]


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(np.float64, arrays.array_shapes(min_dims=0, max_dims=4, max_side=3), elements=st.floats(-1e9, 1e9))
)
def test_lists_become_arrays_of_the_same_shape(values: np.ndarray) -> None:
    found = to_array(json.loads(json.dumps(values.tolist())), tf.float64)
    assert found.shape == values.shape
    np.testing.assert_array_equal(found, values)


def test_empty_lists_have_a_shape() -> None:
    assert to_array([], tf.float32).shape == (0,)
    assert to_array([[], []], tf.string).shape == (2, 0)
    with pytest.raises(StatusError, match="unexpected size"):
        to_array([[], [1]], tf.float32)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_body_gets_past_the_reader_unread(body: bytes) -> None:
    """Whatever the bytes, there is a document or an INVALID_ARGUMENT."""
    try:
        assert isinstance(read_document(body), dict)
    except StatusError as error:
        assert error.code == "INVALID_ARGUMENT"


def test_strings_of_bytes_that_are_no_text_pass_unchanged() -> None:
    values = np.array([b"\xff\x00", b"plain"], object)
    assert from_tensors({"y": values}, rows=True) == (b'{\n    "predictions": ["\xff\\u0000", "plain"\n    ]\n}')
    document = read_document(b'{"inputs": ["\xff"]}')
    assert to_array(document["inputs"], tf.string).tolist() == [b"\xff"]


@pytest.mark.parametrize("unit", ['\\"', '"\\', "\\\n", '["'])
def test_reading_what_is_no_json_takes_time_in_proportion_to_its_length(unit: str) -> None:
    """A megabyte is answered at once; with time that grew with the square of it, this test would run for hours."""
    with pytest.raises(StatusError, match="JSON Parse error"):
        read_document(('{"inputs": "' + (1 << 20) // len(unit) * unit).encode())


def test_odd_numbers_are_read_and_strings_that_look_like_them_stay() -> None:
    assert read_document(b'{"a": [Inf, -NaN], "b": "Inf \\" -NaN"}')["b"] == 'Inf " -NaN'


def test_long_text_is_strict_json_or_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no strict JSON is read a hundred times more slowly, and others wait for it."""
    body = b'{"inputs": [1.5, NaN, "' + b"a" * 100 + b'"]}'
    assert read_document(body)["inputs"][0] == 1.5
    monkeypatch.setattr(documents, "LONGEST_ODD", len(body) - 1)
    with pytest.raises(StatusError, match="not strictly JSON at character 1[78]") as refused:
        read_document(body)
    assert refused.value.code == "INVALID_ARGUMENT"


def test_more_values_than_may_be_are_read_of_numbers_in_columns_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait while a document is read whole; numbers in columns never are."""
    numbers = b"[" + b"1," * LONG + b"1]"
    monkeypatch.setattr(documents, "MOST_VALUES", LONG)
    document = read_predict_document(b'{"inputs": {"x": %b}}' % numbers)
    assert predict_inputs(document, {"x": info(tf.float32)})[0]["x"].sum() == LONG + 1
    for body in (b'{"instances": %b}', b'{"inputs": {"x": [%b, [1]]}}', b'{"inputs": {"x": %b}, "more": NaN}'):
        with pytest.raises(StatusError, match=f"more than {LONG} values"):
            predict_inputs(read_predict_document(body % numbers), {"x": info(tf.float32)})


def test_a_document_of_many_names_is_not_taken_apart_name_by_name() -> None:
    names = b",".join(b'"%d": 1' % number for number in range(documents.MOST_MEMBERS))
    assert not isinstance(read_predict_document(b'{"inputs": {%b}}' % names)["inputs"]["7"], UnreadValue)


def test_numbers_take_few_times_their_text_while_they_are_read() -> None:
    """What numbers of two characters take: eight bytes each, four as they are wanted, and their commas."""
    text = b"[" + b"1," * 200_000 + b"1]"
    tracemalloc.start()
    try:
        assert to_array(UnreadValue(text), tf.float32).shape == (200_001,)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * len(text)


def info(dtype: tf.DType) -> meta_graph_pb2.TensorInfo:
    return meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum)


def outcome(document: Any, dtype: tf.DType) -> Any:
    """What a document is read as, or how it is refused."""
    try:
        arrays_, rows = predict_inputs(document, {"x": info(dtype)})
    except StatusError as error:
        return str(error)
    return {name: (array.dtype, array.shape, array.tolist()) for name, array in arrays_.items()}, rows


LEAVES = st.one_of(
    st.integers(-3, 3),
    st.floats(-1e3, 1e3),
    st.sampled_from([True, None, "a", '],["', 2**24 + 1, 2**40, 2**63, 2**70, {"b64": "eA=="}]),
)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(
    NESTED, st.sampled_from([tf.float32, tf.int32, tf.bool, tf.string]), st.sampled_from([(",", ":"), (" , ", " : ")])
)
def test_long_columns_are_read_as_short_ones_are(value: Any, dtype: tf.DType, separators: tuple[str, str]) -> None:
    body = json.dumps({"inputs": {"x": value}, "signature_name": "s"}, separators=separators).encode() + b" " * LONG
    late = read_predict_document(body)
    assert isinstance(late["inputs"]["x"], UnreadValue) and late["signature_name"] == "s"
    assert outcome(late, dtype) == outcome(read_document(body), dtype)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=5, max_side=4), elements=st.floats(-9, 9, width=32)))
def test_long_numbers_are_taken_out_of_their_brackets(values: np.ndarray) -> None:
    found = to_array(UnreadValue(json.dumps(values.tolist()).encode()), tf.float32)
    np.testing.assert_array_equal(found, values)
    assert found.shape == values.shape


@pytest.mark.parametrize(
    "body",
    [
        '{"inputs": {"x": [1]}, "instances": [1]}',
        '{"instances": [1, 2]}',
        '{"inputs": [1, 2]}',
        '{"inputs": {"b64": "eA=="}}',
        '{"inputs": {"x": [Inf]}}',
        '{"inputs": {"x": [1]}, "signature_name": 3}',
        '{"inputs": {"y": [1]}}',
        '{"inputs": {"x": [1]}, "inputs": {"x": [2]}}',
        '{"inputs": {"x": ' + "[" * 1000 + "]" * 1000 + "}}",
        '{"other": 1}',
    ],
)
def test_long_documents_of_any_kind_are_read_as_short_ones_are(body: str) -> None:
    long = body.encode() + b" " * LONG
    assert outcome(read_predict_document(long), tf.float32) == outcome(read_document(body.encode()), tf.float32)


@pytest.mark.parametrize(
    "body", [b'{"signature_name": "\xdb", "inputs": {"x": [1]}}', b'{"inputs": {"\xdb": [1], "x": [1]}}']
)
def test_long_documents_may_have_names_of_any_bytes(body: bytes) -> None:
    assert outcome(read_predict_document(body + b" " * LONG), tf.float32) == outcome(read_document(body), tf.float32)
