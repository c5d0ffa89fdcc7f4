"""What a request asks of one loaded version: Predict, Classify, Regress, MultiInference.

The checks, their order and their sentences are those of TF Serving with its default flags: signatures are known by the
names of their inputs and outputs, not by their method name, so that models made with TensorFlow 2 can be classified
and regressed too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, model_pb2, predict_pb2, regression_pb2

from fewshot.exported import tensors
from fewshot.exported.status import StatusError, invalid
from serving.server.servables import Servable
from serving.server.stopping import Stop

DEFAULT_SIGNATURE = "serving_default"
MOST_LISTED = 20  # names in a message
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

Signature: TypeAlias = meta_graph_pb2.SignatureDef
Inputs = Mapping[str, np.ndarray | tensor_pb2.TensorProto]
Outputs = dict[str, np.ndarray]
ExamplesRequest: TypeAlias = classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest
ExamplesResponse: TypeAlias = classification_pb2.ClassificationResponse | regression_pb2.RegressionResponse


def predict(
    servable: Servable,
    spec: model_pb2.ModelSpec,
    inputs: Inputs,
    output_filter: Sequence[str] = (),
    stop: Stop | None = None,
) -> Outputs:
    """Run a signature on named tensors.

    Args:
        servable: The version to run.
        spec: Names the signature.
        inputs: Tensor by alias, as an array or as it came in a message.
        output_filter: Aliases of the outputs to compute; all if there is none.
        stop: Ends the run before it is done; nothing does if None.

    Returns:
        The outputs by alias, in order of the filter or else of their names.

    Raises:
        StatusError: FAILED_PRECONDITION for an unknown signature; INVALID_ARGUMENT for inputs or a filter that do not
            fit it.
    """
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise StatusError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    feeds = _feeds(signature, inputs)
    aliases = _wanted(signature, output_filter)
    arrays = servable.run(feeds, [signature.outputs[alias].name for alias in aliases], stop=stop)
    return dict(zip(aliases, arrays, strict=True))


def run_predict(
    servable: Servable, request: predict_pb2.PredictRequest, stop: Stop | None = None
) -> predict_pb2.PredictResponse:
    """Answer a Predict request; see `predict`.

    Args:
        servable: The version to run.
        request: Names the signature, and holds its inputs by name.
        stop: Ends the run before it is done; nothing does if None.

    Raises:
        StatusError: as `predict` does.
    """
    outputs = predict(servable, request.model_spec, request.inputs, request.output_filter, stop)
    response = predict_pb2.PredictResponse(model_spec=_model_spec(servable, request.model_spec))
    for alias, array in outputs.items():
        response.outputs[alias].CopyFrom(tensors.encode(array))
    return response


def run_examples(servable: Servable, request: ExamplesRequest, stop: Stop | None = None) -> ExamplesResponse:
    """Classify or regress the request's examples.

    Args:
        servable: The version to run.
        request: Names the signature, and holds the examples.
        stop: Ends the run before it is done; nothing does if None.

    Raises:
        StatusError: INVALID_ARGUMENT for an unknown or unfit signature, an empty input, or unfit outputs;
            FAILED_PRECONDITION for a signature that cannot regress.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = servable.signatures[name]
    method = METHODS[CLASSIFY if isinstance(request, classification_pb2.ClassificationRequest) else REGRESS]
    feed, fetches = method.tensors(signature)
    examples = _serialized_examples(request.input)
    arrays = dict(zip(fetches, servable.run({feed: examples}, fetches, stop=stop), strict=True))
    result = method.result(signature, arrays, len(examples))
    return method.response(model_spec=_model_spec(servable, request.model_spec), result=result)


def run_multi_inference(
    servable: Servable, request: inference_pb2.MultiInferenceRequest, stop: Stop | None = None
) -> inference_pb2.MultiInferenceResponse:
    """Classify and regress the same examples by several signatures in one run.

    Args:
        servable: The version to run.
        request: Names the signatures in its tasks, and holds the examples.
        stop: Ends the run before it is done; nothing does if None.

    Raises:
        StatusError: INVALID_ARGUMENT for tasks of several models or of one signature twice, UNIMPLEMENTED for another
            method.
    """
    feeds, fetches = _check_tasks(servable, request.tasks)
    examples = _serialized_examples(request.input)
    # Signatures of TensorFlow 2 have an input tensor each.
    arrays = dict(zip(fetches, servable.run(dict.fromkeys(feeds, examples), fetches, stop=stop), strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        signature = servable.signatures[task.model_spec.signature_name or DEFAULT_SIGNATURE]
        result = response.results.add(model_spec=_model_spec(servable, task.model_spec))
        method = METHODS[task.method_name]
        getattr(result, method.field).CopyFrom(method.result(signature, arrays, len(examples)))
    return response


def _model_spec(servable: Servable, asked: model_pb2.ModelSpec) -> model_pb2.ModelSpec:
    """Return which model, version and signature answer."""
    spec = model_pb2.ModelSpec(name=asked.name, signature_name=asked.signature_name or DEFAULT_SIGNATURE)
    spec.version.value = servable.version
    return spec


def _serialized_examples(source: input_pb2.Input) -> np.ndarray:
    """Return a request's examples `[n]` as the bytes a graph parses, each with the common context in front."""
    context = b""
    examples: Iterable[Message] = source.example_list.examples
    if source.WhichOneof("kind") == "example_list_with_context":
        context = source.example_list_with_context.context.SerializeToString()
        examples = source.example_list_with_context.examples
    found = [context + example.SerializeToString() for example in examples]
    if not found:
        raise invalid("Input is empty.")
    return np.array(found, object)


def _feeds(signature: Signature, inputs: Inputs) -> dict[str, np.ndarray]:
    sent, wanted = sorted(inputs), sorted(signature.inputs)
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not signature.defaults):
        extra, missing = sorted(set(sent) - set(wanted)), sorted(set(wanted) - set(sent))
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{_listed(sent)}}}) != "
            f"len({{{_listed(wanted)}}}). Sent extra: {{{_listed(extra)}}}. Missing but required: "
            f"{{{_listed(missing)}}}."
        )
    for alias in wanted:
        if alias not in inputs and alias not in signature.defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and "
                f"no default value provided. Inputs expected to be in the request {{{_listed(sent)}}}, or default "
                f"input alias set: {_listed(sorted(signature.defaults))}"
            )
    used = sorted(set(sent) & set(wanted))
    if used != sent:
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_listed(used)}, request input: {_listed(sent)}"
        )
    # The types of all before the values of any: what does not fit takes no memory.
    values = {alias: inputs[alias] if alias in inputs else signature.defaults[alias] for alias in wanted}
    for number, (alias, value) in enumerate(values.items()):
        _require_type(number, value, signature.inputs[alias])
    return {
        signature.inputs[alias].name: value if isinstance(value, np.ndarray) else tensors.decode(value, alias)
        for alias, value in values.items()
    }


def _require_type(number: int, value: np.ndarray | tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo) -> None:
    sent = tf.as_dtype(value.dtype).as_datatype_enum if isinstance(value, np.ndarray) else value.dtype
    if sent == info.dtype or sent not in tensors.BY_NUMBER:
        return  # of another type that is none, the decoder says so
    wanted, found = (tensors.type_name(tf.as_dtype(dtype)) for dtype in (info.dtype, sent))
    raise invalid(f"Expects arg[{number}] to be {wanted} but {found} is provided")


def _listed(names: Sequence[str]) -> str:
    """Return names for a message, the first of them if there are many."""
    return ",".join(names[:MOST_LISTED]) + (",..." if len(names) > MOST_LISTED else "")


def _wanted(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{','.join(sorted(signature.outputs))}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


def _check_tasks(servable: Servable, tasks: Iterable[inference_pb2.InferenceTask]) -> tuple[list[str], list[str]]:
    models: set[str] = set()
    seen: set[str] = set()
    feeds: set[str] = set()
    fetches: set[str] = set()
    for task in tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        models.add(task.model_spec.name)
        if len(models) > 1:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if name not in servable.signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in METHODS:
            raise StatusError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")
        feed, found = METHODS[task.method_name].tensors(servable.signatures[name])
        feeds.add(feed)
        fetches.update(found)
    return sorted(feeds), sorted(fetches)


def _classification_tensors(signature: Signature) -> tuple[str, list[str]]:
    """Return the tensors to feed and to fetch for Classify."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise invalid(f"No classification inputs found in SignatureDef: {signature}")
    found = [signature.outputs[key].name for key in ("classes", "scores") if key in signature.outputs]
    if not found:
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    return signature.inputs["inputs"].name, found


def _regression_tensors(signature: Signature) -> tuple[str, list[str]]:
    """Return the tensors to feed and to fetch for Regress."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    for key, side in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if key not in side:
            raise StatusError("FAILED_PRECONDITION", f"No regression {key} found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def _classifications(signature: Signature, arrays: Outputs, examples: int) -> classification_pb2.ClassificationResult:
    found = {key: arrays[signature.outputs[key].name] for key in ("classes", "scores") if key in signature.outputs}
    for key, dtype, type_label in (("classes", tf.string, "DT_STRING"), ("scores", tf.float32, "DT_FLOAT")):
        if key not in found:
            continue
        array = found[key]
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
        if tf.as_dtype(array.dtype) != dtype:
            raise invalid(f"Expected {key} Tensor of {type_label}. Got: {_enum_name(array)}")
        if array.shape[0] != examples:
            raise invalid(f"Expected {key} output batch size of {examples}. Got: {array.shape[0]}")
    widths = [array.shape[1] for array in found.values()]
    if len(set(widths)) > 1:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    result = classification_pb2.ClassificationResult()
    for row in range(examples):
        labels = [value.decode("utf-8", "replace") for value in found["classes"][row]] if "classes" in found else None
        scores = found["scores"][row].tolist() if "scores" in found else None
        result.classifications.add(
            classes=[
                classification_pb2.Class(label=labels[i] if labels else "", score=scores[i] if scores else 0.0)
                for i in range(widths[0])
            ]
        )
    return result


def _regressions(signature: Signature, arrays: Outputs, examples: int) -> regression_pb2.RegressionResult:
    array = arrays[signature.outputs["outputs"].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if array.shape[0] != examples:
        raise invalid(f"Input batch size did not match output batch size: {examples} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum_name(array)}")
    values = array.ravel().tolist()
    return regression_pb2.RegressionResult(regressions=[regression_pb2.Regression(value=value) for value in values])


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _enum_name(array: np.ndarray) -> str:
    return "DT_" + tensors.type_name(tf.as_dtype(array.dtype)).upper()


class ExamplesMethod(NamedTuple):
    """How a signature answers about examples.

    Attributes:
        tensors: Checks a signature, and names the tensors to feed and to fetch.
        result: Makes the result of a signature, the fetched arrays by name, and the number of examples.
        field: Of the result, in the answer to MultiInference.
        response: The message that carries the result otherwise.
    """

    tensors: Callable[[Signature], tuple[str, list[str]]]
    result: Callable[[Signature, Outputs, int], Message]
    field: str
    response: type[Any]


METHODS = {
    CLASSIFY: ExamplesMethod(
        _classification_tensors, _classifications, "classification_result", classification_pb2.ClassificationResponse
    ),
    REGRESS: ExamplesMethod(_regression_tensors, _regressions, "regression_result", regression_pb2.RegressionResponse),
}
