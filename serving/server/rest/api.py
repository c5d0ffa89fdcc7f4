"""TF Serving's REST API, its metrics page, and health checks, as an ASGI application."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from fewshot.exported.status import StatusError, invalid
from serving.server.handlers import METADATA, Call, Handlers, answered
from serving.server.rest import responses
from serving.server.rest.methods import METHODS, compute

MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
COMPUTE = re.compile(MODEL + r":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
DESCRIBE = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE | re.ASCII
)
API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
UNPACKED_AT_A_TIME = 4 << 20
METRICS_PATH = "/monitoring/prometheus/metrics"
NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True)
class RestOptions:
    """How the REST API behaves.

    Attributes:
        timeout: Seconds for one request, reading it included; 0 for no limit.
        cors: Whether browsers of other sites may call it.
        metrics_path: Where the metrics are; None for nowhere.
    """

    timeout: float = 30.0
    cors: bool = False
    metrics_path: str | None = METRICS_PATH


class RestApi:
    """Answers HTTP requests."""

    def __init__(self, handlers: Handlers, options: RestOptions, *, is_serving: Callable[[], bool]) -> None:
        """Answer with these handlers.

        Args:
            handlers: What answers.
            options: How.
            is_serving: What the health check says.
        """
        self._handlers = handlers
        self._options = options
        self._is_serving = is_serving
        # One route: TF Serving's paths are case-insensitive patterns over path and query as they were sent.
        self.app = Starlette(routes=[Route("/{path:path}", _Endpoint(self.respond))])

    async def respond(self, request: Request) -> Response:
        """Answer one request."""
        path = _raw_path(request.scope)
        plain = path.partition("?")[0]
        if plain == self._options.metrics_path:
            return self._metrics(path)
        if plain in ("/health", "/healthz"):
            serving = self._is_serving()
            return Response("ok\n" if serving else "not serving\n", 200 if serving else 503, media_type="text/plain")
        if not API.fullmatch(path):
            return Response(NOT_FOUND, 404, media_type="text/html")
        if self._options.cors and request.method == "OPTIONS":
            return Response(b"", 200, headers=CORS)
        try:
            content, code = await answered(self._answer(request, path)), 200
        except StatusError as status:
            content, code = responses.from_error(status), status.http
        return Response(content, code, headers=CORS if self._options.cors else None, media_type="application/json")

    async def _answer(self, request: Request, path: str) -> bytes:
        deadline = time.monotonic() + self._options.timeout if self._options.timeout > 0 else None
        if request.method == "POST" and (match := COMPUTE.fullmatch(path)):
            name, version, label, method = match.groups()
            if method in METHODS:
                spec = _model_spec(name, version, label)
                with self._handlers.admission.holding() as hold:
                    body = await _in_time(_read_body(request, hold), deadline)
                    return await compute(self._handlers, spec, body, Call(method, "REST", deadline))
        if request.method == "GET" and (match := DESCRIBE.fullmatch(path)):
            name, version, label, metadata = match.groups()
            if not name:
                raise invalid("Missing model name in request.")
            spec = _model_spec(name, version, label)
            if metadata == "metadata":
                return responses.from_metadata(
                    self._handlers.metadata(
                        get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[METADATA])
                    )
                )
            return responses.from_status(
                self._handlers.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
            )
        raise invalid(f"Malformed request: {request.method} {path}")

    def _metrics(self, path: str) -> Response:
        if path != self._options.metrics_path:
            text = f"Unexpected path: {path}. Should be {self._options.metrics_path}"
            return Response(text, 400, media_type="text/plain")
        return Response(self._handlers.metrics.page(), media_type="text/plain")


class _Endpoint:
    """An ASGI application of one function; as a bare function Starlette would answer some methods itself."""

    def __init__(self, respond: Callable[[Request], Awaitable[Response]]) -> None:
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._respond(request)
        await response(scope, receive, send)


def _raw_path(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    path = path.partition(b"?")[0]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _model_spec(name: str, version: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(name))
    if version is not None:
        if int(version) >= 2**63:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = unquote(label)
    return spec


async def _in_time(reading: Awaitable[bytes], deadline: float | None) -> bytes:
    left = None if deadline is None else max(deadline - time.monotonic(), 0)
    try:
        return await asyncio.wait_for(reading, left)
    except TimeoutError:
        raise StatusError("DEADLINE_EXCEEDED", "The deadline passed while the request was read.") from None
    except ClientDisconnect:
        raise StatusError("CANCELLED", "The client went away while the request was read.") from None


async def _read_body(request: Request, hold: Callable[[int], None]) -> bytes:
    """Read a body, counting its bytes as they come, unpacked where it is packed."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit():
        hold(int(declared))
    chunks = []
    async for chunk in request.stream():
        if not declared:
            hold(len(chunk))
        chunks.append(chunk)
    body = b"".join(chunks)
    if "gzip" not in request.headers.get("content-encoding", ""):
        return body
    return await _unpacked(body, hold)


async def _unpacked(body: bytes, hold: Callable[[int], None]) -> bytes:
    """Unpack gzip; a body that cannot be unpacked is taken for an empty one, as TF Serving takes it."""
    unpacker = zlib.decompressobj(wbits=31)
    parts, rest = [], body
    try:
        while rest and not unpacker.eof:
            part = await asyncio.to_thread(unpacker.decompress, rest, UNPACKED_AT_A_TIME)
            hold(len(part))
            parts.append(part)
            rest = unpacker.unconsumed_tail
    except zlib.error:
        return b""
    return b"".join(parts) if unpacker.eof else b""
