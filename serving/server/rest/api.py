"""Both REST APIs, TF Serving's and the Open Inference Protocol, metrics, health and pages about them, as ASGI has it.

What is computed is computed in the pool: documents are read and answers are written there too.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from fewshot.exported.status import StatusError, invalid
from serving.server.handlers import METADATA, Call, Handlers, answered
from serving.server.inference import DEFAULT_SIGNATURE, predict
from serving.server.rest import requests, responses
from serving.server.rest.bodies import read_body
from serving.server.rest.documents import read_document, read_predict_document
from serving.server.rest.openapi import PAGES
from serving.server.servables import Servable
from serving.server.stopping import Stop
from serving.server.v2 import rest as v2

MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
COMPUTE = re.compile(MODEL + r":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
DESCRIBE = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE | re.ASCII
)
API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
V2 = re.compile(r"/v2(/.*)?", re.DOTALL)
T = TypeVar("T")
METRICS_PATH = "/monitoring/prometheus/metrics"
NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
}
EXAMPLES: dict[str, tuple[type[Any], Callable[[Any], bytes]]] = {
    "classify": (classification_pb2.ClassificationRequest, responses.from_classification),
    "regress": (regression_pb2.RegressionRequest, responses.from_regression),
}
"""Methods on examples: what is asked of a model, and what writes the result."""


class RestApi:
    """Answers HTTP requests, each path and query as they were sent: TF Serving's are case-insensitive patterns."""

    def __init__(
        self, handlers: Handlers, *, timeout: float, patience: float, cors: bool, metrics_path: str | None
    ) -> None:
        """Answer with these handlers.

        Args:
            handlers: What answers.
            timeout: Seconds for one request, reading it included; 0 for no limit.
            patience: Seconds that a body may come more slowly than `LEAST_RATE`.
            cors: Whether browsers of other sites may call it.
            metrics_path: Where the metrics are; None for nowhere.
        """
        self._handlers = handlers
        self._timeout, self._patience = timeout, patience
        self._cors, self._metrics_path = cors, metrics_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI servers ask for it."""
        response = await self.respond(Request(scope, receive, send))
        await response(scope, receive, send)

    async def respond(self, request: Request) -> Response:
        """Answer one request."""
        path = _raw_path(request.scope)
        plain = path.partition("?")[0]
        if plain == self._metrics_path:
            if path != plain:
                text = f"Unexpected path: {path}. Should be {plain}"
                return Response(text, 400, media_type="text/plain")
            return Response(self._handlers.metrics.page(), media_type="text/plain")
        if plain in ("/health", "/healthz"):
            serving = self._handlers.is_serving()
            return Response("ok\n" if serving else "not serving\n", 200 if serving else 503, media_type="text/plain")
        if plain in PAGES:
            content, media_type = PAGES[plain]
            return Response(content, media_type=media_type)
        first, second = API.fullmatch(path), V2.fullmatch(plain)
        if not first and not second:
            return Response(NOT_FOUND, 404, media_type="text/html")
        if self._cors and request.method == "OPTIONS":
            return Response(b"", 200, headers=CORS)
        try:
            if second:
                response = await answered(self._answer_v2(request, plain))
            else:
                response = Response(await answered(self._answer(request, path)), media_type="application/json")
        except StatusError as status:
            response = Response(responses.from_error(status), status.http, media_type="application/json")
            if status.retry_after is not None:
                response.headers["Retry-After"] = str(math.ceil(status.retry_after))
        response.headers.update(CORS if self._cors else {})
        return response

    async def _answer(self, request: Request, path: str) -> bytes:
        if request.method == "POST" and (match := COMPUTE.fullmatch(path)):
            name, version, label, method = match.groups()
            if method == "predict" or method in EXAMPLES:
                spec, call = _model_spec(name, version, label), self._call(method, request)
                return await self._in_pool(request, spec, call, lambda body: self._compute(spec, body, call))
        if request.method == "GET" and (match := DESCRIBE.fullmatch(path)):
            name, version, label, metadata = match.groups()
            if not name:
                raise invalid("Missing model name in request.")
            spec = _model_spec(name, version, label)
            if metadata == "metadata":
                about = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[METADATA])
                return responses.from_metadata(await self._handlers.metadata(about))
            asked = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
            return responses.from_status(await self._handlers.status(asked))
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _answer_v2(self, request: Request, path: str) -> Response:
        if request.method == "GET" and (found := v2.describe(self._handlers, path)) is not None:
            return found
        match = v2.MODEL.fullmatch(path)
        if request.method != "POST" or match is None or match[3] != "infer":
            raise StatusError("NOT_FOUND", f"There is no {request.method} {path}.")
        spec, call = v2.read_path(match), self._call("infer", request)
        return await self._in_pool(
            request, spec, call, lambda body: v2.infer(self._handlers, spec, call, request, body)
        )

    def _call(self, api: str, request: Request) -> Call:
        deadline = time.monotonic() + self._timeout if self._timeout > 0 else None
        return Call(api, "REST", Stop(deadline), request.headers)

    async def _in_pool(
        self, request: Request, spec: model_pb2.ModelSpec, call: Call, work: Callable[[bytearray], T]
    ) -> T:
        """Read a body, and let a thread of the pool make the answer of it."""
        admission, client = self._handlers.admission, request.client.host if request.client else ""
        with self._handlers.counted(spec, call), admission.holding(client) as hold:
            with self._handlers.traces.part("receive"):
                body = await read_body(
                    request, hold, admission.check_size, grace=self._patience, deadline=call.stop.deadline
                )
            watching = asyncio.create_task(_stop_when_gone(request.receive, call.stop))
            try:
                return await admission.run(lambda: work(body), call.stop)
            finally:
                watching.cancel()

    def _compute(self, spec: model_pb2.ModelSpec, body: bytearray, call: Call) -> bytes:
        """Read a document, run it and write the answer; all of it in the pool."""
        document = (read_predict_document if call.api == "predict" else read_document)(body)
        spec.signature_name = requests.signature_name(document)
        if call.api == "predict":
            return self._handlers.run_on(
                spec, call, lambda servable: self._predict(servable, spec, document, call.stop)
            )
        request_type, write = EXAMPLES[call.api]
        request = request_type(model_spec=spec, input=requests.examples_input(document))
        return write(self._handlers.run_examples(request, call).result)

    def _predict(self, servable: Servable, spec: model_pb2.ModelSpec, document: dict[str, Any], stop: Stop) -> bytes:
        name = spec.signature_name or DEFAULT_SIGNATURE
        if name not in servable.signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        infos = servable.signatures[name].inputs
        if not infos:
            raise invalid(f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}")
        arrays, rows = requests.predict_inputs(document, infos)
        document.clear()  # large, and read
        with self._handlers.spending(servable, name, arrays):
            outputs = predict(servable, spec, arrays, stop=stop)
        return responses.from_tensors(outputs, rows=rows)


def _raw_path(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    return path.decode("latin-1")


def _model_spec(name: str, version: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(name))
    if version is not None:
        if int(version) >= 2**63:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = unquote(label)
    return spec


async def _stop_when_gone(receive: Receive, stop: Stop) -> None:
    """Stop a computation when its client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stop.now()
