"""What is refused leaves nothing behind: no name in the metrics, no tensor in memory, no word of the server's own."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from serving.server.metrics import OTHER
from serving.server.status import as_status
from tests.serving.server.memory import resident

MEGABYTE = 1 << 20
METRICS = "/monitoring/prometheus/metrics"


def asking(model: str, signature: str = "", **inputs: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def code_of(call: Callable[..., Any], request: Any) -> str:
    """The code that a call ends with; nothing of its exception is kept."""
    try:
        call(request, timeout=20)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_names_of_models_that_are_not_there_are_not_counted_by_name(server: Any) -> None:
    for number in range(3):
        assert code_of(server.predictions.Predict, asking(f"invented{number}")) == "NOT_FOUND"
        assert server.post(f"/v1/models/invented{number}:predict", {"inputs": 1}).status_code == 404
    page = server.rest.get(METRICS).text
    assert "invented" not in page
    assert f':tensorflow:serving:request_count{{model_name="{OTHER}",status="NOT_FOUND"}} ' in page


def test_labels_and_versions_that_are_not_there_are_counted_for_their_model(server: Any) -> None:
    request = asking("two")
    request.model_spec.version_label = "invented"
    assert code_of(server.predictions.Predict, request) == "INVALID_ARGUMENT"
    assert 'request_count{model_name="two",status="INVALID_ARGUMENT"} ' in server.rest.get(METRICS).text


@pytest.mark.parametrize("field", ["name", "signature_name", "version_label"])
def test_names_that_are_too_long_are_refused_everywhere(server: Any, field: str) -> None:
    spec = model_pb2.ModelSpec(**{"name": "two", field: "n" * MEGABYTE})
    asked = [
        (server.predictions.Predict, predict_pb2.PredictRequest(model_spec=spec)),
        (server.predictions.Classify, classification_pb2.ClassificationRequest(model_spec=spec)),
        (server.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest(model_spec=spec)),
        (
            server.predictions.GetModelMetadata,
            get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"]),
        ),
    ]
    for call, request in asked:
        with pytest.raises(grpc.RpcError, match=f"name has {MEGABYTE} characters; the most is 256") as caught:
            call(request, timeout=20)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_many_and_long_names_of_inputs_are_not_said_again(server: Any) -> None:
    with pytest.raises(grpc.RpcError, match="input size does not match signature: 5000!=1") as caught:
        server.predictions.Predict(asking("two", "", **{f"{i}{'x' * 100}": 1.0 for i in range(5000)}), timeout=20)
    assert len(caught.value.details()) < 2000
    about = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["f" * MEGABYTE])
    about.model_spec.name = "two"
    with pytest.raises(grpc.RpcError, match="TRUNCATED"):
        server.predictions.GetModelMetadata(about, timeout=20)


LARGE = np.ones(MEGABYTE, np.float32)  # 4 MB
UNFIT = {"a": LARGE, "b": np.ones((3, 2), np.float32)}
REQUESTS = {
    "a model that is not there": asking("nowhere", x=LARGE),
    "a signature that is not there": asking("edges", "zz", x=LARGE),
    "an input too many": asking("two", x=LARGE, y=LARGE),
    "another type": asking("two", x=LARGE.astype(np.float64)),
    "shapes that do not fit": asking("edges", "pair", **UNFIT),
}


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Nothing that holds itself is found; what is left of before is no matter."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaves_nothing(refused: Callable[[], bool], times: int, allowed: float) -> bool:
    """Whether in one of four rounds so many requests leave less than so many bytes behind.

    Other threads may be at work; what is held grows by every request.
    """
    assert all(refused() for _ in range(5))
    for _ in range(4):
        before = resident()
        assert all(refused() for _ in range(times))
        if resident() - before < allowed:
            return True
    return False


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_nothing_of_a_refused_request_outlives_its_answer(server: Any, without_collector: None, kind: str) -> None:
    request = REQUESTS[kind]
    assert leaves_nothing(lambda: code_of(server.predictions.Predict, request) != "OK", 25, 12 * request.ByteSize())


def is_refused(server: Any, text: str) -> bool:
    return bool(server.post("/v1/models/edges:predict", text).status_code == 400)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [1.0] * 100_000 + ["a"]},
        {"signature_name": "zz", "inputs": [1.0] * 100_000},
        {"signature_name": "pair", "inputs": {"a": [1.0] * 100_000, "b": [[1.0, 1.0]] * 3}},
    ],
    ids=["a value of another type", "a signature that is not there", "shapes that do not fit"],
)
def test_nothing_of_a_refused_document_outlives_its_answer(server: Any, without_collector: None, body: Any) -> None:
    for text in (json.dumps(body), json.dumps(body)[:-1]):  # and one that does not end
        assert leaves_nothing(partial(is_refused, server, text), 12, 20e6)


def test_sentences_of_tensorflow_come_without_its_own_names(server: Any) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "two", "classify_x_to_y"
    example = request.input.example_list.examples.add()
    example.features.feature["x"].bytes_list.value.append(b"a number was wanted")
    with pytest.raises(grpc.RpcError, match="Data types don't match") as caught:
        server.predictions.Classify(request, timeout=20)
    assert not [name for name in ("function_node", "__inference", "[Op:", "{{node") if name in caught.value.details()]


def test_sentences_that_quote_a_long_request_are_said_at_once() -> None:
    """To search all of them for names would take hours."""
    for quoted in (" " * 1_000_000, "{{function_node " * 100_000):
        said = str(as_status(tf.errors.InvalidArgumentError(None, None, f"{{{{function_node f}}}} Wrong: {quoted}")))
        assert said.startswith("Wrong: ") and said.endswith("...TRUNCATED")


def test_what_nobody_foresaw_is_for_the_log_alone(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("/etc/secret")

    monkeypatch.setattr("serving.server.inference._feeds", broken)
    with caplog.at_level(logging.ERROR, "serving"):
        response = server.post("/v1/models/two:predict", {"inputs": [1.0]})
    assert (response.status_code, response.json()) == (
        500,
        {"error": "The server failed (INTERNAL); its own log says more."},
    )
    assert "/etc/secret" in caplog.text
