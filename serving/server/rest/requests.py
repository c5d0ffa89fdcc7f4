"""The bodies of REST requests: JSON in TF Serving's row and column formats, and examples, to tensors.

Regular input is converted level by level, without a Python call for each value; long numbers in columns are taken out
of their brackets first, which is faster still. Only where something does not fit is the document walked value by value,
in TF Serving's order, to say what is wrong in its words.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import input_pb2

from fewshot.exported.status import StatusError, invalid
from fewshot.exported.tensors import MOST_AXES, type_name
from serving.server.rest.documents import UnreadValue, quote
from serving.server.rest.numbers import FLOAT_TYPES, INTEGER_TYPES, flat_numbers
from serving.server.status import describe

TensorInfos = Mapping[str, meta_graph_pb2.TensorInfo]


def signature_name(document: Mapping[str, Any]) -> str:
    """Return the signature that a document asks for; empty if none.

    Raises:
        StatusError: INVALID_ARGUMENT if it is not a string, or not of characters.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {quote(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, or half of a pair
        raise invalid("JSON Parse error: Invalid encoding in string.") from None
    return name


def predict_inputs(document: Mapping[str, Any], infos: TensorInfos) -> tuple[dict[str, np.ndarray], bool]:
    """Return the tensors of a predict request.

    Args:
        document: With `instances` (rows) or `inputs` (columns).
        infos: The signature's inputs.

    Returns:
        Array by input name, and whether the request is in rows.

    Raises:
        StatusError: INVALID_ARGUMENT if it does not fit the inputs' names and types.
    """
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' keys "
            "to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {quote(document)} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {quote(document)} No values in 'instances' array")
        return _from_rows(rows, infos), True
    if "inputs" in document:
        return _from_columns(document["inputs"], infos), False
    raise invalid("Missing 'inputs' or 'instances' key")


def examples_input(document: Mapping[str, Any]) -> input_pb2.Input:
    """Return the examples of a classify or regress request.

    Raises:
        StatusError: INVALID_ARGUMENT if there is none or one is malformed.
    """
    found = input_pb2.Input()
    target = found.example_list.examples
    if "context" in document:
        found.example_list_with_context.context.CopyFrom(_example(document["context"]))
        target = found.example_list_with_context.examples
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    target.extend(_example(value) for value in examples)
    return found


def to_array(value: Any, dtype: tf.DType) -> np.ndarray:
    """Return a JSON value, or lists of values nested to any depth, as an array; read before or not.

    Raises:
        StatusError: INVALID_ARGUMENT if lists of one level differ in length or a value is not of the type;
            UNIMPLEMENTED for a type that JSON cannot carry.
    """
    if isinstance(value, UnreadValue):
        array = flat_numbers(value.text, dtype)
        if array is not None:
            return array
        value = value.read()
    shape = _dense_shape(value)
    array = _dense(value, shape, dtype)
    if array is None:
        _explain(value, 0, shape, dtype)
        raise invalid(f"JSON Value: {quote(value)} is not of expected type: {type_name(dtype)}")
    return array


def _from_columns(value: Any, infos: TensorInfos) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or _is_b64(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        ((name, info),) = infos.items()
        return {name: to_array(value, tf.as_dtype(info.dtype))}
    arrays = {}
    for name in sorted(infos):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = to_array(value[name], tf.as_dtype(infos[name].dtype))
    return arrays


def _from_rows(rows: list[Any], infos: TensorInfos) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(rows[0])
    columns = {next(iter(infos)): rows}
    if named:
        if any(not _is_named(row) or row.keys() != infos.keys() for row in rows):
            raise _row_error(rows, infos, named=True)
        columns = {name: [row[name] for row in rows] for name in infos}
    arrays = {}
    for name, column in columns.items():
        shape = (len(column), *_dense_shape(column[0]))
        mixed = not named and any(map(_is_named, column))
        array = None if mixed else _dense(column, shape, tf.as_dtype(infos[name].dtype))
        if array is None:
            raise _row_error(rows, infos, named=named)
        arrays[name] = array
    return arrays


def _row_error(rows: list[Any], infos: TensorInfos, *, named: bool) -> StatusError:
    """Walk the rows as TF Serving does, to the first that does not fit."""
    first: dict[str, tuple[int, ...]] = {}
    for number, row in enumerate(rows):
        if named != _is_named(row):
            got = "object but got list" if named else "value/list but got object"
            return invalid(f"Expecting {got} at item {number} of input list")
        items = row if named else {next(iter(infos)): row}
        for name, value in items.items():
            try:
                _check_item(name, value, infos, first)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                return invalid(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {describe(error)}"
                )
        if named and row.keys() != infos.keys():
            return invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {quote(row)} must only have "
                f"keys: {','.join(sorted(infos))}"
            )
    return invalid("The rows of 'instances' do not fit each other.")


def _check_item(name: str, value: Any, infos: TensorInfos, first: dict[str, tuple[int, ...]]) -> None:
    if name not in infos:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape = to_array(value, tf.as_dtype(infos[name].dtype)).shape
    wanted = first.setdefault(name, shape)
    if int(np.prod(shape)) != int(np.prod(wanted)):
        raise invalid(f"Expecting tensor size: {int(np.prod(wanted))} but got: {int(np.prod(shape))}")
    if shape != wanted:
        raise invalid(f"Expecting shape [{','.join(map(str, wanted))}] but got: [{','.join(map(str, shape))}]")


def _dense_shape(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    if len(shape) > MOST_AXES:
        raise invalid(f"A value is nested in {len(shape)} lists; the most is {MOST_AXES}.")
    return tuple(shape)


def _dense(value: Any, shape: tuple[int, ...], dtype: tf.DType) -> np.ndarray | None:
    """Return lists as an array, or None if they do not make that shape or a value does not fit the type."""
    level = [value]
    for size in shape:
        if not _are_all(list, level) or list(map(len, level)).count(size) != len(level):
            return None
        level = [*itertools.chain.from_iterable(level)]
    array = _convert(level, dtype)
    return None if array is None else array.reshape(shape)


def _convert(flat: list[Any], dtype: tf.DType) -> np.ndarray | None:
    """Return values as an array of a type, or None if one does not fit it."""
    kinds = {float} if flat and _are_all(float, flat) else set(map(type, flat))
    if dtype in FLOAT_TYPES and kinds <= {int, float}:
        return _convert_floats(flat, dtype, whole=int in kinds)
    if dtype in INTEGER_TYPES and kinds <= {int}:
        low, high = INTEGER_TYPES[dtype]
        if flat and not low <= min(flat) <= max(flat) <= high:
            return None
        wide = np.fromiter(flat, np.uint64 if dtype == tf.uint64 else np.int64, len(flat))
        return wide.astype(dtype.as_numpy_dtype)
    if dtype == tf.bool and kinds <= {bool}:
        return np.array(flat, bool)
    if dtype == tf.string and kinds <= {str, dict}:
        return np.array([_text(value) for value in flat], object)
    return None


def _are_all(kind: type, values: list[Any]) -> bool:
    """Return whether values are of one type; twice as fast as a set of their types."""
    return list(map(type, values)).count(kind) == len(values)


def _convert_floats(flat: list[Any], dtype: tf.DType, *, whole: bool) -> np.ndarray | None:
    most = FLOAT_TYPES[dtype]
    if whole and any(type(v) is int and abs(v) > most and -(2**63) <= v < 2**64 for v in flat):
        return None
    try:
        wide = np.fromiter(flat, np.float64, len(flat))
    except OverflowError:
        return None
    size, largest = np.abs(wide), np.finfo(dtype.as_numpy_dtype).max
    if not size.max(initial=0) <= largest and (np.isfinite(size) & (size > largest)).any():
        return None
    return wide.astype(dtype.as_numpy_dtype)


def _explain(value: Any, level: int, shape: tuple[int, ...], dtype: tf.DType) -> None:
    """Raise what is wrong with the first value that does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}"
            )
        if _convert([value], dtype) is None:
            raise _value_error(value, dtype)
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _explain(item, level + 1, shape, dtype)


def _value_error(value: Any, dtype: tf.DType) -> StatusError:
    known = dtype in FLOAT_TYPES or dtype in INTEGER_TYPES or dtype in (tf.bool, tf.string)
    if not known and not isinstance(value, dict):
        return StatusError("UNIMPLEMENTED", f"Conversion of JSON Value: {quote(value)} to type: {type_name(dtype)}")
    if dtype in FLOAT_TYPES and type(value) in (int, float):
        return invalid(f"Cannot convert JSON value: {quote(value)} to {type_name(dtype)} without loss of precision.")
    return invalid(f"JSON Value: {quote(value)} Type: {_type_of(value)} is not of expected type: {type_name(dtype)}")


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_b64(value)


def _text(value: str | dict[str, Any]) -> bytes:
    if isinstance(value, dict):
        if not _is_b64(value):
            raise invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
        encoded = "".join(value["b64"].split())
        try:
            return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Unable to base64 decode") from None
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_type_of(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = feature_pb2.Feature()
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(feature, name, item)
        example.features.feature[name].CopyFrom(feature)
    return example


def _add_to_feature(feature: feature_pb2.Feature, name: str, item: Any) -> None:
    if item is None or isinstance(item, list) or (isinstance(item, dict) and not _is_b64(item)):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_type_of(item)}")
    converted: bytes | float
    if isinstance(item, str | dict):
        kind, converted = "bytes_list", _text(item)
    elif isinstance(item, float):
        if _convert([item], tf.float32) is None:
            raise _value_error(item, tf.float32)
        kind, converted = "float_list", item
    else:
        kind, converted = "int64_list", int(item)
        if not -(2**63) <= int(item) < 2**63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    held = feature.WhichOneof("kind")
    if held not in (None, kind):
        expecting = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}[held]
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expecting}")
    getattr(feature, kind).value.append(converted)
