"""Replay of the requests that a model brings along, so that its first client does not wait for TensorFlow to prepare.

The records are those of TF Serving: `assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog`.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from fewshot.exported.status import StatusError, invalid
from serving.server.inference import run_classify, run_multi_inference, run_predict, run_regress
from serving.server.servables import Servable

RECORDS = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_RECORDS = 1000

RUNNERS = {
    "predict_log": run_predict,
    "classify_log": run_classify,
    "regress_log": run_regress,
    "multi_inference_log": run_multi_inference,
}


def warm_up(servable: Servable, path: Path, *, iterations: int = 1) -> int:
    """Replay a model's warm-up records.

    Args:
        servable: The loaded version.
        path: The folder of its SavedModel.
        iterations: How often to replay each record.

    Returns:
        The records replayed; 0 where the model has none.

    Raises:
        StatusError: INVALID_ARGUMENT for more than a thousand records or one that is not a request, UNIMPLEMENTED for
            one of a kind that is not served, DATA_LOSS for a file that is not a TFRecord.
        tf.errors.OpError: what the model raises.
    """
    records = path / RECORDS
    if not records.exists():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(records)).as_numpy_iterator():
            count += 1
            if count > MOST_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {records}")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            kind = log.WhichOneof("log_type")
            if kind is None:
                continue
            if kind not in RUNNERS:
                raise StatusError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
            for _ in range(iterations):
                RUNNERS[kind](servable, getattr(log, kind).request)
    except tf.errors.DataLossError as error:
        raise StatusError(
            "DATA_LOSS", f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from None
    return count
