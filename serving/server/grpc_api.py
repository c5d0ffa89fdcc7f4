"""TF Serving's gRPC API, and gRPC's own health check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from fewshot.exported.status import PUSHBACK, StatusError
from serving.server.handlers import Call, Handlers, answered
from serving.server.keys import ApiKeys
from serving.server.messages import HealthCheckRequest, HealthCheckResponse
from serving.server.stopping import Stop

HEALTH_SERVICE = "grpc.health.v1.Health"
SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", HEALTH_SERVICE)
SPARE = 64  # calls beyond those that compute or wait: status, metadata, health, and refusals with our own sentence

Context: TypeAlias = grpc.aio.ServicerContext


class Services(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Both services of TF Serving."""

    def __init__(self, handlers: Handlers) -> None:
        """Answer with these handlers."""
        self._handlers = handlers

    async def Predict(self, request: Any, context: Context) -> Any:
        """Run a signature on tensors."""
        return await _answer(context, self._handlers.predict(request, _call("Predict", context)))

    async def Classify(self, request: Any, context: Context) -> Any:
        """Classify examples."""
        return await _answer(context, self._handlers.examples(request, _call("Classify", context)))

    async def Regress(self, request: Any, context: Context) -> Any:
        """Regress examples."""
        return await _answer(context, self._handlers.examples(request, _call("Regress", context)))

    async def MultiInference(self, request: Any, context: Context) -> Any:
        """Classify and regress the same examples."""
        return await _answer(context, self._handlers.multi_inference(request, _call("MultiInference", context)))

    async def GetModelMetadata(self, request: Any, context: Context) -> Any:
        """Describe a model's signatures."""
        return await _answer(context, self._handlers.metadata(request))

    async def GetModelStatus(self, request: Any, context: Context) -> Any:
        """Say where a model's versions stand."""
        return await _answer(context, self._handlers.status(request))

    async def HandleReloadConfigRequest(self, request: Any, context: Context) -> Any:
        """Serve another configuration."""
        return await _answer(context, self._handlers.reload(request))


class HealthService:
    """The standard health check: serving while every configured model has a version, and until the server drains."""

    def __init__(self, handlers: Handlers) -> None:
        """Ask these handlers."""
        self._handlers = handlers

    async def check(self, request: Any, context: Context) -> Any:
        """Answer once."""
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Unknown service {request.service[:64]!r}.")
        return self._response()

    async def watch(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """Answer now, and again at every change."""
        last = None
        while True:
            found = self._response() if request.service in SERVICES else HealthCheckResponse(status=3)
            if found != last:
                yield found
            last = found
            await asyncio.sleep(0.5)

    def _response(self) -> Any:
        return HealthCheckResponse(status=1 if self._handlers.is_serving() else 2)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service as gRPC registers it."""
        forms = {
            "request_deserializer": HealthCheckRequest.FromString,
            "response_serializer": HealthCheckResponse.SerializeToString,
        }
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, **forms),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, **forms),
            },
        )


class KeyCheck(grpc.aio.ServerInterceptor):
    """Refuses calls that show no key, before anything of them is read; health may be asked for without."""

    def __init__(self, keys: ApiKeys) -> None:
        """Let in who shows one of these."""
        self._keys = keys

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return what handles a call."""
        shown = next((value for key, value in details.invocation_metadata if key == "authorization"), "")
        if details.method.startswith(f"/{HEALTH_SERVICE}/") or self._keys.admits(shown):
            return await continuation(details)
        return grpc.stream_stream_rpc_method_handler(_refuse)


async def _refuse(_: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Show a key of this server: authorization: Bearer KEY.")
    yield  # so that this is a stream, whose messages are not waited for


def build_server(
    handlers: Handlers, arguments: Mapping[str, int | str], keys: ApiKeys | None = None
) -> grpc.aio.Server:
    """Return a gRPC server that listens nowhere yet.

    Args:
        handlers: What answers.
        keys: One of these has to be shown; None for nothing.
        arguments: Channel arguments, such as `grpc.max_connection_age_ms`; they go before our own.
    """
    limits = handlers.admission.limits
    options: dict[str, int | str] = {
        "grpc.max_receive_message_length": limits.request_bytes if limits.request_bytes < 2**31 else -1,
        "grpc.max_send_message_length": -1,
        # A client that opens a connection and says nothing, or is gone without a word, does not keep it.
        "grpc.server_handshake_timeout_ms": 10_000,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.max_connection_idle_ms": 600_000,
        "grpc.so_reuseport": 0,  # a second server on the same port is an error, not a silent share of the requests
        **arguments,
    }
    server = grpc.aio.server(
        interceptors=[] if keys is None else [KeyCheck(keys)],
        options=list(options.items()),
        maximum_concurrent_rpcs=limits.workers + limits.queue + SPARE,
    )
    services = Services(handlers)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    server.add_generic_rpc_handlers((HealthService(handlers).handler(),))
    return server


async def _answer(context: Context, work: Awaitable[Any]) -> Any:
    try:
        return await answered(work)
    except StatusError as status:
        later = () if status.retry_after is None else ((PUSHBACK, str(int(1000 * status.retry_after))),)
        await context.abort(grpc.StatusCode[status.code], str(status), later)


def _call(api: str, context: Context) -> Call:
    left = context.time_remaining()
    return Call(api, "GRPC", Stop(None if left is None else time.monotonic() + left))
