"""The protocol's messages, as its `.proto` file declares them, but for parameters, which nothing here has a use for.

`declare` says how the table is read.
"""

from __future__ import annotations

from typing import Any

from fewshot.exported.messages import declare, message_of, pool_of

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool",
    "ModelReadyRequest": "name:string version:string",
    "ModelReadyResponse": "ready:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string version:string extensions:*string",
    "ModelMetadataRequest": "name:string version:string",
    "ModelMetadataResponse": "name:string versions:*string platform:string inputs:*.TensorMetadata "
    "outputs:*.TensorMetadata",
    "ModelMetadataResponse.TensorMetadata": "name:string datatype:string shape:*int64",
    "InferTensorContents": "bool_contents:*bool int_contents:*int32 int64_contents:*int64 uint_contents:*uint32 "
    "uint64_contents:*uint64 fp32_contents:*float fp64_contents:*double bytes_contents:*bytes",
    "ModelInferRequest": "model_name:string model_version:string id:string 5=inputs:*.InferInputTensor "
    "6=outputs:*.InferRequestedOutputTensor 7=raw_input_contents:*bytes",
    "ModelInferRequest.InferInputTensor": "name:string datatype:string shape:*int64 5=contents:InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": "name:string",
    "ModelInferResponse": "model_name:string model_version:string id:string 5=outputs:*.InferOutputTensor "
    "6=raw_output_contents:*bytes",
    "ModelInferResponse.InferOutputTensor": "name:string datatype:string shape:*int64 5=contents:InferTensorContents",
}
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
CONTENTS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of `InferTensorContents` that holds values of a type; those that are left out come as raw bytes alone."""

_FILE = declare(PACKAGE, MESSAGES)
_SERVICE = _FILE.service.add(name=SERVICE.rpartition(".")[2])
for _name in METHODS:
    _SERVICE.method.add(name=_name, input_type=f".{PACKAGE}.{_name}Request", output_type=f".{PACKAGE}.{_name}Response")
POOL = pool_of(_FILE)


def message(name: str) -> Any:
    """Return the class of one of the messages."""
    return message_of(POOL, f"{PACKAGE}.{name}")
