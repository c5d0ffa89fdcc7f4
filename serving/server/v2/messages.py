"""The protocol's messages, as its `.proto` file declares them, but for parameters, which nothing here has a use for.

They are made from the table below, in a pool of their own: a package that brings the same messages does no harm.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

# Message: its fields in the order of their numbers, each a name and a type; * before a type that repeats, and a number
# before a name where numbers are passed over.
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

FIELD = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for path, fields in MESSAGES.items():
        outer, _, name = path.rpartition(".")
        made[path] = (made[outer].nested_type if outer else file.message_type).add(name=name)
        number = 0
        for field in fields.split():
            given, _, rest = field.rpartition("=")
            name, _, kind = rest.partition(":")
            number = int(given) if given else number + 1
            _add_field(made[path], name, number, kind, inside=f".{PACKAGE}.{path}")
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for name in METHODS:
        service.method.add(name=name, input_type=f".{PACKAGE}.{name}Request", output_type=f".{PACKAGE}.{name}Response")
    return file


def _add_field(message: Any, name: str, number: int, kind: str, *, inside: str) -> None:
    bare = kind.removeprefix("*")
    field = message.field.add(name=name, number=number)
    field.label = FIELD.LABEL_REPEATED if kind.startswith("*") else FIELD.LABEL_OPTIONAL
    if bare.islower():
        field.type = FIELD.Type.Value(f"TYPE_{bare.upper()}")
    else:
        field.type = FIELD.TYPE_MESSAGE
        field.type_name = inside + bare if bare.startswith(".") else f".{PACKAGE}.{bare}"


POOL = descriptor_pool.DescriptorPool()
POOL.Add(_file())


def message(name: str) -> Any:
    """Return the class of one of the messages."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
