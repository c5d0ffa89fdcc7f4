"""The Open Inference Protocol over REST and gRPC, and the documents that describe the APIs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from serving.server.rest.openapi import DOCUMENT
from serving.server.v2.messages import SERVICE, message
from serving.server.v2.rest import JSON_LENGTH
from serving.server.v2.tensors import NAMES, from_raw, to_raw

INFER = "/v2/models/edges:pair/infer"
PAIR = [
    {"name": "a", "datatype": "FP32", "shape": [2], "data": [1, 2.5]},
    {"name": "b", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]},
]


def refused(response: httpx.Response) -> tuple[int, str]:
    assert list(response.json()) == ["error"]
    return response.status_code, response.json()["error"]


def call(server: Any, method: str, **fields: Any) -> Any:
    ask = server.channel.unary_unary(
        f"/{SERVICE}/{method}",
        message(f"{method}Request").SerializeToString,
        message(f"{method}Response").FromString,
    )
    return ask(message(f"{method}Request")(**fields), timeout=20)


def code_of(server: Any, method: str, **fields: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(server, method, **fields)
    return caught.value.code().name, caught.value.details()


def test_health_and_metadata_over_rest(server: Any) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/two/ready", "/v2/models/edges:pair/ready"):
        assert server.rest.get(path).status_code == 200
    for path in ("/v2/models/nowhere/ready", "/v2/models/edges:nothing/ready", "/v2/models/two/versions/9/ready"):
        assert server.rest.get(path).status_code == 404
    assert server.rest.get("/v2").json()["name"] == "fewshot"
    assert server.rest.get("/v2/models/edges:pair").json() == {
        "name": "edges:pair",
        "versions": ["1"],
        "platform": "tensorflow_savedmodel",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [-1]},
            {"name": "b", "datatype": "FP32", "shape": [-1, 2]},
        ],
        "outputs": [
            {"name": "both", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "sum", "datatype": "FP32", "shape": [-1]},
        ],
    }
    assert server.rest.get("/v2/models/two/versions/123").json()["versions"] == ["124", "123"]
    assert refused(server.rest.get("/v2/models/nowhere"))[0] == 404
    assert refused(server.rest.post("/v2/models/two"))[0] == 404
    assert refused(server.rest.get("/v2/models/two/versions/x")) == (400, "A version is a whole number; received 'x'.")


def test_inference_over_rest(server: Any) -> None:
    response = server.post(INFER, {"id": "7", "inputs": PAIR})
    assert response.json() == {
        "model_name": "edges:pair",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "both", "datatype": "FP32", "shape": [2, 2], "data": [2.0, 3.0, 4.0, 5.0]},
            {"name": "sum", "datatype": "FP32", "shape": [2], "data": [4.0, 9.5]},
        ],
    }
    only = server.post(INFER, {"inputs": PAIR, "outputs": [{"name": "sum"}]}).json()["outputs"]
    assert [output["name"] for output in only] == ["sum"]
    flat = [PAIR[0], {**PAIR[1], "data": [1, 2, 3, 4]}]
    assert server.post(INFER, {"inputs": flat}).json()["outputs"][1]["data"] == [4.0, 9.5]


def test_raw_tensors_over_rest(server: Any) -> None:
    a, b = np.array([1, 2.5], np.float32), np.array([[1, 2], [3, 4]], np.float32)
    inputs = [
        {**entry, "parameters": {"binary_data_size": array.nbytes}} for entry, array in zip(PAIR, (a, b), strict=True)
    ]
    for entry in inputs:
        del entry["data"]
    outputs = [{"name": "sum", "parameters": {"binary_data": True}}, {"name": "both"}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    headers = {JSON_LENGTH: str(len(head))}
    response = server.rest.post(INFER, content=head + a.tobytes() + b.tobytes(), headers=headers)
    length = int(response.headers[JSON_LENGTH])
    found = json.loads(response.content[:length])["outputs"]
    assert found[0] == {"name": "sum", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    assert found[1]["data"] == [2.0, 3.0, 4.0, 5.0]
    assert np.frombuffer(response.content[length:], np.float32).tolist() == [4.0, 9.5]
    short = server.rest.post(INFER, content=head + a.tobytes(), headers=headers)
    assert refused(short) == (400, "Input b has binary_data_size 16; 0 bytes are left.")
    long = server.rest.post(INFER, content=head + a.tobytes() + b.tobytes() + b"x", headers=headers)
    assert refused(long) == (400, "1 bytes at the end of the body belong to no input.")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "input size does not match signature: 0!=2"),
        ({"inputs": 3}, 400, "inputs is a list of objects"),
        ({"inputs": [PAIR[0]]}, 400, "input size does not match signature: 1!=2"),
        ({"inputs": [PAIR[0], PAIR[0]]}, 400, "Input a comes twice"),
        ({"inputs": [PAIR[0], {**PAIR[1], "shape": [4]}]}, 400, ""),
        (
            {"inputs": [PAIR[0], {**PAIR[1], "shape": [3, 2]}]},
            400,
            "b has 4 values, which do not make the shape [3, 2].",
        ),
        ({"inputs": [PAIR[0], {**PAIR[1], "shape": [-2, -2]}]}, 400, "b has no shape"),
        ({"inputs": [PAIR[0], {**PAIR[1], "shape": [1] * 40 + [2, 2]}]}, 400, "at most 32 sizes"),
        ({"inputs": [PAIR[0], {**PAIR[1], "datatype": "FP99"}]}, 400, "b is of datatype 'FP99'; expected one of BOOL"),
        (
            {"inputs": [PAIR[0], {**PAIR[1], "datatype": "FP64"}]},
            400,
            "Expects arg[1] to be float but double is provided",
        ),
        ({"inputs": [PAIR[0], {**PAIR[1], "data": "x"}]}, 400, "An input's data is a list of its values."),
        ({"inputs": PAIR, "outputs": [{"name": "nope"}]}, 400, "output tensor alias not found in signature: nope"),
    ],
)
def test_refusals_over_rest(server: Any, body: Any, status: int, words: str) -> None:
    found = refused(server.post(INFER, body))
    assert found[0] == status
    assert words in found[1]


def test_names_over_rest(server: Any) -> None:
    status, words = refused(server.post("/v2/models/edges:nothing/infer", {"inputs": PAIR}))
    assert status == 404
    assert words == (
        "Model edges has no signature nothing; it has checked, pair, scalar, slow, text, types. Name it as "
        "edges:SIGNATURE."
    )
    assert refused(server.post("/v2/models/nowhere/infer", {}))[0] == 404
    assert refused(server.post(INFER, "{"))[0] == 400


def test_strings_over_rest(server: Any) -> None:
    inputs = [{"name": "s", "datatype": "BYTES", "shape": [2], "data": ["é", {"b64": "/w=="}]}]
    response = server.post("/v2/models/edges:text/infer", {"inputs": inputs, "outputs": [{"name": "length"}]})
    assert response.json()["outputs"][0]["data"] == [2, 1]
    whole = server.post("/v2/models/edges:text/infer", {"inputs": inputs})
    assert refused(whole) == (400, "Output y_bytes holds bytes that are no text; ask for it with binary_data.")


def test_the_protocol_over_grpc(server: Any) -> None:
    assert call(server, "ServerLive").live
    assert call(server, "ServerReady").ready
    assert call(server, "ModelReady", name="edges:pair").ready
    assert not call(server, "ModelReady", name="edges:nothing").ready
    assert not call(server, "ModelReady", name="two", version="9").ready
    assert call(server, "ServerMetadata").extensions == ["binary_tensor_data"]
    described = call(server, "ModelMetadata", name="edges:pair")
    assert [(one.name, one.datatype, list(one.shape)) for one in described.inputs] == [
        ("a", "FP32", [-1]),
        ("b", "FP32", [-1, 2]),
    ]
    typed = [
        {"name": "a", "datatype": "FP32", "shape": [2], "contents": {"fp32_contents": [1, 2.5]}},
        {"name": "b", "datatype": "FP32", "shape": [2, 2], "contents": {"fp32_contents": [1, 2, 3, 4]}},
    ]
    found = call(server, "ModelInfer", model_name="edges:pair", id="7", inputs=typed, outputs=[{"name": "sum"}])
    assert (found.model_name, found.model_version, found.id) == ("edges:pair", "1", "7")
    assert np.frombuffer(found.raw_output_contents[0], np.float32).tolist() == [4.0, 9.5]
    bare = [{key: value for key, value in entry.items() if key != "contents"} for entry in typed]
    raw = [np.array([1, 2.5], np.float32).tobytes(), np.array([[1, 2], [3, 4]], np.float32).tobytes()]
    again = call(server, "ModelInfer", model_name="edges:pair", inputs=bare, raw_input_contents=raw)
    assert [output.name for output in again.outputs] == ["both", "sum"]
    assert again.raw_output_contents[1] == found.raw_output_contents[0]


TEXT = {"model_name": "edges:text", "inputs": [{"name": "s", "datatype": "BYTES"}]}


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"model_name": "nowhere"}, "NOT_FOUND", "Servable not found"),
        ({"model_name": "edges:nothing"}, "NOT_FOUND", "has no signature nothing"),
        ({"model_name": "edges:scalar", "model_version": "x"}, "INVALID_ARGUMENT", "A version is a whole number"),
        (
            {"model_name": "edges:scalar", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1 << 40]}]},
            "INVALID_ARGUMENT",
            "x has 0 values, which do not make the shape",
        ),
        (
            {
                "model_name": "edges:text",
                "inputs": [{"name": "s", "datatype": "BYTES"}],
                "raw_input_contents": [b"\xff"],
            },
            "INVALID_ARGUMENT",
            "s is cut short",
        ),
        (
            {"model_name": "edges:scalar", "inputs": [{"name": "x", "datatype": "FP16"}]},
            "INVALID_ARGUMENT",
            "comes in raw_input_contents alone",
        ),
        (
            {"model_name": "edges:scalar", "raw_input_contents": [b"1234"]},
            "INVALID_ARGUMENT",
            "The request has 0 inputs and 1 raw_input_contents.",
        ),
    ],
)
def test_refusals_over_grpc(server: Any, fields: Any, code: str, words: str) -> None:
    found = code_of(server, "ModelInfer", **fields)
    assert found[0] == code
    assert words in found[1]


@pytest.mark.parametrize("dtype", [dtype for dtype in NAMES if dtype != tf.string], ids=lambda dtype: dtype.name)
@given(array_shapes(min_dims=0, max_dims=3, min_side=0), st.integers(0, 1000))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_raw_tensors_come_back_as_they_went(dtype: tf.DType, shape: tuple[int, ...], seed: int) -> None:
    """Any bytes are values of these types, but for true and false."""
    drawn = np.random.default_rng(seed).integers(0, 2 if dtype == tf.bool else 256, (*shape, dtype.size), np.uint8)
    values = drawn.view(dtype.as_numpy_dtype)[..., 0]
    again = from_raw(to_raw(values), dtype, shape, "x")
    assert (again.dtype, again.shape, again.tobytes()) == (values.dtype, shape, values.tobytes())


def test_what_there_is_can_be_asked_for(server: Any) -> None:
    """Reflection, as `grpcurl` asks."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            for name in (SERVICE, "tensorflow.serving.PredictionService", "grpc.health.v1.Health", "nothing.At.All")
        ),
    ]
    answers = list(stub.ServerReflectionInfo(iter(asked), timeout=20))
    names = {service.name for service in answers[0].list_services_response.service}
    assert {SERVICE, "tensorflow.serving.PredictionService", "grpc.health.v1.Health"} <= names
    for answer in answers[1:4]:
        assert descriptor_pb2.FileDescriptorProto.FromString(
            answer.file_descriptor_response.file_descriptor_proto[0]
        ).service
    assert answers[4].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_the_document_names_what_is_answered(server: Any) -> None:
    found = server.rest.get("/openapi.json").json()
    assert found == json.loads(json.dumps(DOCUMENT))
    assert found["openapi"] == "3.1.0"
    values = {"model": "two", "version": "123", "label": "stable"}
    for path, methods in found["paths"].items():
        place = re.sub(r"{(\w+)}", lambda match: values[match[1]], path)
        for method, operation in methods.items():
            assert {one["name"] for one in operation["parameters"]} == set(re.findall(r"{(\w+)}", path))
            response = server.rest.request(method, place, content=b"{}" if "requestBody" in operation else None)
            assert response.status_code in ((400,) if method == "post" else (200,)), (method, place, response.text)


def test_the_page_needs_no_network(server: Any) -> None:
    page = server.rest.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://|src=|@import|href=", page.text.replace("application/json", ""))
    assert "/v2/models/{model}/infer" in page.text


TRITON = """
import sys
import numpy as np
import tritonclient.{module} as client
asking = client.InferenceServerClient("127.0.0.1:" + sys.argv[1])
assert asking.is_server_live() and asking.is_server_ready() and asking.is_model_ready("edges:pair")
asking.get_server_metadata(), asking.get_model_metadata("edges:pair")
a, b = np.array([1, 2.5], np.float32), np.array([[1, 2], [3, 4]], np.float32)
inputs = []
for name, value in (("a", a), ("b", b)):
    inputs.append(client.InferInput(name, list(value.shape), "FP32"))
    inputs[-1].set_data_from_numpy(value)
print(asking.infer("edges:pair", inputs, outputs=[client.InferRequestedOutput("sum")]).as_numpy("sum").tolist())
text = client.InferInput("s", [2], "BYTES")
text.set_data_from_numpy(np.array([b"abc", b"d"], object))
print(asking.infer("edges:text", [text]).as_numpy("length").tolist())
"""


@pytest.mark.parametrize("module", ["grpc", "http"])
def test_the_official_client_of_triton_works_unchanged(server: Any, module: str) -> None:
    """It asks for an older protobuf than TensorFlow, and so lives in an environment of its own."""
    python = os.environ.get("TRITON_PYTHON", "")
    if not Path(python).is_file():
        pytest.skip("TRITON_PYTHON names no interpreter that has tritonclient[grpc,http]")
    port = server.options.port if module == "grpc" else server.options.rest_api_port
    command = [python, "-c", TRITON.replace("{module}", module), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})
    assert done.stdout.split("\n")[:2] == ["[4.0, 9.5]", "[3, 1]"], done.stderr
