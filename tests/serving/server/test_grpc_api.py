"""The gRPC API, with TF Serving's own models: values, versions, errors and codes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.serving.requests import predict_request, typed

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def refusal(call: Callable[..., Any], request: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, **{"timeout": 20, **options})
    return caught.value.code().name, caught.value.details()


def example_request(kind: Any, model: str, signature: str, *values: float, context: bool = False) -> Any:
    request = kind()
    if hasattr(request, "model_spec"):
        request.model_spec.name, request.model_spec.signature_name = model, signature
    if context:
        both = request.input.example_list_with_context
        both.context.features.feature["x"].float_list.value.extend(values)
        both.examples.add()
        return request
    for value in values:
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return request


@pytest.mark.parametrize(("model", "version", "expected"), [("two", 124, 3.0), ("three", 123, 4.0), ("tf2", 123, 3.0)])
def test_the_official_predict_request_is_answered_in_typed_fields(
    server: Any, model: str, version: int, expected: float
) -> None:
    request = predict_request(model, x=typed(types_pb2.DT_FLOAT, [1], float_val=[2.0]))
    request.output_filter.append("y")
    response = server.predictions.Predict(request, timeout=20)
    assert list(response.outputs["y"].float_val) == [expected]
    assert response.outputs["y"].tensor_content == b""
    assert response.outputs["y"].tensor_shape.dim[0].size == 1
    assert response.model_spec.name == model
    assert response.model_spec.version.value == version
    assert response.model_spec.signature_name == "serving_default"


def test_shapes_are_not_held_against_the_signature(server: Any) -> None:
    """The signature declares [None, 1]."""
    response = server.predictions.Predict(predict_request("two", x=np.array([[1, 2, 3]], np.float32)), timeout=20)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), np.array([[2.5, 3, 3.5]], np.float32))


def test_raw_content_and_typed_fields_mean_the_same_and_the_last_value_repeats(server: Any) -> None:
    raw = tf.make_tensor_proto(np.array([4, 6, 6, 6], np.float32))
    assert raw.tensor_content
    repeated = typed(types_pb2.DT_FLOAT, [4], float_val=[4, 6])
    answers = [server.predictions.Predict(predict_request("two", x=x), timeout=20) for x in (raw, repeated)]
    assert list(answers[0].outputs["y"].float_val) == list(answers[1].outputs["y"].float_val) == [4.0, 5.0, 5.0, 5.0]


def test_every_type_goes_in_and_comes_out_in_its_field(server: Any) -> None:
    inputs = {
        "f": np.array([1, -2], np.float32),
        "i": np.array([7, 300], np.int32),
        "s": [b"a\0", b"\xff"],
        "b": [True, False],
    }
    outputs = server.predictions.Predict(predict_request("edges", "types", **inputs), timeout=20).outputs
    assert list(outputs["double"].double_val) == [1 / 3, -2 / 3]
    assert list(outputs["float"].float_val) == [np.float32(1 / 3), np.float32(-2 / 3)]
    assert list(outputs["half"].half_val) == np.array([1, -2], np.float16).view(np.uint16).tolist()
    assert list(outputs["int8"].int_val) == [7, 44]
    assert list(outputs["int64"].int64_val) == [7 * 10**12, 300 * 10**12]
    assert list(outputs["uint64"].uint64_val) == [7, 300]
    assert list(outputs["not"].bool_val) == [False, True]
    assert list(outputs["text"].string_val) == [b"a\0", b"\xff"]
    assert list(outputs["complex"].scomplex_val) == [1, -1, -2, 2]


def test_scalars(server: Any) -> None:
    output = server.predictions.Predict(predict_request("edges", "scalar", x=np.float32(2)), timeout=20).outputs["y"]
    assert list(output.float_val) == [3.0]
    assert len(output.tensor_shape.dim) == 0


def test_versions_and_labels(server: Any) -> None:
    def answered_by(spec: model_pb2.ModelSpec) -> int:
        request = predict_request(spec.name, x=np.array([1], np.float32))
        request.model_spec.CopyFrom(spec)
        return server.predictions.Predict(request, timeout=20).model_spec.version.value

    by_number = model_pb2.ModelSpec(name="two")
    by_number.version.value = 123
    assert answered_by(by_number) == 123
    assert answered_by(model_pb2.ModelSpec(name="two", version_label="stable")) == 123
    assert answered_by(model_pb2.ModelSpec(name="two", version_label="canary")) == 124
    assert answered_by(model_pb2.ModelSpec(name="two")) == 124
    assert answered_by(model_pb2.ModelSpec(name="specific")) == 123


def test_refusals_of_predict_have_the_codes_and_sentences_of_tf_serving(server: Any) -> None:
    ask = server.predictions.Predict
    x = np.array([1], np.float32)
    assert refusal(ask, predict_pb2.PredictRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refusal(ask, predict_request("", x=x)) == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert refusal(ask, predict_request("m", x=x)) == ("NOT_FOUND", "Servable not found for request: Latest(m)")
    assert refusal(ask, predict_request("two", "zz", x=x)) == (
        "FAILED_PRECONDITION",
        'Serving signature key "zz" not found.',
    )
    assert refusal(ask, predict_request("two")) == (
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )
    assert refusal(ask, predict_request("two", x=x, z=x)) == (
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    )
    code, words = refusal(ask, predict_request("two", z=x))
    assert code == "INVALID_ARGUMENT"
    assert words.startswith("Signature input alias: x(feed name: x:0) not found in request")
    assert refusal(ask, predict_request("two", x=np.array([1], np.int64))) == (
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but int64 is provided",
    )


def test_refusals_of_versions_and_labels(server: Any) -> None:
    request = predict_request("two", x=np.array([1], np.float32))
    request.model_spec.version.value = 9
    assert refusal(server.predictions.Predict, request) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(two, 9)",
    )
    request.model_spec.version_label = "beta"
    assert refusal(server.predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: beta",
    )


def test_the_output_filter(server: Any) -> None:
    request = predict_request("edges", "pair", a=np.array([1], np.float32), b=np.array([[2, 3]], np.float32))
    request.output_filter.append("sum")
    assert set(server.predictions.Predict(request, timeout=20).outputs) == {"sum"}
    request.output_filter.append("sum")
    assert refusal(server.predictions.Predict, request) == ("INVALID_ARGUMENT", "duplicate output tensor alias: sum")
    request.output_filter[1] = "nope"
    assert refusal(server.predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: nope Outputs expected to be in the set {both,sum}.",
    )


@pytest.mark.parametrize(
    "tensor",
    [
        typed(types_pb2.DT_FLOAT, [3], tensor_content=b"1234"),
        typed(types_pb2.DT_INVALID, [1]),
        typed(types_pb2.DT_FLOAT, [-1], float_val=[1]),
        typed(types_pb2.DT_RESOURCE, [1]),
        typed(99, [1]),
    ],
    ids=["short content", "no type", "negative size", "resource", "unknown type"],
)
def test_malformed_tensors_are_refused(server: Any, tensor: tensor_pb2.TensorProto) -> None:
    assert refusal(server.predictions.Predict, predict_request("two", x=tensor)) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
    )


def test_a_tensor_that_claims_a_huge_shape_does_not_take_the_memory(server: Any) -> None:
    claimed = typed(types_pb2.DT_FLOAT, [1 << 20, 1 << 20], float_val=[1])
    code, words = refusal(server.predictions.Predict, predict_request("two", x=claimed))
    assert code == "RESOURCE_EXHAUSTED"
    assert "4398046511104 bytes" in words


@pytest.mark.parametrize("signature", ["checked", "text"])
def test_a_short_message_is_not_filled_to_a_shape_it_only_claims(server: Any, signature: str) -> None:
    """One float, or one string of a kilobyte, for two hundred million values."""
    one = {"float_val": [1.0]} if signature == "checked" else {"string_val": [b"a" * 1000]}
    claimed = typed(types_pb2.DT_FLOAT if signature == "checked" else types_pb2.DT_STRING, [1 << 24], **one)
    request = predict_request("edges", signature, **{"x" if signature == "checked" else "s": claimed})
    code, words = refusal(server.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert "holds 1 values, and " in words


def test_the_types_of_all_inputs_are_looked_at_before_any_value_is(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr("fewshot.exported.tensors.decode", lambda proto, alias: read.append(alias))
    request = predict_request("edges", "pair", a=np.zeros(1, np.float32), b=np.zeros((1, 2), np.float64))
    assert refusal(server.predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "Expects arg[1] to be float but double is provided",
    )
    assert read == []


def test_what_the_graph_refuses_is_the_clients_to_read(server: Any) -> None:
    code, words = refusal(server.predictions.Predict, predict_request("edges", "checked", x=np.zeros(0, np.float32)))
    assert code == "INVALID_ARGUMENT"
    assert "Send at least one value." in words


def test_the_deadline_stops_the_run_itself(server: Any) -> None:
    endless = predict_request("edges", "slow", steps=np.int64(10**12))
    begun = time.monotonic()
    assert refusal(server.predictions.Predict, endless, timeout=0.5)[0] == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begun < 5
    until = time.monotonic() + 10
    while server.server.busy and time.monotonic() < until:
        time.sleep(0.05)
    assert not server.server.busy, "the run goes on after its deadline"


def test_classify_and_regress(server: Any) -> None:
    for model, version in (("two", 124), ("tf2", 123)):
        request = example_request(classification_pb2.ClassificationRequest, model, "classify_x_to_y", 2.0, 4.0)
        classified = server.predictions.Classify(request, timeout=20)
        rows = classified.result.classifications
        assert [[(c.label, c.score) for c in row.classes] for row in rows] == [[("", 3.0)], [("", 4.0)]]
        assert classified.model_spec.version.value == version
        assert classified.model_spec.signature_name == "classify_x_to_y"
        request = example_request(regression_pb2.RegressionRequest, model, "regress_x_to_y", 2.0, 4.0)
        regressed = server.predictions.Regress(request, timeout=20)
        assert [r.value for r in regressed.result.regressions] == [3.0, 4.0]


def test_examples_share_a_context(server: Any) -> None:
    request = example_request(regression_pb2.RegressionRequest, "two", "regress_x_to_y", 6.0, context=True)
    assert [r.value for r in server.predictions.Regress(request, timeout=20).result.regressions] == [5.0]


def test_refusals_of_classify_and_regress(server: Any) -> None:
    ask = server.predictions
    empty = example_request(classification_pb2.ClassificationRequest, "two", "classify_x_to_y")
    assert refusal(ask.Classify, empty) == ("INVALID_ARGUMENT", "Input is empty.")
    unknown = example_request(classification_pb2.ClassificationRequest, "two", "zz", 1.0)
    assert refusal(ask.Classify, unknown) == ("INVALID_ARGUMENT", "No signature was found with the name: zz")
    unfit = example_request(classification_pb2.ClassificationRequest, "two", "", 1.0)
    code, words = refusal(ask.Classify, unfit)
    assert code == "INVALID_ARGUMENT"
    assert words.startswith("No classification inputs found in SignatureDef: ")
    unfit = example_request(regression_pb2.RegressionRequest, "two", "", 1.0)
    code, words = refusal(ask.Regress, unfit)
    assert code == "FAILED_PRECONDITION"
    assert words.startswith("No regression inputs found in SignatureDef: ")
    assert refusal(ask.Classify, classification_pb2.ClassificationRequest()) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    wrong = example_request(regression_pb2.RegressionRequest, "two", "regress_x_to_y", 1.0)
    wrong.input.example_list.examples[0].features.feature["x"].bytes_list.value.append(b"no number")
    code, words = refusal(ask.Regress, wrong)
    assert code == "INVALID_ARGUMENT"
    assert "Data types don't match" in words


def multi_inference(*tasks: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = example_request(inference_pb2.MultiInferenceRequest, "", "", 2.0)
    for model, signature, method in tasks:
        spec = model_pb2.ModelSpec(name=model, signature_name=signature)
        request.tasks.add(model_spec=spec, method_name=method)
    return request


@pytest.mark.parametrize(("model", "version"), [("two", 124), ("tf2", 123)])
def test_multi_inference(server: Any, model: str, version: int) -> None:
    """The signatures of the second model have an input tensor each."""
    request = multi_inference((model, "regress_x_to_y", REGRESS), (model, "classify_x_to_y", CLASSIFY))
    response = server.predictions.MultiInference(request, timeout=20)
    assert [r.value for r in response.results[0].regression_result.regressions] == [3.0]
    assert response.results[1].classification_result.classifications[0].classes[0].score == 3.0
    assert [r.model_spec.signature_name for r in response.results] == ["regress_x_to_y", "classify_x_to_y"]
    assert [r.model_spec.version.value for r in response.results] == [version, version]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([], ("INVALID_ARGUMENT", "ModelSpec has no name specified.")),
        ([("two", "zz", REGRESS)], ("INVALID_ARGUMENT", "Requested signature not found in model graph: zz")),
        (
            [("two", "regress_x_to_y", REGRESS)] * 2,
            ("INVALID_ARGUMENT", "Duplicate evaluation of signature: regress_x_to_y"),
        ),
        (
            [("two", "regress_x_to_y", REGRESS), ("three", "classify_x_to_y", CLASSIFY)],
            ("INVALID_ARGUMENT", "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ),
        (
            [("two", "serving_default", "tensorflow/serving/predict")],
            ("UNIMPLEMENTED", "Unsupported signature method_name: tensorflow/serving/predict"),
        ),
    ],
)
def test_refusals_of_multi_inference(server: Any, tasks: list, expected: tuple[str, str]) -> None:
    assert refusal(server.predictions.MultiInference, multi_inference(*tasks)) == expected


def test_metadata(server: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "two"
    response = server.predictions.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].name == "x:0"
    assert (response.model_spec.name, response.model_spec.version.value) == ("two", 124)

    ask = server.predictions.GetModelMetadata
    assert refusal(ask, get_model_metadata_pb2.GetModelMetadataRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.metadata_field[0] = "card"
    assert refusal(ask, request) == ("INVALID_ARGUMENT", "Metadata field card is not supported")
    del request.metadata_field[:]
    assert refusal(ask, request) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )


def test_status_lists_versions_newest_first_and_ignores_labels(server: Any) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name, request.model_spec.version_label = "two", "stable"
    found = server.models.GetModelStatus(request, timeout=20).model_version_status
    assert [(one.version, one.state, one.status.error_code) for one in found] == [(124, 30, 0), (123, 30, 0)]
    request.model_spec.version.value = 5
    ask = server.models.GetModelStatus
    assert refusal(ask, request) == ("NOT_FOUND", "Could not find version 5 of model two")
    request.model_spec.Clear()
    request.model_spec.name = "m"
    assert refusal(ask, request) == ("NOT_FOUND", "Could not find any versions of model m")
    assert refusal(ask, get_model_status_pb2.GetModelStatusRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")


def test_what_is_not_offered_is_unimplemented(server: Any) -> None:
    call = server.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refusal(call, b"")[0] == "UNIMPLEMENTED"


def test_health(server: Any) -> None:
    check = server.channel.unary_unary(
        "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    serving = HealthCheckResponse.ServingStatus.Value("SERVING")
    assert check(HealthCheckRequest(), timeout=20).status == serving
    assert check(HealthCheckRequest(service="tensorflow.serving.PredictionService"), timeout=20).status == serving
    assert refusal(check, HealthCheckRequest(service="other"))[0] == "NOT_FOUND"


def test_a_client_that_gives_up_leaves_the_server_answering(server: Any) -> None:
    futures = [
        server.predictions.Predict.future(predict_request("edges", "slow", steps=np.int64(10**12)), timeout=3)
        for _ in range(3)
    ]
    time.sleep(0.2)
    for future in futures:
        future.cancel()
    answers: list[Any] = []
    asking = [
        threading.Thread(
            target=lambda: answers.append(server.predictions.Predict(predict_request("two", x=[1.0]), timeout=30))
        )
        for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert [list(a.outputs["y"].float_val) for a in answers] == [[2.5]] * 4
