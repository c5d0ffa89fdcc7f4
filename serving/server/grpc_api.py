"""Both gRPC APIs, TF Serving's and the Open Inference Protocol, and gRPC's own health check."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from fewshot.exported.status import PUSHBACK, StatusError, invalid
from serving.server.handlers import Call, Handlers, answered
from serving.server.keys import ApiKeys
from serving.server.stopping import Stop
from serving.server.v2 import messages as v2_messages
from serving.server.v2.messages import SERVICE as INFERENCE_SERVICE
from serving.server.v2.messages import message
from serving.server.v2.rpc import InferenceService

PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
SERVICES = ("", PREDICTION_SERVICE, MODEL_SERVICE, INFERENCE_SERVICE, health.SERVICE_NAME)
TELL_EVERY = 0.5  # seconds
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
    """Return the services of both protocols and their calls by name, answered by these handlers."""

    def computing(api: str, work: Callable[[Any, Call], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        return lambda request, context: work(request, _call(api, context))

    def plain(work: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        return lambda request, _: work(request)

    inference = InferenceService(handlers)
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
        INFERENCE_SERVICE: {
            "ServerLive": Rpc(message("ServerLiveRequest"), plain(inference.server_live)),
            "ServerReady": Rpc(message("ServerReadyRequest"), plain(inference.server_ready)),
            "ModelReady": Rpc(message("ModelReadyRequest"), plain(inference.model_ready)),
            "ServerMetadata": Rpc(message("ServerMetadataRequest"), plain(inference.server_metadata)),
            "ModelMetadata": Rpc(message("ModelMetadataRequest"), plain(inference.model_metadata)),
            "ModelInfer": Rpc(message("ModelInferRequest"), computing("ModelInfer", inference.infer)),
        },
    }


class Health:
    """gRPC's own health check: serving while every configured model has a version, and until the server drains.

    Attributes:
        servicer: What answers.
    """

    def __init__(self, handlers: Handlers) -> None:
        """Ask these handlers."""
        self.servicer = health.aio.HealthServicer()
        self._handlers = handlers

    async def follow(self) -> None:
        """Tell every change, as long as this is awaited."""
        told = None
        while True:
            serving = self._handlers.is_serving()
            if serving != told:
                status = (
                    health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
                )
                for service in SERVICES:
                    await self.servicer.set(service, status)
            told = serving
            await asyncio.sleep(TELL_EVERY)


class BothPools:
    """The messages of both protocols, as reflection looks them up."""

    def __init__(self, *pools: descriptor_pool.DescriptorPool) -> None:
        """Look in these, one after the other."""
        self._pools = pools

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return one of the pools' methods, which looks in all of them."""

        def find(*arguments: Any) -> Any:
            for pool in self._pools[:-1]:
                with contextlib.suppress(KeyError):
                    return getattr(pool, name)(*arguments)
            return getattr(self._pools[-1], name)(*arguments)

        return find


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
        if details.method.startswith(f"/{health.SERVICE_NAME}/") or self._keys.admits(shown):
            return await continuation(details)
        return grpc.stream_stream_rpc_method_handler(_refuse)


async def _refuse(_: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Show a key of this server: authorization: Bearer KEY.")
    yield  # so that this is a stream, whose messages are not waited for


def build_server(
    handlers: Handlers, arguments: Mapping[str, int | str], told: Health, keys: ApiKeys | None = None
) -> grpc.aio.Server:
    """Return a gRPC server that listens nowhere yet.

    Args:
        handlers: What answers.
        told: Answers health checks.
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
    server.add_generic_rpc_handlers(tuple(ours))
    health_pb2_grpc.add_HealthServicer_to_server(told.servicer, server)
    pools = BothPools(descriptor_pool.Default(), v2_messages.POOL)
    reflection.enable_server_reflection((*SERVICES[1:], reflection.SERVICE_NAME), server, pool=pools)
    return server


def _method(rpc: Rpc) -> grpc.RpcMethodHandler:
    """Return a call as gRPC registers it."""

    def read(data: bytes) -> Any:
        try:
            return rpc.request.FromString(data)
        except DecodeError:  # gRPC would answer with the name of the exception, as if the server had failed
            return None

    async def answer(request: Any, context: Context) -> Any:
        # Not by `abort`: its exception and the call hold each other, and with them the request.
        try:
            if request is None:
                raise invalid(f"This is no {rpc.request.DESCRIPTOR.full_name}.")
            return await answered(rpc.answer(request, context))
        except StatusError as status:
            context.set_code(grpc.StatusCode[status.code])
            context.set_details(str(status))
            if status.retry_after is not None:
                context.set_trailing_metadata(((PUSHBACK, str(int(1000 * status.retry_after))),))
            return None

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=read, response_serializer=lambda message: message.SerializeToString()
    )


def _call(api: str, context: Context) -> Call:
    left = context.time_remaining()
    stop = Stop(None if left is None else time.monotonic() + left)
    return Call(api, "GRPC", stop, dict(context.invocation_metadata() or ()))
