"""What the REST APIs are, as an OpenAPI document, and a page that shows it without a network."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
OBJECT = {"type": "object"}
INPUTS = {
    "type": "object",
    "properties": {
        "signature_name": {"type": "string", "description": "serving_default if not given."},
        "inputs": {"description": "A tensor, or tensors by name: lists nested as their axes; bytes as {b64: ...}."},
        "instances": {"type": "array", "items": {}, "description": "The same in rows, in place of inputs."},
    },
}
EXAMPLES = {
    "type": "object",
    "required": ["examples"],
    "properties": {
        "signature_name": {"type": "string"},
        "context": {"type": "object", "description": "Features that all examples share."},
        "examples": {"type": "array", "items": OBJECT, "description": "Features by name."},
    },
}
TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "description": "Such as FP32, INT32, UINT8, BOOL, BYTES."},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {}, "description": "Values in a row, or nested as their axes."},
        "parameters": {"type": "object", "description": "binary_data_size, where the values follow the JSON as bytes."},
    },
}
INFERENCE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
}
REFUSALS = {
    "400": "The request is wrong; the sentence says how.",
    "401": "A key is asked for: Authorization: Bearer KEY.",
    "404": "There is no such model, version or signature.",
    "408": "The request came too slowly.",
    "413": "The request is too large.",
    "429": "The server is busy; Retry-After says when to come again.",
    "503": "The server is not ready.",
    "504": "The deadline passed.",
}
MODEL = {"model": "Name of the model."}
VERSION = {"version": "Number of one of its versions."}
LABEL = {"label": "Label of one of its versions."}
NAMED = {"model": "NAME:SIGNATURE, or NAME for its serving_default."}


def _operation(summary: str, parameters: dict[str, str], body: dict[str, Any] | None = None) -> dict[str, Any]:
    refusals = {
        code: {"description": text, "content": {"application/json": {"schema": ERROR}}}
        for code, text in REFUSALS.items()
    }
    found: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in parameters.items()
        ],
        "responses": {"200": {"description": "The answer."}, **refusals},
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for place, more in (("", {}), ("/versions/{version}", VERSION), ("/labels/{label}", LABEL)):
        base, known = f"/v1/models/{{model}}{place}", {**MODEL, **more}
        paths[base] = {"get": _operation("Where the model's versions stand.", known)}
        paths[f"{base}/metadata"] = {"get": _operation("The model's signatures.", known)}
        paths[f"{base}:predict"] = {"post": _operation("Run a signature on tensors.", known, INPUTS)}
        paths[f"{base}:classify"] = {"post": _operation("Classify examples.", known, EXAMPLES)}
        paths[f"{base}:regress"] = {"post": _operation("Regress examples.", known, EXAMPLES)}
    for place, more in (("", {}), ("/versions/{version}", VERSION)):
        base, known = f"/v2/models/{{model}}{place}", {**NAMED, **more}
        paths[base] = {"get": _operation("The model's inputs and outputs.", known)}
        paths[f"{base}/ready"] = {"get": _operation("Whether the model is served.", known)}
        paths[f"{base}/infer"] = {"post": _operation("Run the model.", known, INFERENCE)}
    paths["/v2"] = {"get": _operation("The server's name and version.", {})}
    paths["/v2/health/live"] = {"get": _operation("Whether the server is there.", {})}
    paths["/v2/health/ready"] = {"get": _operation("Whether every model is served.", {})}
    paths["/health"] = {"get": _operation("Whether every model is served; needs no key.", {})}
    paths["/monitoring/prometheus/metrics"] = {"get": _operation("Counters and latencies, for Prometheus.", {})}
    return paths


DOCUMENT = {
    "openapi": "3.1.0",
    "info": {
        "title": "fewshot",
        "version": version("fewshot"),
        "description": "Models that adapt in the request, over TensorFlow Serving's REST API and the Open Inference "
        "Protocol. What a model takes and answers is on its card: signature `card`, input `document` = `card.json`.",
    },
    "paths": _paths(),
    "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    "security": [{}, {"key": []}],
}

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>fewshot: REST API</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
 summary { cursor: pointer; padding: .3em 0 } code { font-size: 95% } b { display: inline-block; width: 4em }
 pre { background: #f4f4f4; padding: 1em; overflow: auto } textarea { width: 100%; height: 8em }
</style>
<h1>REST API</h1><p id="about"></p><p><label>Key <input id="key" type="password"></label></p><div id="paths"></div>
<script>
const make = (parent, tag, text) => {
  const found = parent.appendChild(document.createElement(tag));
  if (text !== undefined) found.textContent = text;
  return found;
};
const show = (path, method, operation) => {
  const box = make(document.getElementById("paths"), "details"), head = make(box, "summary");
  make(head, "b", method.toUpperCase()); make(head, "code", path); make(head, "span", "  " + operation.summary);
  const fields = operation.parameters.map(parameter => {
    const label = make(make(box, "p"), "label", parameter.name + " ");
    const field = make(label, "input"); field.placeholder = parameter.description; return [parameter.name, field];
  });
  const schema = operation.requestBody?.content["application/json"].schema;
  if (schema) make(box, "pre", JSON.stringify(schema, null, 1));
  const body = schema ? make(box, "textarea") : null, button = make(box, "button", "Send"), answer = make(box, "pre");
  button.onclick = async () => {
    const place = fields.reduce((at, [name, field]) => at.replace(`{${name}}`, encodeURIComponent(field.value)), path);
    const key = document.getElementById("key").value, headers = key ? {Authorization: "Bearer " + key} : {};
    try {
      const response = await fetch(place, {method: method.toUpperCase(), headers, body: body?.value});
      answer.textContent = response.status + "\\n" + (await response.text()).slice(0, 100000);
    } catch (error) { answer.textContent = String(error); }
  };
};
const fill = found => {
  document.getElementById("about").textContent = found.info.description;
  for (const [path, methods] of Object.entries(found.paths))
    for (const [method, operation] of Object.entries(methods)) show(path, method, operation);
};
fill(@DOCUMENT@);
</script></html>
"""

_TEXT = json.dumps(DOCUMENT)
PAGES = {
    "/openapi.json": (_TEXT.encode(), "application/json"),
    "/docs": (PAGE.replace("@DOCUMENT@", _TEXT.replace("<", "\\u003c")).encode(), "text/html"),
}
"""Body and type by path."""
