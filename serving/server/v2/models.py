"""What both of the protocol's transports do: find a model, describe it, run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from fewshot.exported.status import StatusError, invalid
from serving.server.handlers import Call, Handlers
from serving.server.inference import DEFAULT_SIGNATURE, predict
from serving.server.servables import Servable
from serving.server.v2.tensors import datatype

SERVER = {"name": "fewshot", "version": version("fewshot"), "extensions": ["binary_tensor_data"]}
PLATFORM = "tensorflow_savedmodel"


@dataclass(frozen=True)
class Asked:
    """What a request asks for, once it is read.

    Attributes:
        inputs: Tensor by name.
        outputs: Names of the tensors wanted; all if there is none.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[str] = ()


def read_name(name: str, number: str) -> model_pb2.ModelSpec:
    """Return which model, signature and version `NAME:SIGNATURE` and a version's number mean.

    Raises:
        StatusError: INVALID_ARGUMENT if the number is none.
    """
    model, _, signature = name.partition(":")
    spec = model_pb2.ModelSpec(name=model, signature_name=signature or DEFAULT_SIGNATURE)
    if number:
        if not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise invalid(f"A version is a whole number; received {number[:32]!r}.")
        spec.version.value = int(number)
    return spec


def is_ready(handlers: Handlers, spec: model_pb2.ModelSpec) -> bool:
    """Return whether a model, and this signature of it, is served."""
    try:
        _signature(handlers.versions.find(spec), spec)
    except StatusError:
        return False
    return handlers.is_serving()


def describe(handlers: Handlers, spec: model_pb2.ModelSpec) -> dict[str, Any]:
    """Return a model's metadata.

    Raises:
        StatusError: as `Versions.find` does, and NOT_FOUND if it has no such signature.
    """
    servable = handlers.versions.find(spec)
    signature = _signature(servable, spec)
    served = handlers.versions.states(model_pb2.ModelSpec(name=spec.name))
    return {
        "name": f"{spec.name}:{spec.signature_name}",
        "versions": [str(number) for number, state in served.items() if state.stage == "AVAILABLE"],
        "platform": PLATFORM,
        "inputs": [_tensor(name, info) for name, info in sorted(signature.inputs.items())],
        "outputs": [_tensor(name, info) for name, info in sorted(signature.outputs.items())],
    }


def infer(
    handlers: Handlers, spec: model_pb2.ModelSpec, call: Call, read: Callable[[], Asked]
) -> tuple[Servable, dict[str, np.ndarray]]:
    """Read a request and run it, in this thread; return which version answers, and the outputs by name.

    Args:
        handlers: What is served.
        spec: Names the model and its signature.
        call: What is known of the request.
        read: Reads it.

    Raises:
        StatusError: as `predict` does, NOT_FOUND if there is no such signature, and what `read` raises.
    """

    def run(servable: Servable) -> tuple[Servable, dict[str, np.ndarray]]:
        _signature(servable, spec)
        asked = read()
        with handlers.spending(servable, spec.signature_name, asked.inputs):
            return servable, predict(servable, spec, asked.inputs, asked.outputs, call.stop)

    return handlers.run_on(spec, call, run)


def _signature(servable: Servable, spec: model_pb2.ModelSpec) -> Any:
    if spec.signature_name not in servable.signatures:
        raise StatusError(
            "NOT_FOUND",
            f"Model {spec.name} has no signature {spec.signature_name}; it has "
            f"{', '.join(name for name in sorted(servable.signatures) if not name.startswith('__'))}. Name it as "
            f"{spec.name}:SIGNATURE.",
        )
    return servable.signatures[spec.signature_name]


def _tensor(name: str, info: Any) -> dict[str, Any]:
    shape = [] if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]
    return {"name": name, "datatype": datatype(tf.as_dtype(info.dtype)), "shape": shape}
