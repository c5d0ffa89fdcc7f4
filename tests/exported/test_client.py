"""The client against small servers of the same API: equal answers over gRPC and REST, and every way they can fail."""

from __future__ import annotations

import base64
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from fewshot.errors import ArtifactError, FewshotError, RecipeError, ServerError, ShapeError
from fewshot.exported.client import FewshotClient, open_predictor
from fewshot.exported.predictor import LocalPredictor
from fewshot.exported.transports import json_text, parse_target

Answer = dict[str, np.ndarray]


class Failing(Exception):
    """Ends a request with a status."""

    def __init__(self, code: str, message: str = "so it is") -> None:
        super().__init__(message)
        self.code = code


class Model:
    """What both servers serve: a SavedModel called "land", or whatever a test puts in its place."""

    def __init__(self, predictor: LocalPredictor) -> None:
        self.signatures = predictor._model.signatures
        self.seen: list[tuple[str, str, set[str]]] = []
        self.before: Callable[[], None] = lambda: None

    def answer(self, path: str, signature: str, inputs: dict[str, Any]) -> Answer:
        self.seen.append((path, signature, set(inputs)))
        self.before()
        if not path.startswith("land"):
            raise Failing("NOT_FOUND", f"Servable not found for request: Latest({path})")
        specs = self.signatures[signature].structured_input_signature[1]
        tensors = {key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()}
        try:
            outputs = self.signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise Failing("INVALID_ARGUMENT", error.message) from None
        return {key: np.asarray(value.numpy()) for key, value in outputs.items()}


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: Model) -> None:
        self.model = model

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 (gRPC's name)
        inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
        spec = request.model_spec
        path = spec.name + (f"/{spec.version.value}" if spec.HasField("version") else "")
        try:
            outputs = self.model.answer(path, spec.signature_name, inputs)
        except Failing as failing:
            context.abort(grpc.StatusCode[failing.code], str(failing))
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response


def plain(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return [plain(item) for item in value] if isinstance(value, list) else value


HTTP = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNAVAILABLE": 503}


def rest_handler(model: Model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 (http.server's name)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.removeprefix("/v1/models/").removesuffix(":predict").replace("/versions", "")
            inputs = {key: plain(value) for key, value in body["inputs"].items()}
            try:
                found = model.answer(path, body["signature_name"], inputs)
                outputs = {k: v.item().decode() if v.dtype.kind in "SO" else v.tolist() for k, v in found.items()}
                lone = len(outputs) == 1  # as TF Serving does
                status, content = 200, {"outputs": next(iter(outputs.values())) if lone else outputs}
            except Failing as failing:
                status, content = HTTP[failing.code], {"error": str(failing)}
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@pytest.fixture(scope="module")
def model(local: LocalPredictor) -> Model:
    return Model(local)


@pytest.fixture(scope="module")
def addresses(model: Model) -> Iterator[dict[str, str]]:
    """Both servers, by protocol."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    http = ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(model))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield {"grpc": f"127.0.0.1:{port}", "rest": f"http://127.0.0.1:{http.server_port}"}
    server.stop(None).wait()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, addresses: dict[str, str], model: Model) -> Iterator[FewshotClient]:
    model.seen.clear()
    model.before = lambda: None
    with FewshotClient(f"{addresses[request.param]}/land", timeout=20) as made:
        yield made
    model.before = lambda: None


def test_a_servers_answers_are_those_of_the_folder(client: FewshotClient, trained: Any, local: LocalPredictor) -> None:
    assert client.card() == local.card()
    support_x, labels, query_x = trained.task((1, 3, 2))
    weight = np.array([1, 2, 1, 0, 1, 1])
    for options in ({}, {"steps": 0}, {"support_weight": weight}):
        ours = client.adapt_and_predict(support_x, labels, query_x, **options)
        theirs = local.adapt_and_predict(support_x, labels, query_x, **options)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-6)
        np.testing.assert_array_equal(ours.class_index, theirs.class_index)
        assert (ours.probabilities.dtype.name, ours.class_index.dtype.name) == ("float32", "int32")
        assert ours.support_loss is not None
        assert tuple(ours.support_loss) == pytest.approx(theirs.support_loss, rel=1e-5)
    adapted = client.adapt(support_x, labels)
    assert adapted.classes == 3
    np.testing.assert_allclose(
        client.predict(adapted, query_x).probabilities,
        local.predict(local.adapt(support_x, labels), query_x).probabilities,
        atol=1e-6,
    )


def test_refusals_are_our_errors_and_final(client: FewshotClient, model: Model, trained: Any) -> None:
    support_x, labels, _ = trained.task()
    client.card()
    model.seen.clear()
    with pytest.raises(ShapeError, match=r"^support_x holds no picture; expected at least 1\.$"):
        client.adapt(support_x[:0], labels[:0])
    assert len(model.seen) == 1


def test_a_missing_model_or_signature_is_named(addresses: dict[str, str], client: FewshotClient) -> None:
    with (
        FewshotClient(client.address.server, model="sea") as other,
        pytest.raises(ArtifactError, match=r"model sea: Servable not found .*`fewshot export`"),
    ):
        other.card()
    with pytest.raises(ArtifactError, match="no signature fly"):
        client.call("fly", {})


def test_a_version_is_asked_for(client: FewshotClient, model: Model) -> None:
    with FewshotClient(client.address.server, model="land", version=7) as pinned:
        pinned.card()
    assert model.seen[-1][0] == "land/7"


def test_a_server_that_comes_late_is_waited_for(client: FewshotClient, model: Model, trained: Any) -> None:
    client.card()
    model.seen.clear()

    def twice() -> None:
        if len(model.seen) <= 2:
            raise Failing("UNAVAILABLE")

    model.before = twice
    client.adapt(*trained.task()[:2])
    assert len(model.seen) == 3


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "INTERNAL"])
def test_other_failures_are_not_tried_again(client: FewshotClient, model: Model, trained: Any, code: str) -> None:
    client.card()
    model.seen.clear()

    def always() -> None:
        raise Failing(code)

    model.before = always
    with pytest.raises(ServerError, match="so it is") as error:
        client.adapt(*trained.task()[:2])
    assert error.value.code == (code if code == "RESOURCE_EXHAUSTED" else error.value.code)
    assert isinstance(error.value, FewshotError)
    assert isinstance(error.value, ConnectionError)
    assert len(model.seen) == 1


def test_a_deadline_is_kept(client: FewshotClient, model: Model, trained: Any) -> None:
    client.card()
    client.timeout = 0.3
    model.before = lambda: time.sleep(1)
    start = time.monotonic()
    with pytest.raises(ServerError, match="Allow more time") as error:
        client.adapt(*trained.task()[:2])
    assert error.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 0.9


@pytest.mark.parametrize("target", ["127.0.0.1:9/land", "http://127.0.0.1:9/land"])
def test_a_server_that_is_not_there_is_said_to_be_so(target: str) -> None:
    with (
        FewshotClient(target, retries=1, timeout=5) as nobody,
        pytest.raises(ServerError, match="Is the server running"),
    ):
        nobody.card()


def test_what_is_no_model_server_is_said_to_be_none(addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with FewshotClient(addresses["rest"], model="land") as client:
        monkeypatch.setattr(client._transport, "_url", f"{addresses['rest']}/elsewhere")
        with pytest.raises(ArtifactError, match="Servable not found"):
            client.card()


def test_messages_beyond_grpcs_own_limit_of_4_mb_pass(addresses: dict[str, str], trained: Any) -> None:
    support_x, labels, query_x = trained.task()
    many = np.tile(query_x, (260, 1, 1, 1))
    assert many.nbytes > 5 << 20
    with FewshotClient(f"{addresses['grpc']}/land") as client:
        probabilities = client.predict(client.adapt(support_x, labels), many).probabilities
    np.testing.assert_allclose(probabilities[-5:], probabilities[:5], atol=1e-6)


@pytest.mark.slow
def test_pictures_travel_over_rest_as_files(
    pictures: Any, local_pictures: LocalPredictor, addresses: dict[str, str], model: Model
) -> None:
    local = local_pictures
    support_x, labels, query_x = pictures.task((2, 2))
    expected = local.adapt_and_predict(support_x, labels, query_x).probabilities
    kept = model.signatures
    model.signatures = local._model.signatures
    try:
        model.seen.clear()
        with FewshotClient(addresses["rest"], model="land") as client:
            for x in (support_x.astype(np.uint8), support_x):
                answer = client.adapt_and_predict(x, labels, query_x)
                np.testing.assert_allclose(answer.probabilities, expected, atol=1e-6)
            client.adapt_and_predict(support_x + 0.5, labels, query_x)
            assert client.predict_base(query_x).probabilities.shape == (5, 3)
        signatures = [signature for _, signature, _ in model.seen]
        encoded = "adapt_and_predict_encoded"
        assert signatures == ["card", encoded, encoded, "adapt_and_predict", "predict_base"]
        assert model.seen[1][2] == {"support_bytes", "support_y", "query_bytes", "steps"}
    finally:
        model.signatures = kept


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:8500", ("localhost:8500", "default", None)),
        ("localhost:8500/land", ("localhost:8500", "land", None)),
        ("[::1]:8500/land", ("[::1]:8500", "land", None)),
        ("http://localhost:8501", ("http://localhost:8501", "default", None)),
        ("http://localhost:8501/", ("http://localhost:8501", "default", None)),
        ("https://maps.example/land", ("https://maps.example", "land", None)),
        ("grpcs://maps.example:8500/land", ("grpcs://maps.example:8500", "land", None)),
        ("http://localhost:8501/v1/models/land/versions/3", ("http://localhost:8501", "land", 3)),
        ("unix:/run/model.sock", ("unix:/run/model.sock", "default", None)),
    ],
)
def test_targets_are_read(target: str, expected: tuple[str, str, int | None]) -> None:
    address = parse_target(target)
    assert (address.server, address.model, address.version) == expected
    assert address.rest == target.startswith("http")


@pytest.mark.parametrize(
    "target", ["", "localhost", "models/land", "ftp://localhost:21/land", "localhost:x", "grpcs://localhost"]
)
def test_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(RecipeError, match="host:port/model"):
        parse_target(target)


def test_one_call_opens_folders_and_servers(trained: Any, addresses: dict[str, str]) -> None:
    with open_predictor(f"{addresses['grpc']}/land") as remote:
        assert isinstance(remote, FewshotClient)
        assert remote.card() == trained.card
    with open_predictor(addresses["rest"]) as rest:
        assert isinstance(rest, FewshotClient)
    with open_predictor(trained.folder) as local:
        assert isinstance(local, LocalPredictor)


def test_predictors_travel_as_where_their_model_is(trained: Any, addresses: dict[str, str]) -> None:
    with FewshotClient(f"{addresses['grpc']}/land", version=1, timeout=7, retries=1, message_bytes=1 << 20) as client:
        with pickle.loads(pickle.dumps(client)) as again:
            assert again.address == client.address and again.card() == trained.card
            assert (again.timeout, again.retries) == (7, 1)
            assert pickle.dumps(again) == pickle.dumps(client)
    local = pickle.loads(pickle.dumps(LocalPredictor(trained.folder.parent)))
    assert local.folder == trained.folder.resolve() and local.card() == trained.card


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int32]), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)
    )
)
@settings(max_examples=200, deadline=None)
def test_arrays_are_read_back_as_they_were_written(values: Any) -> None:
    values = np.asarray(values)
    read = np.array(json.loads(json_text(values)), values.dtype).reshape(values.shape)
    np.testing.assert_array_equal(read, values)


def test_bytes_are_written_as_objects_and_text_as_text() -> None:
    assert json.loads(json_text(np.array([b"\xff"], object))) == [{"b64": "/w=="}]
    assert json_text(np.array(b"card.json", object)) == b'"card.json"'
