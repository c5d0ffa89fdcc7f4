"""Messages of protocols, declared as their `.proto` files declare them; and those of TF Serving's `Predict`.

`tensorflow_serving.apis` has these too, but importing it runs all of TensorFlow, and a client has no other use for
that. What is declared here is made in pools of its own: a package that brings the same messages does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_ENTRY = "Entry"

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_PREDICTION = {
    "TensorShapeProto": "2=dim:*.Dim unknown_rank:bool",
    "TensorShapeProto.Dim": "size:int64 name:string",
    "TensorProto": "dtype:int32 tensor_shape:TensorShapeProto version_number:int32 tensor_content:bytes "
    "float_val:*float double_val:*double int_val:*int32 string_val:*bytes scomplex_val:*float int64_val:*int64 "
    "bool_val:*bool dcomplex_val:*double half_val:*int32 16=uint32_val:*uint32 uint64_val:*uint64",
    "ModelSpec": "name:string version:Number signature_name:string version_label:string",
    "Number": "value:int64",
    "PredictRequest": "model_spec:ModelSpec inputs:*.InputsEntry output_filter:*string",
    "PredictRequest.InputsEntry": "key:string value:TensorProto",
    "PredictResponse": "outputs:*.OutputsEntry model_spec:ModelSpec",
    "PredictResponse.OutputsEntry": "key:string value:TensorProto",
}


def declare(package: str, table: Mapping[str, str]) -> descriptor_pb2.FileDescriptorProto:
    """Return the declaration of messages.

    Args:
        package: That they are in.
        table: For each message its fields in the order of their numbers, each a name and a type; * before a type that
            repeats, a number before a name where numbers are passed over, a dot before a message inside this one. What
            is called ...Entry is one of a mapping.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    made: dict[str, Any] = {}
    for path, fields in table.items():
        outer, _, name = path.rpartition(".")
        made[path] = (made[outer].nested_type if outer else file.message_type).add(name=name)
        if name.endswith(_ENTRY):
            made[path].options.map_entry = True
        number = 0
        for field in fields.split():
            given, _, rest = field.rpartition("=")
            name, _, kind = rest.partition(":")
            number = int(given) if given else number + 1
            label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            bare = _type_of(kind.removeprefix("*"), package, path)
            made[path].field.add(name=name, number=number, label=label, **bare)
    return file


def _type_of(kind: str, package: str, inside: str) -> dict[str, Any]:
    """Return a field's type, which is a plain one or a message of the package, or of the message it is inside."""
    if kind.islower():
        return {"type": _FIELD.Type.Value(f"TYPE_{kind.upper()}")}
    name = f".{package}.{inside}{kind}" if kind.startswith(".") else f".{package}.{kind}"
    return {"type": _FIELD.TYPE_MESSAGE, "type_name": name}


def pool_of(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pool.DescriptorPool:
    """Return a pool of what one file declares."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def message_of(pool: descriptor_pool.DescriptorPool, name: str) -> Any:
    """Return the class of a message, by its full name."""
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


_POOL = pool_of(declare("tensorflow.serving", _PREDICTION))
PredictRequest = message_of(_POOL, "tensorflow.serving.PredictRequest")
PredictResponse = message_of(_POOL, "tensorflow.serving.PredictResponse")
