"""The bodies of REST responses, laid out as TF Serving lays them out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, get_model_status_pb2, regression_pb2

from fewshot.exported.status import StatusError, invalid
from fewshot.exported.tensors import to_bytes, type_name
from serving.server.rest.documents import decimals

INDENT = "    "
NEXT_LINE = ",\n"
WHOLE = (tf.int32, tf.int16, tf.int8, tf.uint8, tf.int64, tf.uint32, tf.uint64)


def from_tensors(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """Return a predict response.

    Args:
        outputs: Arrays by alias; names that end in `_bytes` are written in base64.
        rows: Whether the request was in rows: then each output has the same first axis.

    Raises:
        StatusError: INVALID_ARGUMENT if there is no output, or rows are asked of outputs that do not make rows.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    named = {name: np.asarray(outputs[name]) for name in sorted(outputs)}
    text = _rows(named) if rows else _columns(named)
    return text.encode("utf-8", "surrogateescape")


def from_classification(result: classification_pb2.ClassificationResult) -> bytes:
    """Return a classify response.

    Raises:
        StatusError: INVALID_ARGUMENT if it is empty.
    """
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for one in result.classifications:
        scores = decimals(np.array([c.score for c in one.classes], np.float32))
        pairs = (f"[{_string(c.label)}, {score}]" for c, score in zip(one.classes, scores, strict=True))
        rows.append(f"[{', '.join(pairs)}]")
    return f'{{\n{INDENT}"results": [{", ".join(rows)}\n{INDENT}]\n}}'.encode()


def from_regression(result: regression_pb2.RegressionResult) -> bytes:
    """Return a regress response.

    Raises:
        StatusError: INVALID_ARGUMENT if it is empty.
    """
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    values = decimals(np.array([one.value for one in result.regressions], np.float32))
    return f'{{\n{INDENT}"results": [{", ".join(values)}]\n}}'.encode()


def from_status(response: get_model_status_pb2.GetModelStatusResponse) -> bytes:
    """Return a status response."""
    return (_message(response) + "\n").encode()


def from_metadata(response: get_model_metadata_pb2.GetModelMetadataResponse) -> bytes:
    """Return a metadata response: who answers, and its signatures."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec = _message(response.model_spec)
    return f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {_message(signatures)}}}\n}}\n'.encode()


def from_error(error: StatusError) -> bytes:
    """Return an error response."""
    return f'{{\n{INDENT}"error": {_string(str(error))}\n}}'.encode("utf-8", "surrogateescape")


def _message(message: Message) -> str:
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return str(json_format.MessageToJson(message, indent=1, **options))


def _rows(named: Mapping[str, np.ndarray]) -> str:
    """Lay out one element a line where elements have names, all on one line where they have not."""
    size = _common_size(named)
    columns = {}
    for name, array in named.items():
        texts, each = _texts(name, array), int(np.prod(array.shape[1:]))
        columns[name] = [_nest(texts[i * each : (i + 1) * each], array.shape[1:]) for i in range(size)]
    if len(columns) == 1:
        (elements,) = columns.values()
        return f'{{\n{INDENT}"predictions": [{", ".join(elements)}\n{INDENT}]\n}}'
    lines = []
    for i in range(size):
        fields = (f"{INDENT * 3}{_string(name)}: {texts[i]}" for name, texts in columns.items())
        lines.append(f"{INDENT * 2}{{\n{NEXT_LINE.join(fields)}\n{INDENT * 2}}}")
    return f'{{\n{INDENT}"predictions": [\n{NEXT_LINE.join(lines)}\n{INDENT}]\n}}'


def _common_size(named: Mapping[str, np.ndarray]) -> int:
    size = 0
    for name, array in named.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if array.shape[0] < 1:
            raise invalid(f"Tensor name: {name} has invalid batch size: {array.shape[0]}")
        if size and array.shape[0] != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {size}")
        size = array.shape[0]
    return size


def _columns(named: Mapping[str, np.ndarray]) -> str:
    if len(named) == 1:
        ((name, array),) = named.items()
        return f'{{\n{INDENT}"outputs": {_nest(_texts(name, array), array.shape, 1)}\n}}'
    fields = (
        f"{INDENT * 2}{_string(name)}: {_nest(_texts(name, array), array.shape, 2)}" for name, array in named.items()
    )
    return f'{{\n{INDENT}"outputs": {{\n{NEXT_LINE.join(fields)}\n{INDENT}}}\n}}'


def _nest(texts: list[str], shape: tuple[int, ...], depth: int | None = None) -> str:
    """Nest values in lists: all on one line, or one value a line, the outermost list at this depth."""
    for axis in range(len(shape) - 1, -1, -1):
        size, outer = shape[axis], int(np.prod(shape[:axis]))
        opening, comma, closing = "", ", ", ""
        if depth is not None:
            opening, closing = "\n" + INDENT * (depth + axis + 1), "\n" + INDENT * (depth + axis)
            comma = "," + opening
        lists = (texts[i * size : (i + 1) * size] for i in range(outer))
        texts = [f"[{opening}{comma.join(each)}{closing}]" if each else "[]" for each in lists]
    return texts[0]


def _texts(name: str, array: np.ndarray) -> list[str]:
    dtype = tf.as_dtype(array.dtype)
    if dtype in (tf.float32, tf.float64):
        return decimals(array)
    if dtype in WHOLE:
        return list(map(str, array.ravel().tolist()))
    if dtype == tf.bool:
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if dtype != tf.string:
        raise invalid(f"Failed to write JSON value for tensor type: {type_name(dtype)}")
    values = to_bytes(array)
    if name.endswith("_bytes"):
        return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in values]
    return [_string(value.decode("utf-8", "surrogateescape")) for value in values]


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
