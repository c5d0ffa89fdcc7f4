"""Warm-up: requests beside an exported model that servers play before the first of a client.

The first run of a graph is slow, since TensorFlow prepares it then. TF Serving and our own server replay these records
when they load a version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from fewshot.exported.card import CARD_NAME, Card
from fewshot.exported.saved_model import load_saved_model
from fewshot.exported.tensors import shortened

Call = Callable[..., dict[str, tf.Tensor]]

NOISE = 1000
"""Values of the pictures that are not 0."""


def warm_up_requests(card: Card, signatures: Mapping[str, Call]) -> list[tuple[str, dict[str, Any]]]:
    """Return one request a signature and one for the default: two classes, as many steps as are usual.

    Pictures begin with noise and go on with zeros, which a record need not repeat.
    """
    rng = np.random.default_rng(0)
    size = (card.size.rows, card.size.columns)
    scale = np.array([band.scale for band in card.bands])
    offset = np.array([band.offset for band in card.bands])
    noise = ((rng.uniform(0, 1, (4, *size, len(card.bands))) - offset) / scale).astype(np.float32)
    pictures = np.where(np.arange(noise.size).reshape(noise.shape) < NOISE, noise, np.float32(0))
    if card.value_type == "uint8":
        pictures = np.round(pictures)
    labels = np.array([0, 1, 1, 1], np.int32)
    if card.output == "pixel":
        labels = np.tile(labels[:, None, None], (1, *size))
    known: dict[str, Any] = {
        "support_x": pictures,
        "support_y": labels,
        "support_weight": np.ones(4, np.float32),
        "query_x": pictures[:2],
        "steps": np.int32(card.steps),
        "document": CARD_NAME.encode(),
    }
    if "adapt_and_predict_encoded" in card.signatures:
        files = [tf.io.encode_png(picture.astype(np.uint8)).numpy() for picture in pictures]
        known |= {"support_bytes": np.array(files, object), "query_bytes": np.array(files[:2], object)}
    adapted = signatures["adapt"](**{key: tf.constant(known[key]) for key in ("support_x", "support_y", "steps")})
    known["adapted"] = adapted["adapted"].numpy()
    # The default is the same graph under names of its own, which servers prepare apart.
    notes = {**card.signatures, "serving_default": card.signatures["adapt_and_predict"]}
    return [(name, {key: known[key] for key in note.inputs}) for name, note in notes.items()]


def write_warm_up(path: Path, name: str, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Write requests as TF Serving replays them when it loads a version.

    Args:
        path: The file to write.
        name: The model's.
        requests: Signature and inputs of each.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(shortened(np.asarray(value, object if isinstance(value, bytes) else None)))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def replay(folder: Path, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Load a SavedModel as a server does, and ask it each request once.

    Raises:
        tf.errors.OpError: if the graph cannot answer one of them.
    """
    loaded = load_saved_model(folder)
    for signature, inputs in requests:
        loaded.signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})
