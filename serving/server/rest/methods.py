"""What the REST API computes: JSON documents in, answers in JSON out, all of it in the pool."""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import classification_pb2, model_pb2, regression_pb2

from fewshot.exported.status import invalid
from serving.server import inference
from serving.server.handlers import Call, Handlers
from serving.server.rest import requests, responses
from serving.server.rest.documents import read_document
from serving.server.servables import Servable


async def compute(handlers: Handlers, spec: model_pb2.ModelSpec, body: bytes, call: Call) -> bytes:
    """Answer a request; the document is read and the response written in the pool too.

    Args:
        handlers: What runs it.
        spec: The model that the path names.
        body: JSON.
        call: What is known of the request; its API is a name of `METHODS`.

    Raises:
        StatusError: whatever is wrong with it.
    """

    def run() -> bytes:
        document = read_document(body)
        spec.signature_name = requests.signature_name(document)
        return METHODS[call.api](handlers, spec, document, call)

    return await handlers.admit(spec.name, call, run)


def _predict(handlers: Handlers, spec: model_pb2.ModelSpec, document: dict[str, Any], call: Call) -> bytes:
    def work(servable: Servable) -> bytes:
        name = spec.signature_name or inference.DEFAULT_SIGNATURE
        if name not in servable.signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        infos = servable.signatures[name].inputs
        if not infos:
            raise invalid(f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}")
        arrays, rows = requests.predict_inputs(document, infos)
        document.clear()  # large, and read
        outputs = inference.predict(servable, spec, arrays, deadline=call.deadline)
        return responses.from_tensors(outputs, rows=rows)

    return handlers.run_on(spec, call, work)


def _classify(handlers: Handlers, spec: model_pb2.ModelSpec, document: dict[str, Any], call: Call) -> bytes:
    examples = requests.examples_input(document)
    request = classification_pb2.ClassificationRequest(model_spec=spec, input=examples)
    return responses.from_classification(handlers.run_classify(request, call).result)


def _regress(handlers: Handlers, spec: model_pb2.ModelSpec, document: dict[str, Any], call: Call) -> bytes:
    examples = requests.examples_input(document)
    request = regression_pb2.RegressionRequest(model_spec=spec, input=examples)
    return responses.from_regression(handlers.run_regress(request, call).result)


METHODS = {"predict": _predict, "classify": _classify, "regress": _regress}
