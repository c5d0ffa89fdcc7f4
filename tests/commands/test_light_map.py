"""`fewshot map --server` maps a whole scene without loading TensorFlow or Keras, over REST and over gRPC."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import geopandas
import grpc
import numpy as np
import pytest
import shapely
import tensorflow as tf
from rasterio import Affine
from tensorflow_serving.apis import predict_pb2

from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster
from tests.commands.test_light import run_light

BANDS = ("B4", "B8")
NOTE = {"dtype": "float32", "shape": "[]", "meaning": ""}
OUTPUTS = {
    "adapt": ("adapted", "classes", "support_loss"),
    "predict": ("probabilities", "class_index"),
}
CARD: dict[str, Any] = {
    "format": "fewshot-card",
    "format_version": 1,
    "title": "two classes by the second band",
    "bands": [{"name": name, "scale": 1.0, "unit": ""} for name in BANDS],
    "value_type": "float32",
    "size": {"rows": 8, "columns": 8, "free": True, "smallest": 4, "largest": 32, "multiple_of": 4},
    "output": "pixel",
    "label_space": "task",
    "classes": [],
    "head": "prototype",
    "outputs": None,
    "steps": 1,
    "limits": {"steps": 5, "examples": 64, "queries": 64, "classes": 8},
    "rates": {"kind": "constant", "initial": 0.1, "smallest": 0.1, "mean": 0.1, "largest": 0.1},
    "transductive": False,
    "data": {"name": "made up"},
    "recipe": {},
    "adapted": {"fixed": 1, "per_class": 1, "fingerprint": 7},
    "signatures": {
        name: {
            "purpose": "",
            "inputs": {},
            "outputs": {key: NOTE | ({"dtype": "int32"} if key.startswith("class") else {}) for key in keys},
        }
        for name, keys in OUTPUTS.items()
    },
}


def answer(signature: str, inputs: dict[str, Any]) -> Any:
    """Answer as a model of two classes: a pixel is of the second if its second band is over 1,000."""
    if signature == "card":
        return json.dumps(CARD)
    if signature == "adapt":
        return {"adapted": [7.0, 0.0, 1.0], "classes": 2, "support_loss": [0.7, 0.1]}
    second = np.array(inputs["query_x"])[..., 1] > 1000
    return {
        "probabilities": np.where(second[..., np.newaxis], [0.1, 0.9], [0.9, 0.1]).tolist(),
        "class_index": second.astype(int).tolist(),
    }


class Handler(BaseHTTPRequestHandler):
    """TF Serving's REST API, as far as a map asks for it."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps({"outputs": answer(body["signature_name"], body["inputs"])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def predict(request: predict_pb2.PredictRequest, _: grpc.ServicerContext) -> predict_pb2.PredictResponse:
    """TF Serving's `Predict`, as far as a map asks for it."""
    signature, response = request.model_spec.signature_name, predict_pb2.PredictResponse()
    found = answer(signature, {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()})
    for key, value in (found if isinstance(found, dict) else {signature: found}).items():
        whole = key.startswith("class")
        array = np.asarray(value, object if signature == "card" else np.int32 if whole else np.float32)
        response.outputs[key].CopyFrom(tf.make_tensor_proto(array))
    return response


@pytest.fixture
def grpc_server() -> Iterator[str]:
    made = grpc.server(ThreadPoolExecutor(2))
    requests, responses = predict_pb2.PredictRequest, predict_pb2.PredictResponse
    method = grpc.unary_unary_rpc_method_handler(predict, requests.FromString, responses.SerializeToString)
    service = "tensorflow.serving.PredictionService"
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Predict": method}),))
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield f"127.0.0.1:{port}/land"
    made.stop(None)


@pytest.fixture
def rest_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}/land"
        made.shutdown()


def write_inputs(folder: Path) -> None:
    """Write a scene of two halves and a labelled point in each."""
    grid = Grid(24, 24, Affine(20.0, 0.0, 500000.0, 0.0, -20.0, 5000000.0), "EPSG:32633")
    pixels = np.full((24, 24, 2), 500, np.uint16)
    pixels[:, 12:, 1] = 3000
    write_raster(folder / "scene.tif", pixels, grid, names=BANDS)
    x, y = grid.to_map(np.array([6.5, 6.5]), np.array([6.5, 17.5]))
    points = geopandas.GeoDataFrame({"class": ["left", "right"]}, geometry=shapely.points(x, y), crs=grid.crs)
    points.to_file(folder / "points.gpkg")


@pytest.mark.parametrize("protocol", [pytest.param("rest", marks=pytest.mark.slow), "grpc"])
def test_a_map_of_a_served_model(protocol: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    server = request.getfixturevalue(f"{protocol}_server")
    shown = run_light(
        ["map", "--server", server, "--scene", "scene.tif", "--labels", "points.gpkg", "--to", "map.tif"],
        folder=tmp_path,
    )
    assert "Map: map.tif" in shown
    assert json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))


def test_a_map_without_a_model(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    arguments = ["map", "--scene", "scene.tif", "--labels", "points.gpkg", "--method", "nearest"]
    shown = run_light([*arguments, "--to", "map.tif"], folder=tmp_path)
    assert "Shares of the map: left 50.0 %, right 50.0 %" in shown
    (tmp_path / "list.csv").write_text("name,scene,labels\nhere,scene.tif,points.gpkg\n", encoding="utf-8")
    shown = run_light(["map-many", "list.csv", "--to", "maps", "--method", "prototypes"], folder=tmp_path)
    assert "mapped" in shown and (tmp_path / "maps" / "here" / "map.tif").exists()
