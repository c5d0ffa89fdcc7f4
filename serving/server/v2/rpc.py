"""The protocol over gRPC. Answers come as raw bytes, as Triton's do."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fewshot.exported.status import invalid
from serving.server.handlers import Call, Handlers
from serving.server.servables import Servable
from serving.server.v2 import models
from serving.server.v2.messages import CONTENTS, message
from serving.server.v2.models import Asked
from serving.server.v2.tensors import datatype, from_raw, read_type, shaped, to_raw

InferResponse = message("ModelInferResponse")
ModelMetadataResponse = message("ModelMetadataResponse")


class InferenceService:
    """Answers the protocol's calls; its methods belong to the event loop."""

    def __init__(self, handlers: Handlers) -> None:
        """Answer with these handlers."""
        self._handlers = handlers

    async def server_live(self, _: Any) -> Any:
        """Say that the server is there."""
        return message("ServerLiveResponse")(live=True)

    async def server_ready(self, _: Any) -> Any:
        """Say whether every model is served."""
        return message("ServerReadyResponse")(ready=self._handlers.is_serving())

    async def model_ready(self, request: Any) -> Any:
        """Say whether a model is served."""
        spec = models.read_name(request.name, request.version)
        return message("ModelReadyResponse")(ready=models.is_ready(self._handlers, spec))

    async def server_metadata(self, _: Any) -> Any:
        """Describe the server."""
        return message("ServerMetadataResponse")(**models.SERVER)

    async def model_metadata(self, request: Any) -> Any:
        """Describe a model."""
        found = models.describe(self._handlers, models.read_name(request.name, request.version))
        return ModelMetadataResponse(**found)

    async def infer(self, request: Any, call: Call) -> Any:
        """Run a model."""
        spec = models.read_name(request.model_name, request.model_version)
        with self._handlers.counted(spec, call):
            servable, outputs = await self._handlers.admission.run(
                lambda: models.infer(self._handlers, spec, call, lambda: _read(request)), call.stop
            )
        return _write(f"{spec.name}:{spec.signature_name}", servable, request.id, outputs)


def _read(request: Any) -> Asked:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"The request has {len(request.inputs)} inputs and {len(raw)} raw_input_contents.")
    found: dict[str, np.ndarray] = {}
    for number, entry in enumerate(request.inputs):
        dtype = read_type(entry.datatype, entry.name[:64])
        if entry.name in found:
            raise invalid(f"Input {entry.name[:64]} comes twice.")
        if raw:
            found[entry.name] = from_raw(raw[number], dtype, list(entry.shape), entry.name[:64])
        else:
            found[entry.name] = _contents(entry, dtype)
    return Asked(found, [entry.name for entry in request.outputs])


def _contents(entry: Any, dtype: tf.DType) -> np.ndarray:
    """Return the values of a typed field."""
    field = CONTENTS.get(entry.datatype)
    if field is None:
        raise invalid(f"Input {entry.name[:64]} of datatype {entry.datatype} comes in raw_input_contents alone.")
    values = getattr(entry.contents, field)
    flat = np.empty(len(values), dtype.as_numpy_dtype)
    try:
        flat[:] = values
    except OverflowError:
        raise invalid(f"Input {entry.name[:64]} has values that are no {entry.datatype}.") from None
    return shaped(flat, list(entry.shape), entry.name[:64])


def _write(name: str, servable: Servable, identity: str, outputs: dict[str, np.ndarray]) -> Any:
    response = InferResponse(model_name=name, model_version=str(servable.version), id=identity)
    for alias, array in outputs.items():
        response.outputs.add(name=alias, datatype=datatype(tf.as_dtype(array.dtype)), shape=array.shape)
        response.raw_output_contents.append(to_raw(array))
    return response
