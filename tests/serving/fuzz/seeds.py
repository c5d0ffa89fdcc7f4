"""What is changed at random: requests that are answered, and those that once did harm."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
)

from tests.serving.requests import predict_request, typed

PATHS = tuple(
    f"/v1/models/{model}:{method}"
    for model in ("edges", "two", "two/versions/123", "two/labels/stable", "nowhere")
    for method in ("predict", "classify", "regress")
)


def _json(signature: str, **body: Any) -> bytes:
    return json.dumps({"signature_name": signature, **body}).encode()


BODIES = (
    _json("pair", inputs={"a": [1.0, -2.5e3], "b": [[1, 2], [3, 4]]}),
    _json("pair", instances=[{"a": 1.0, "b": [2, 3]}, {"a": 0.5, "b": [0.1, 0]}]),
    # Long enough to be read in another way.
    _json("pair", inputs={"a": [0.25, -1e3] * 300, "b": [[1, 2.5], [3, 4]] * 300}),
    _json("scalar", inputs=2),
    _json("text", inputs=["a", {"b64": "/wA="}, "\u00e9"]),
    _json("types", inputs={"f": [1.5], "i": [7], "s": ["x"], "b": [True]}),
    _json("checked", instances=[1.0, 2.0]),
    b'{"inputs": [NaN, Infinity, -Infinity, Inf, -Inf]}',
    json.dumps({"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}, {"x": [4.0]}]}).encode(),
    json.dumps({"signature_name": "regress_x_to_y", "context": {"x": 6.0}, "examples": [{}]}).encode(),
)
HARMFUL_BODIES = (
    b'{"inputs": "' + b'\\"' * 12_000,  # a regular expression that went back and forth, the interpreter's lock held
    b"[" * 100_000,
    b'{"signature_name": "text", "inputs": ' + b"[" * 40 + b'"a"' + b"]" * 40 + b"}",  # ended the process
    b"1" * 5000,
    b'{"signature_name": "text", "inputs": ["\\ud800"]}',
    b'{"signature_name": "scalar", "inputs": 1e309}',
    _json("scalar", inputs={"x": [2**70] * 300}),  # long, and a number that has no machine type: an internal error
)


def _examples(kind: Any, signature: str) -> Any:
    request = kind()
    request.model_spec.name, request.model_spec.signature_name = "two", signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    return request


def _multi_inference() -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    for signature, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "two", signature
    return request


_METADATA = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
_METADATA.model_spec.name = "two"
_STATUS = get_model_status_pb2.GetModelStatusRequest()
_STATUS.model_spec.name = "edges"

PREDICTION = "/tensorflow.serving.PredictionService/"
MESSAGES: dict[str, tuple[bytes, ...]] = {
    f"{PREDICTION}Predict": tuple(
        request.SerializeToString()
        for request in (
            predict_request("two", "", x=np.array([1, 2], np.float32)),
            predict_request("edges", "pair", a=np.ones(2, np.float32), b=np.ones((2, 2), np.float32)),
            predict_request("edges", "text", s=np.array([b"a", b"\xff"], object)),
            predict_request("edges", "scalar", x=typed(types_pb2.DT_FLOAT, [], float_val=[2.0])),
            predict_request(
                *("edges", "types"),
                f=typed(types_pb2.DT_FLOAT, [2], float_val=[1.5]),
                i=typed(types_pb2.DT_INT32, [2], int_val=[7]),
                s=typed(types_pb2.DT_STRING, [2], string_val=[b"x"]),
                b=typed(types_pb2.DT_BOOL, [2], bool_val=[True]),
            ),
        )
    ),
    f"{PREDICTION}Classify": (
        _examples(classification_pb2.ClassificationRequest, "classify_x_to_y").SerializeToString(),
    ),
    f"{PREDICTION}Regress": (
        _examples(classification_pb2.ClassificationRequest, "regress_x_to_y").SerializeToString(),
    ),
    f"{PREDICTION}MultiInference": (_multi_inference().SerializeToString(),),
    f"{PREDICTION}GetModelMetadata": (_METADATA.SerializeToString(),),
    "/tensorflow.serving.ModelService/GetModelStatus": (_STATUS.SerializeToString(),),
}
HARMFUL_MESSAGES = tuple(
    request.SerializeToString()
    for request in (
        *(
            predict_request("edges", "text", s=typed(types_pb2.DT_STRING, [1] * axes, string_val=[b"a"]))
            for axes in (40, 64, 66, 300)
        ),
        predict_request("two", "", x=typed(types_pb2.DT_FLOAT, [1 << 27], float_val=[1.0])),
        predict_request("edges", "text", s=typed(types_pb2.DT_STRING, [1 << 20], string_val=[b"a" * 1000])),
        predict_request("two", "", x=typed(types_pb2.DT_FLOAT, [0, 1 << 62, 1 << 62])),
        predict_request("n" * 100_000, ""),
    )
)

HEAD = b"POST /v1/models/two:predict HTTP/1.1\r\nHost: localhost\r\n"
FRAMES = (
    HEAD + b'Content-Length: 20\r\n\r\n{"instances": [1.0]}',
    HEAD + b'Transfer-Encoding: chunked\r\n\r\n14\r\n{"instances": [1.0]}\r\n0\r\n\r\n',
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
    HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /v1/models/two/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v2/models/two HTTP/1.0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
HARMFUL_FRAMES = (
    HEAD + b"Content-Length: 268435456\r\n\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /" + b"a" * 100_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of an encrypted connection
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
