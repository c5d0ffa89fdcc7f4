"""The REST API, with TF Serving's own models: bodies to the letter, errors and codes."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fewshot.exported.tensors import MOST_AXES

PREDICT = "/v1/models/two:predict"
MODELS = "/v1/models/"


def error(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    return response.status_code, body["error"]


def edges(server: Any, signature: str, **body: Any) -> httpx.Response:
    return server.post(MODELS + "edges:predict", {"signature_name": signature, **body})


def test_rows_are_laid_out_as_tf_serving_does(server: Any) -> None:
    response = server.post(PREDICT, {"instances": [1.0, 2.0, 5.0]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.text == '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
    response = server.post(PREDICT, {"instances": [[1.0, 2.0], [3.0, 4.0]]})
    assert response.text == '{\n    "predictions": [[2.5, 3.0], [3.5, 4.0]\n    ]\n}'


def test_columns_are_laid_out_as_tf_serving_does(server: Any) -> None:
    assert server.post(PREDICT, {"inputs": [2.0, 3.0]}).text == (
        '{\n    "outputs": [\n        3.0,\n        3.5\n    ]\n}'
    )
    assert server.post(PREDICT, {"inputs": {"x": [[2.0]]}}).json() == {"outputs": [[3.0]]}


def test_named_outputs_in_rows_and_columns(server: Any) -> None:
    rows = [{"a": 1.0, "b": [2, 3]}, {"a": 0.5, "b": [0.1, 0]}]
    response = edges(server, "pair", instances=rows)
    assert response.json() == {"predictions": [{"both": [3.0, 4.0], "sum": 6.0}, {"both": [1.1, 1.0], "sum": 0.6}]}
    first = '{\n            "both": [3.0, 4.0],\n            "sum": 6.0\n        }'
    assert response.text.startswith(f'{{\n    "predictions": [\n        {first},\n        {{')
    response = edges(server, "pair", inputs={"a": [1.0], "b": [[2, 3]]})
    assert response.json() == {"outputs": {"both": [[3.0, 4.0]], "sum": [6.0]}}


def test_a_named_input_in_rows_may_be_wrapped_or_bare(server: Any) -> None:
    assert server.post(PREDICT, {"instances": [{"x": 1.0}, {"x": 2}]}).json() == {"predictions": [2.5, 3.0]}


def test_scalars_in_columns(server: Any) -> None:
    assert edges(server, "scalar", inputs=2).text == '{\n    "outputs": 3.0\n}'
    assert edges(server, "scalar", instances=[2]).json() == {"predictions": [3.0]}


def test_every_type(server: Any) -> None:
    def ask(**changed: Any) -> httpx.Response:
        inputs = {"f": [1.0, 2], "i": [7, 300], "s": ["é", {"b64": "/w=="}], "b": [True, False], **changed}
        return edges(server, "types", inputs=inputs)

    refused = error(ask())
    assert refused[0] == 400
    assert refused[1].startswith("Failed to write JSON value for tensor type: ")
    outputs = edges(server, "text", inputs=["é", {"b64": "/wA="}, {"b64": "YQ"}]).json()["outputs"]
    assert outputs["y_bytes"] == [{"b64": "w6k="}, {"b64": "/wA="}, {"b64": "YQ=="}]
    assert outputs["length"] == [2, 2, 1]


def test_infinities_and_not_a_number_go_both_ways(server: Any) -> None:
    response = server.post(PREDICT, '{"inputs": [NaN, Infinity, -Infinity, Inf, -Inf]}')
    outputs = response.json()["outputs"]
    assert math.isnan(outputs[0])
    assert outputs[1:] == [math.inf, -math.inf, math.inf, -math.inf]
    assert server.post(PREDICT, '{"instances": [-Infinity]}').text == '{\n    "predictions": [-Infinity\n    ]\n}'


def test_versions_and_labels(server: Any) -> None:
    for path in ("two/versions/123", "two/labels/stable", "two/versions/00124", "TWO".lower()):
        assert server.post(f"{MODELS}{path}:predict", {"instances": [1.0]}).json() == {"predictions": [2.5]}
    assert server.post("/V1/Models/two:predict", {"instances": [1.0]}).status_code == 200
    assert error(server.post(MODELS + "two/labels/x:predict", {"instances": ["a"]})) == (
        400,
        "Unrecognized servable version label: x",
    )
    assert error(server.post(MODELS + "two/versions/9:predict", {"instances": [1]})) == (
        404,
        "Servable not found for request: Specific(two, 9)",
    )
    assert error(server.post(MODELS + "two99:predict", {"instances": [1]})) == (
        404,
        "Servable not found for request: Latest(two99)",
    )


def test_classify_and_regress(server: Any) -> None:
    examples = [{"x": 20.0}, {"x": [4.0]}]
    response = server.post(MODELS + "two:classify", {"signature_name": "classify_x_to_y", "examples": examples})
    assert response.text == '{\n    "results": [[["", 12.0]], [["", 4.0]]\n    ]\n}'
    response = server.post(MODELS + "two:regress", {"signature_name": "regress_x_to_y", "examples": examples})
    assert response.text == '{\n    "results": [12.0, 4.0]\n}'
    body = {"signature_name": "regress_x_to_y", "context": {"x": 6.0}, "examples": [{}]}
    assert server.post(MODELS + "two:regress", body).json() == {"results": [5.0]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": 3}, "Expecting 'examples' value to be an list/array"),
        ({}, "key 'examples' is expected and was not found"),
        ({"examples": [3]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [1.0, "a"]}]}, "Unexpected element type in feature: x expecting type: float"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"examples": [{"x": 1.0}]}, "Expected one or two output Tensors"),
    ],
)
def test_refusals_of_classify(server: Any, body: Any, words: str) -> None:
    if words.startswith("Expected one"):
        body, words = {**body, "signature_name": "zz"}, "No signature was found with the name: zz"
    status, found = error(server.post(MODELS + "two:classify", body))
    assert status == 400
    assert words in found


def test_status_to_the_letter(server: Any) -> None:
    body = server.rest.get(MODELS + "latest").text
    assert json.loads(body) == {
        "model_version_status": [
            {"version": "124", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert body.startswith('{\n "model_version_status": [\n  {\n   "version": "124",')
    versions = [one["version"] for one in server.rest.get(MODELS + "two").json()["model_version_status"]]
    assert versions == ["124", "123"]
    one = server.rest.get(MODELS + "two/versions/123").json()["model_version_status"]
    assert [s["version"] for s in one] == ["123"]
    labelled = server.rest.get(MODELS + "two/labels/stable").json()["model_version_status"]
    assert [s["version"] for s in labelled] == ["124", "123"]


def test_metadata_is_tf_servings_own(run_server: Callable, tf_models: Path, server: Any) -> None:
    expected = json.loads((tf_models / "half_plus_two_model_metadata.json").read_text())
    response = server.rest.get(MODELS + "two/versions/123/metadata")
    found = response.json()
    assert found["model_spec"].pop("name") == "two"
    expected["model_spec"].pop("name")
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures.pop("classify_x2_to_y3")["method_name"] == "tensorflow/serving/classify"
    assert found == expected
    assert server.rest.get(MODELS + "two/metadata").json()["model_spec"]["version"] == "124"
    assert server.rest.get(MODELS + "two/labels/stable/metadata").json()["model_spec"]["version"] == "123"
    assert error(server.rest.get(MODELS + "m/metadata")) == (404, "Servable not found for request: Latest(m)")


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("POST", "/v1/foo", "Malformed request: POST /v1/foo"),
        ("GET", "/v1/models", "Missing model name in request."),
        ("POST", "/v1/models", "Malformed request: POST /v1/models"),
        ("GET", "/v1/models/debug/model_name", "Malformed request: GET /v1/models/debug/model_name"),
        ("GET", "/v1/models/foo:predict", "Malformed request: GET /v1/models/foo:predict"),
        ("POST", "/v1/models/foo/version/50:regress", "Malformed request: POST /v1/models/foo/version/50:regress"),
        ("POST", "/v1/models/foo/versions/HELLO:regress", "Malformed request: POST"),
        ("POST", "/v1/models/foo/versions/18446744073709551615:regress", "Failed to convert version"),
        ("POST", "/v1/models/foo/metadata", "Malformed request: POST /v1/models/foo/metadata"),
        ("POST", "/v1/models/foo/versions/50/labels/some_label:regress", "Malformed request: POST"),
        ("PUT", "/v1/models/two", "Malformed request: PUT /v1/models/two"),
        ("DELETE", "/v1/models/two", "Malformed request: DELETE /v1/models/two"),
        ("OPTIONS", "/v1/models/two", "Malformed request: OPTIONS /v1/models/two"),
        ("POST", "/v1/models/two:PREDICT", "Malformed request: POST /v1/models/two:PREDICT"),
    ],
)
def test_paths_that_are_none(server: Any, method: str, path: str, words: str) -> None:
    status, found = error(server.rest.request(method, path))
    assert status == 400
    assert words in found


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("  ", "JSON Parse error: The document is empty. at offset: 2"),
        ("instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
        ('{"instances":[1,2}', "JSON Parse error: Missing a comma or ] after an array element. at offset: 17"),
        ('{"a":1 "b":2}', "JSON Parse error: Missing a comma or } after an object member. at offset: 7"),
        ('{"instances":[1]} x', "JSON Parse error: The document root must not be followed by other values."),
        ("{1}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        ('{"a" 1}', "JSON Parse error: Missing a colon after a name of object member."),
        ('{"a', "JSON Parse error: Missing a closing quotation mark in string."),
        ("[1]", "JSON Value: [\n    1\n] Is not object"),
        ("[" * 100_000, "JSON Parse error: "),
        ("1" * 5000, "JSON Parse error: Number too big to be stored in double."),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"signature_name": "\\ud800"}', "JSON Parse error: Invalid encoding in string."),
        ('{"signature_name": 100}', "'signature_name' key must be a string value."),
        ('{"signature_name": "zz"}', 'Serving signature name: "zz" not found in signature def'),
        ('{"instances": [1], "inputs": [1]}', "expecting only one of 'inputs' or 'instances' keys to exist"),
        ('{"instances": 1}', "Excepting 'instances' to be an list/array"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"instances": ["x"]}', 'JSON Value: "x" Type: String is not of expected type: float'),
        ('{"instances": [1, true]}', "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "),
        ('{"instances": [{"y": 1}]}', "JSON object: does not have named input: y"),
        ('{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, {"x": 2}]}', "Expecting value/list but got object at item 1 of input list"),
        ('{"instances": [{}]}', "must only have keys: x"),
        ('{"instances": [[1, 2], [3]]}', "Expecting tensor size: 2 but got: 1"),
        ('{"instances": [[1, [2]]]}', "Encountered list at unexpected level: 1 expected < 1"),
        ('{"instances": [1, [2]]}', "Expecting shape [] but got: [1]"),
        ('{"inputs": [[1, 2], [3]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"inputs": [[1], 2]}', "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ('{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
        ('{"inputs": [16777217]}', "Cannot convert JSON value: 16777217 to float without loss of precision."),
        ('{"inputs": [1e39]}', "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ('{"inputs": [null]}', "JSON Value: null Type: Null is not of expected type: float"),
        ('{"inputs": {"b64": "YQ=="}}', "Type: Object is not of expected type: float"),
    ],
)
def test_bodies_that_are_refused(server: Any, body: str, words: str) -> None:
    status, found = error(server.post(PREDICT, body))
    assert status == 400
    assert words in found
    assert len(found) < 1200


@pytest.mark.parametrize("axes", [33, 64, 65, 300])
@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_values_in_more_lists_than_there_may_be_axes(server: Any, axes: int, key: str) -> None:
    """Forty lists around a string ended the process."""
    text = f'{{"signature_name": "text", "{key}": {"[" * (axes + 1)}"a"{"]" * (axes + 1)}}}'
    status, words = error(server.post(MODELS + "edges:predict", text))
    assert status == 400
    assert f"lists; the most is {MOST_AXES}." in words


def test_bodies_for_several_inputs(server: Any) -> None:
    assert "instances is a plain list, but expecting list of objects" in error(edges(server, "pair", instances=[1]))[1]
    assert "inputs is a plain value/list, but expecting an object" in error(edges(server, "pair", inputs=[1]))[1]
    status, words = error(edges(server, "pair", instances=[{"a": 1, "b": [1, 2]}, {"a": 1}]))
    assert status == 400
    assert words.startswith("Failed to process element: 1 of 'instances' list. JSON object: ")
    assert words.endswith("must only have keys: a,b")


def test_whole_numbers_are_not_taken_from_decimals(server: Any) -> None:
    inputs = {"f": [1], "i": [1.0], "s": ["a"], "b": [True]}
    assert error(edges(server, "types", inputs=inputs)) == (
        400,
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    )
    inputs["i"] = [2**31]
    assert "is not of expected type: int32" in error(edges(server, "types", inputs=inputs))[1]
    inputs.update(i=[1], s=[1])
    assert "is not of expected type: string" in error(edges(server, "types", inputs=inputs))[1]
    inputs.update(s=[{"b64": "***"}])
    assert error(edges(server, "types", inputs=inputs)) == (400, "Unable to base64 decode")
    inputs.update(s=[{"b64": "YQ==", "more": 1}])
    assert "not formatted correctly for base64 data" in error(edges(server, "types", inputs=inputs))[1]


def test_packed_bodies(server: Any) -> None:
    packed = {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"instances": [1.0]}')
    assert server.rest.post(PREDICT, content=body, headers=packed).json() == {"predictions": [2.5]}
    for broken in (body[:-9], b"plain"):
        response = server.rest.post(PREDICT, content=broken, headers=packed)
        assert error(response) == (400, "JSON Parse error: The document is empty")


def test_a_body_without_a_length(server: Any) -> None:
    response = server.rest.post(PREDICT, content=iter([b'{"instances":', b" [1.0]}"]))
    assert response.json() == {"predictions": [2.5]}


def test_what_the_graph_refuses(server: Any) -> None:
    status, words = error(edges(server, "checked", inputs=[]))
    assert status == 400
    assert "Send at least one value." in words


def test_pages_beside_the_api(server: Any) -> None:
    missing = server.rest.get("/statuspage")
    assert missing.status_code == 404
    assert "<H1>Not Found</H1>" in missing.text
    assert server.rest.get("/health").text == "ok\n"
    page = server.rest.get("/monitoring/prometheus/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert "# TYPE :tensorflow:serving:request_count counter" in page.text
    assert ':tensorflow:serving:request_count{model_name="two",status="OK"} ' in page.text
    assert 'request_latency_bucket{model_name="two",API="predict",entrypoint="REST",le="10"} ' in page.text
    assert 'runtime_latency_count{model_name="two",API="Predict",runtime="TF1"} ' in page.text
    assert "process_resident_memory_bytes" in page.text
    assert server.rest.get("/monitoring/prometheus/metrics?x=1").status_code == 400
