"""TF Serving's gRPC API, and gRPC's own health check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from fewshot.exported.status import PUSHBACK, StatusError
from serving.server.handlers import Call, Handlers, answered
from serving.server.keys import ApiKeys
from serving.server.messages import HealthCheckRequest, HealthCheckResponse
from serving.server.stopping import Stop

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
HEALTH_SERVICE = "grpc.health.v1.Health"
SERVICES = ("", PREDICTION_SERVICE, MODEL_SERVICE, HEALTH_SERVICE)
SPARE = 64  # calls beyond those that compute or wait: status, metadata, health, and refusals with our own sentence

Context: TypeAlias = grpc.aio.ServicerContext


class Rpc(NamedTuple):
    """One call of a service.

    Attributes:
        request: The message that is sent.
        answer: Answers one, in its context.
    """

    request: type[Any]
    answer: Callable[[Any, Context], Awaitable[Any]]


def services(handlers: Handlers) -> dict[str, dict[str, Rpc]]:
    """Return TF Serving's services and their calls by name, answered by these handlers."""

    def computing(api: str, work: Callable[[Any, Call], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        return lambda request, context: work(request, _call(api, context))

    def plain(work: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        return lambda request, _: work(request)

    return {
        PREDICTION_SERVICE: {
            "Predict": Rpc(predict_pb2.PredictRequest, computing("Predict", handlers.predict)),
            "Classify": Rpc(classification_pb2.ClassificationRequest, computing("Classify", handlers.examples)),
            "Regress": Rpc(regression_pb2.RegressionRequest, computing("Regress", handlers.examples)),
            "MultiInference": Rpc(
                inference_pb2.MultiInferenceRequest, computing("MultiInference", handlers.multi_inference)
            ),
            "GetModelMetadata": Rpc(get_model_metadata_pb2.GetModelMetadataRequest, plain(handlers.metadata)),
        },
        MODEL_SERVICE: {
            "GetModelStatus": Rpc(get_model_status_pb2.GetModelStatusRequest, plain(handlers.status)),
            "HandleReloadConfigRequest": Rpc(model_management_pb2.ReloadConfigRequest, plain(handlers.reload)),
        },
    }


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
    ours = (
        grpc.method_handlers_generic_handler(service, {name: _method(rpc) for name, rpc in rpcs.items()})
        for service, rpcs in services(handlers).items()
    )
    server.add_generic_rpc_handlers((*ours, HealthService(handlers).handler()))
    return server


def _method(rpc: Rpc) -> grpc.RpcMethodHandler:
    """Return a call as gRPC registers it."""

    def read(data: bytes) -> Any:
        try:
            return rpc.request.FromString(data)
        except DecodeError:  # gRPC would answer with the name of the exception, as if the server had failed
            return None

    async def answer(request: Any, context: Context) -> Any:
        if request is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"This is no {rpc.request.DESCRIPTOR.full_name}.")
        try:
            return await answered(rpc.answer(request, context))
        except StatusError as status:
            later = () if status.retry_after is None else ((PUSHBACK, str(int(1000 * status.retry_after))),)
            await context.abort(grpc.StatusCode[status.code], str(status), later)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=read, response_serializer=lambda message: message.SerializeToString()
    )


def _call(api: str, context: Context) -> Call:
    left = context.time_remaining()
    return Call(api, "GRPC", Stop(None if left is None else time.monotonic() + left))
