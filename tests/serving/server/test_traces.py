"""Requests are followed for OpenTelemetry where that is asked for, and nothing of it is there otherwise."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from fewshot.errors import RecipeError
from serving.server.flags import ServeOptions
from serving.server.metrics import OTHER
from serving.server.server import ModelServer
from serving.server.traces import OpenTelemetryTraces, Traces
from tests.serving.requests import predict_request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
BODY = {"signature_name": "scalar", "inputs": 2}


@pytest.fixture
def follow(server: Any) -> Iterator[Callable[[], list[Any]]]:
    """The spans of the server's requests so far, first those that ended first."""
    export = pytest.importorskip("opentelemetry.sdk.trace.export", reason="the extra `telemetry` is not installed")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    handlers = server.server._handlers
    before, handlers.traces = handlers.traces, OpenTelemetryTraces(export.SimpleSpanProcessor(memory))
    yield lambda: list(memory.get_finished_spans())
    handlers.traces.close()
    handlers.traces = before


def names(spans: list[Any]) -> list[str]:
    return [span.name for span in spans]


def test_a_request_over_grpc_is_a_span_in_the_clients_trace(server: Any, follow: Callable) -> None:
    request = predict_request("edges", "scalar", x=np.float32(2))
    server.predictions.Predict(request, timeout=20, metadata=tuple(PARENT.items()))
    compute, whole = follow()
    assert (compute.name, whole.name) == ("compute", "GRPC Predict")
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert whole.parent is not None and whole.parent.is_remote
    assert compute.parent.span_id == whole.context.span_id
    assert dict(whole.attributes) == {"fewshot.model": "edges", "fewshot.code": "OK"}
    assert whole.kind.name == "SERVER"
    assert whole.start_time <= compute.start_time <= compute.end_time <= whole.end_time


def test_a_request_over_rest_is_received_and_computed(server: Any, follow: Callable) -> None:
    assert server.rest.post("/v1/models/edges:predict", json=BODY, headers=PARENT).status_code == 200
    server.rest.post("/v2/models/edges:scalar/infer", json={})
    assert names(follow()) == ["receive", "compute", "REST predict", "receive", "compute", "REST infer"]
    first, second = (span for span in follow() if span.kind.name == "SERVER")
    assert f"{first.context.trace_id:032x}" == TRACE != f"{second.context.trace_id:032x}"
    assert second.attributes["fewshot.code"] == "INVALID_ARGUMENT"


def test_what_is_refused_says_its_code_and_no_word_of_the_client(
    server: Any, follow: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(grpc.RpcError):
        server.predictions.Predict(predict_request("invented", "secret"), timeout=20)
    server.rest.post("/v1/models/edges:predict", json={"signature_name": "secret", "inputs": 2})
    monkeypatch.setattr("serving.server.inference.predict", lambda *_, **__: 1 / 0)
    with pytest.raises(grpc.RpcError):
        server.predictions.Predict(predict_request("edges", "scalar", x=np.float32(2)), timeout=20)
    found = [span for span in follow() if span.kind.name == "SERVER"]
    assert [(span.attributes["fewshot.model"], span.attributes["fewshot.code"]) for span in found] == [
        (OTHER, "NOT_FOUND"),
        ("edges", "INVALID_ARGUMENT"),
        ("edges", "INTERNAL"),
    ]
    assert [span.status.status_code.name for span in found] == ["UNSET", "UNSET", "ERROR"]
    assert "secret" not in "".join(span.to_json() for span in follow())


def test_spans_are_sent_where_opentelemetrys_own_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra `telemetry` is not installed"
    )
    came: list[tuple[str, Any]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((self.path, messages.ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.handle_request, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        traces = OpenTelemetryTraces()
        with traces.request("GRPC Predict", "land", {}):
            pass
        traces.close()
    ((path, sent),) = came
    (resource,) = sent.resource_spans
    assert path == "/v1/traces"
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "fewshot"
    assert [span.name for span in resource.scope_spans[0].spans] == ["GRPC Predict"]


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, edges: Path) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(RecipeError, match=r"pip install 'fewshot\[telemetry\]'"):
        ModelServer(ServeOptions({"edges": edges}, enable_traces=True))


def test_it_is_off_unless_it_is_asked_for(edges: Path) -> None:
    assert type(ModelServer(ServeOptions({"edges": edges}))._traces) is Traces
