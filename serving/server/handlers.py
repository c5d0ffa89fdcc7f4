"""What both APIs do with a request once it is read: find the version, let it in, run it, count it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from fewshot.exported.status import CODES, StatusError, invalid
from serving.server import inference, json_documents, json_requests, json_responses
from serving.server.folders import ServerConfig
from serving.server.limits import Admission
from serving.server.metrics import Metrics
from serving.server.servables import Servable
from serving.server.status import as_status
from serving.server.versions import Versions

logger = logging.getLogger("serving")

METADATA = "signature_def"
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """What is known of a request before it is read.

    Attributes:
        api: As TF Serving's metrics name it: `Predict` in gRPC, `predict` in REST.
        entry: `GRPC` or `REST`.
        deadline: On the monotonic clock, in seconds; None for no limit.
    """

    api: str
    entry: str
    deadline: float | None = None


class Handlers:
    """Answers requests of one server; its methods belong to the event loop."""

    def __init__(self, versions: Versions, admission: Admission, metrics: Metrics) -> None:
        """Answer with these models, within these limits.

        Args:
            versions: What is served.
            admission: Where TensorFlow runs.
            metrics: Where requests are counted.
        """
        self.versions = versions
        self.admission = admission
        self.metrics = metrics
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="reload")

    async def predict(self, request: predict_pb2.PredictRequest, call: Call) -> predict_pb2.PredictResponse:
        """Answer Predict."""
        _require_spec(request)
        return await self._compute(request.model_spec, call, lambda s: inference.run_predict(s, request, call.deadline))

    async def classify(
        self, request: classification_pb2.ClassificationRequest, call: Call
    ) -> classification_pb2.ClassificationResponse:
        """Answer Classify."""
        _require_spec(request)

        def work(servable: Servable) -> classification_pb2.ClassificationResponse:
            response = inference.run_classify(servable, request, call.deadline)
            self.metrics.record_examples(request.model_spec.name, len(response.result.classifications))
            return response

        return await self._compute(request.model_spec, call, work)

    async def regress(self, request: regression_pb2.RegressionRequest, call: Call) -> regression_pb2.RegressionResponse:
        """Answer Regress."""
        _require_spec(request)

        def work(servable: Servable) -> regression_pb2.RegressionResponse:
            response = inference.run_regress(servable, request, call.deadline)
            self.metrics.record_examples(request.model_spec.name, len(response.result.regressions))
            return response

        return await self._compute(request.model_spec, call, work)

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, call: Call
    ) -> inference_pb2.MultiInferenceResponse:
        """Answer MultiInference; the first task says which model."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        return await self._compute(spec, call, lambda s: inference.run_multi_inference(s, request, call.deadline))

    async def rest(self, method: str, spec: model_pb2.ModelSpec, body: bytes, call: Call) -> bytes:
        """Answer a REST request; the document is read and the response written in the pool too.

        Args:
            method: `predict`, `classify` or `regress`.
            spec: The model that the path names.
            body: JSON.
            call: What is known of the request.
        """
        workers = {"predict": self._rest_predict, "classify": self._rest_classify, "regress": self._rest_regress}
        work = workers[method]

        def run() -> bytes:
            document = json_documents.read_document(body)
            spec.signature_name = json_requests.signature_name(document)
            return work(spec, document, call.deadline)

        with self._counted(spec.name, call):
            return await self.admission.run(run, deadline=call.deadline)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answer GetModelMetadata."""
        _require_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != METADATA:
                raise invalid(f"Metadata field {field} is not supported")
        servable = self.versions.find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata[METADATA].Pack(signatures)
        return response

    def status(
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
        """Answer HandleReloadConfigRequest: serve another configuration, and return when its new models serve."""
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

    async def _compute(self, spec: model_pb2.ModelSpec, call: Call, work: Callable[[Servable], T]) -> T:
        def run() -> T:
            return self._timed(spec, call.api, work)

        with self._counted(spec.name, call):
            return await self.admission.run(run, deadline=call.deadline)

    def _timed(self, spec: model_pb2.ModelSpec, api: str, work: Callable[[Servable], T]) -> T:
        with self.versions.find(spec).in_use() as servable:
            begun = time.monotonic()
            result = work(servable)
            self.metrics.runtime.add(
                spec.name, api[:1].upper() + api[1:], "TF1", sample=(time.monotonic() - begun) * 1e6
            )
            return result

    @contextmanager
    def _counted(self, model: str, call: Call) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        except BaseException as error:
            self.metrics.requests.add(model, as_status(error).code)
            raise
        self.metrics.requests.add(model, "OK")
        self.metrics.latency.add(model, call.api, call.entry, sample=(time.monotonic() - begun) * 1e6)

    def _rest_predict(self, spec: model_pb2.ModelSpec, document: dict[str, Any], deadline: float | None) -> bytes:
        def work(servable: Servable) -> bytes:
            name = spec.signature_name or inference.DEFAULT_SIGNATURE
            if name not in servable.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            infos = servable.signatures[name].inputs
            if not infos:
                raise invalid(f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}")
            arrays, rows = json_requests.predict_inputs(document, infos)
            document.clear()  # large, and read
            outputs = inference.predict(servable, spec, arrays, deadline=deadline)
            return json_responses.from_tensors(outputs, rows=rows)

        return self._timed(spec, "predict", work)

    def _rest_classify(self, spec: model_pb2.ModelSpec, document: dict[str, Any], deadline: float | None) -> bytes:
        examples = json_requests.examples_input(document)
        request = classification_pb2.ClassificationRequest(model_spec=spec, input=examples)
        response = self._timed(spec, "classify", lambda s: inference.run_classify(s, request, deadline))
        self.metrics.record_examples(spec.name, len(response.result.classifications))
        return json_responses.from_classification(response.result)

    def _rest_regress(self, spec: model_pb2.ModelSpec, document: dict[str, Any], deadline: float | None) -> bytes:
        examples = json_requests.examples_input(document)
        request = regression_pb2.RegressionRequest(model_spec=spec, input=examples)
        response = self._timed(spec, "regress", lambda s: inference.run_regress(s, request, deadline))
        self.metrics.record_examples(spec.name, len(response.result.regressions))
        return json_responses.from_regression(response.result)


async def answered(work: Awaitable[T]) -> T:
    """Await a handler, and turn whatever goes wrong into a `StatusError`; what nobody foresaw is logged.

    Raises:
        StatusError: for every error but a cancellation.
    """
    try:
        return await work
    except Exception as error:
        status = as_status(error)
        if status.code == "INTERNAL":
            logger.exception("A request failed in a way that nobody foresaw.")
        raise status from None


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise StatusError("INVALID_ARGUMENT", "Missing ModelSpec")
