"""What both APIs do with a request once it is read: find the version, let it in, run it, count it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from fewshot.exported.status import CODES, StatusError, invalid
from serving.server import inference
from serving.server.config import ServerConfig
from serving.server.cost import work_of
from serving.server.limits import Admission
from serving.server.metrics import OTHER, Metrics
from serving.server.servables import Servable
from serving.server.status import as_status, refusal
from serving.server.stopping import Stop
from serving.server.traces import Traces
from serving.server.versions import Versions

METADATA = "signature_def"
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """What is known of a request before it is read.

    Attributes:
        api: As TF Serving's metrics name it: `Predict` in gRPC, `predict` in REST.
        entry: `GRPC` or `REST`.
        stop: Ends it before it is answered.
        sent: What came with it: headers or metadata.
    """

    api: str
    entry: str
    stop: Stop = field(default_factory=Stop)
    sent: Mapping[str, str] = field(default_factory=dict)


class Handlers:
    """Answers requests of one server; its methods belong to the event loop."""

    def __init__(self, versions: Versions, admission: Admission, metrics: Metrics, traces: Traces) -> None:
        """Answer with these models, within these limits.

        Args:
            versions: What is served.
            admission: Where TensorFlow runs.
            metrics: Where requests are counted.
            traces: Where requests are followed.
        """
        self.versions = versions
        self.admission = admission
        self.metrics, self.traces = metrics, traces
        self.draining = False
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="reload")

    def is_serving(self) -> bool:
        """Return whether requests are answered: models are loaded and the server is not stopping."""
        return not self.draining and self.versions.ready()

    async def predict(self, request: predict_pb2.PredictRequest, call: Call) -> predict_pb2.PredictResponse:
        """Answer Predict."""
        _require_spec(request)
        spec = request.model_spec
        with self.counted(spec, call), self.spending(self.versions.find(spec), spec.signature_name, request.inputs):
            return await self._compute(spec, call, lambda s: inference.run_predict(s, request, call.stop))

    async def examples(self, request: inference.ExamplesRequest, call: Call) -> inference.ExamplesResponse:
        """Answer Classify or Regress."""
        _require_spec(request)
        with self.counted(request.model_spec, call):
            return await self.admission.run(lambda: self.run_examples(request, call), call.stop)

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, call: Call
    ) -> inference_pb2.MultiInferenceResponse:
        """Answer MultiInference; the first task says which model."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self.counted(spec, call):
            return await self._compute(spec, call, lambda s: inference.run_multi_inference(s, request, call.stop))

    async def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answer GetModelMetadata.

        Raises:
            StatusError: INVALID_ARGUMENT for other fields than the signatures, and as `Versions.find` does.
        """
        _require_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for asked in request.metadata_field:
            if asked != METADATA:
                raise invalid(f"Metadata field {asked} is not supported")
        servable = self.versions.find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata[METADATA].Pack(signatures)
        return response

    async def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Answer GetModelStatus."""
        _require_spec(request)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state in self.versions.states(request.model_spec).items():
            response.model_version_status.add(
                version=version,
                state=get_model_status_pb2.ModelVersionStatus.State.Value(state.stage),
                status={"error_code": CODES[state.code].number, "error_message": state.message},
            )
        return response

    async def reload(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Answer HandleReloadConfigRequest: serve another configuration, and return when its new models serve.

        Raises:
            StatusError: INVALID_ARGUMENT for another kind of configuration, and as `Versions.configure` does.
        """
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        config = ServerConfig()
        config.CopyFrom(request.config)
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self._changes, self.versions.configure, config))
        return model_management_pb2.ReloadConfigResponse(status={"error_code": 0})

    def close(self) -> None:
        """Let go of the threads."""
        self.admission.close()
        self._changes.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def counted(self, spec: model_pb2.ModelSpec, call: Call) -> Iterator[None]:
        """Count a request to a model, time and follow it, refused or answered; one to no model is refused at once.

        Args:
            spec: Names the model, and its version if not the newest.
            call: What is known of the request.

        Raises:
            StatusError: as `Versions.find` does.
        """
        begun = time.monotonic()
        # What is counted is named by us: clients could invent names without end.
        name = spec.name if self.versions.knows(spec.name) else OTHER
        try:
            with self.traces.request(f"{call.entry} {call.api}", name, call.sent):
                self.versions.find(spec)
                yield
        except BaseException as error:
            self.metrics.requests.add(name, as_status(error).code)
            raise
        self.metrics.requests.add(name, "OK")
        self.metrics.latency.add(name, call.api, call.entry, sample=(time.monotonic() - begun) * 1e6)

    @contextmanager
    def spending(self, servable: Servable, signature: str, inputs: inference.Inputs) -> Iterator[None]:
        """Count what a prediction takes while it is asked for; one that takes too much is refused.

        Args:
            servable: The version that is asked.
            signature: Its name; the default one if empty.
            inputs: As they came; their shapes and the number of steps are looked at, no more.

        Raises:
            StatusError: INVALID_ARGUMENT if it takes more than one request may, RESOURCE_EXHAUSTED if it takes more
                than is left by others.
        """
        card = servable.card
        if card is None or card.cost is None:
            yield
            return
        work = work_of(card, signature or inference.DEFAULT_SIGNATURE, inputs)
        self.admission.check_work(work, card.limits)
        with self.admission.spending(work):
            yield

    def run_on(self, spec: model_pb2.ModelSpec, call: Call, work: Callable[[Servable], T]) -> T:
        """Run work on the version that a request names, in this thread, and note how long it takes.

        Args:
            spec: Names the model, and its version if not the newest.
            call: What is known of the request.
            work: What to do with the version.

        Raises:
            StatusError: as `Versions.find` does, and what the work raises.
        """
        with self.versions.using(spec) as servable:
            begun = time.monotonic()
            with self.traces.part("compute"):
                result = work(servable)
            api = call.api[:1].upper() + call.api[1:]
            self.metrics.runtime.add(spec.name, api, "TF1", sample=(time.monotonic() - begun) * 1e6)
            return result

    def run_examples(self, request: inference.ExamplesRequest, call: Call) -> inference.ExamplesResponse:
        """Classify or regress in this thread, and count the examples."""
        spec = request.model_spec
        response = self.run_on(spec, call, lambda s: inference.run_examples(s, request, call.stop))
        ((_, results),) = response.result.ListFields()  # either message has one list
        self.metrics.examples.add(spec.name, sample=len(results))
        self.metrics.examples_total.add(spec.name, count=len(results))
        return response

    async def _compute(self, spec: model_pb2.ModelSpec, call: Call, work: Callable[[Servable], T]) -> T:
        return await self.admission.run(lambda: self.run_on(spec, call, work), call.stop)


async def answered(work: Awaitable[T]) -> T:
    """Await a handler, and turn whatever goes wrong into a `StatusError`.

    Raises:
        StatusError: for every error but a cancellation.
    """
    try:
        return await work
    except Exception as error:
        raise refusal(error).error() from None


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise StatusError("INVALID_ARGUMENT", "Missing ModelSpec")
