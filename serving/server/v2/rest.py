"""The protocol over REST: JSON, and tensors as raw bytes after it where a client says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
import tensorflow as tf
from starlette.requests import Request
from starlette.responses import Response
from tensorflow_serving.apis import model_pb2

from fewshot.exported.status import invalid
from fewshot.exported.tensors import to_bytes
from serving.server.handlers import Call, Handlers
from serving.server.rest.documents import read_document
from serving.server.rest.requests import to_array
from serving.server.v2 import models
from serving.server.v2.models import Asked
from serving.server.v2.tensors import datatype, from_raw, read_type, shaped, to_raw

MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")
JSON_LENGTH = "Inference-Header-Content-Length"
"""Header that says how many bytes of a body are JSON, where raw tensors follow."""


def describe(handlers: Handlers, path: str) -> Response | None:
    """Answer whatever asks for no computation; None for a path of which there is none.

    Raises:
        StatusError: as `models.describe` does.
    """
    if path == "/v2":
        return _json(models.SERVER)
    if path in ("/v2/health/live", "/v2/health/ready"):
        well = path.endswith("live") or handlers.is_serving()
        return Response(status_code=200 if well else 503)
    match = MODEL.fullmatch(path)
    if match is None or match[3] == "infer":
        return None
    spec = read_path(match)
    if match[3] == "ready":
        return Response(status_code=200 if models.is_ready(handlers, spec) else 404)
    return _json(models.describe(handlers, spec))


def read_path(match: re.Match[str]) -> model_pb2.ModelSpec:
    """Return which model a path names."""
    return models.read_name(unquote(match[1]), match[2] or "")


def infer(handlers: Handlers, spec: model_pb2.ModelSpec, call: Call, request: Request, body: bytearray) -> Response:
    """Answer an inference, in this thread.

    Args:
        handlers: What is served.
        spec: Names the model and its signature.
        call: What is known of the request.
        request: Its head.
        body: All of it.

    Raises:
        StatusError: as `models.infer` does, and INVALID_ARGUMENT if the body is malformed.
    """
    length = request.headers.get(JSON_LENGTH, str(len(body)))
    if not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise invalid(f"{JSON_LENGTH} is {length[:32]!r}; the body has {len(body)} bytes.")
    document = read_document(body[: int(length)])
    raw = memoryview(body)[int(length) :]
    wanted = _entries(document, "outputs")
    outputs = [_string(entry, "name") for entry in wanted]
    servable, found = models.infer(handlers, spec, call, lambda: Asked(_read_inputs(document, raw), outputs))
    everything = _parameters(document).get("binary_data_output") is True
    binary = {name: everything for name in found}
    for entry in wanted:
        binary[entry["name"]] = _parameters(entry).get("binary_data", everything) is True
    head: dict[str, Any] = {
        "model_name": f"{spec.name}:{spec.signature_name}",
        "model_version": str(servable.version),
        "outputs": [_describe_output(name, array, binary=binary[name]) for name, array in found.items()],
    }
    if isinstance(document.get("id"), str):
        head["id"] = document["id"]
    text = json.dumps(head).encode()
    parts = [to_raw(array) for name, array in found.items() if binary[name]]
    if not parts:
        return Response(text, media_type="application/json")
    headers = {JSON_LENGTH: str(len(text))}
    return Response(b"".join([text, *parts]), headers=headers, media_type="application/octet-stream")


def _read_inputs(document: Mapping[str, Any], raw: memoryview) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    at = 0
    for entry in _entries(document, "inputs"):
        name = _string(entry, "name")
        dtype, shape = read_type(_string(entry, "datatype"), name), entry.get("shape")
        if not isinstance(shape, list) or name in found:
            raise invalid(f"Input {name[:64]} comes twice, or without its shape.")
        size = _parameters(entry).get("binary_data_size")
        if size is None:
            flat = _flat(entry.get("data"), dtype)
            found[name] = shaped(flat, shape, name)
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            raise invalid(f"Input {name[:64]} has binary_data_size {size!r:.32}; {len(raw) - at} bytes are left.")
        found[name] = from_raw(raw[at : at + size], dtype, shape, name)
        at += size
    if at != len(raw):
        raise invalid(f"{len(raw) - at} bytes at the end of the body belong to no input.")
    return found


def _flat(data: Any, dtype: tf.DType) -> np.ndarray:
    """Return values, nested as their shape or not at all, in a row."""
    if not isinstance(data, list):
        raise invalid("An input's data is a list of its values.")
    if not data:
        return np.empty(0, dtype.as_numpy_dtype)
    if dtype in (tf.half, tf.bfloat16, tf.uint16):  # JSON's own types stand in for them
        wide = tf.float32 if dtype.is_floating else tf.int32
        return to_array(data, wide).astype(dtype.as_numpy_dtype).ravel()
    return to_array(data, dtype).ravel()


def _describe_output(name: str, array: np.ndarray, *, binary: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "datatype": datatype(tf.as_dtype(array.dtype)),
        "shape": list(array.shape),
    }
    if binary:
        return {**found, "parameters": {"binary_data_size": len(to_raw(array))}}
    if array.dtype == object:
        try:
            return {**found, "data": [value.decode() for value in to_bytes(array)]}
        except UnicodeDecodeError:
            raise invalid(f"Output {name} holds bytes that are no text; ask for it with binary_data.") from None
    half = tf.as_dtype(array.dtype) in (tf.half, tf.bfloat16)
    return {**found, "data": (array.astype(np.float32) if half else array).ravel().tolist()}


def _entries(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise invalid(f"{key} is a list of objects, each with the name of a tensor.")
    return found


def _string(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise invalid(f"Every tensor has a {key}, a string.")
    return value


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("parameters")
    return found if isinstance(found, dict) else {}


def _json(content: Mapping[str, Any]) -> Response:
    return Response(json.dumps(content), media_type="application/json")
