"""A version from its folder: the graph is loaded, then warmed up with the requests that a model brings along.

The first client of a warm model does not wait for TensorFlow to prepare. The records are those of TF Serving:
`assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from fewshot.errors import ArtifactError
from fewshot.exported.card import CARD_NAME, EXTRA, Card, read_card
from fewshot.exported.status import StatusError, invalid
from fewshot.exported.versions import WARM_UP
from serving.server.graphs import Graph
from serving.server.inference import run_examples, run_multi_inference, run_predict
from serving.server.links import require_inside
from serving.server.metrics import Sampler
from serving.server.servables import Servable
from serving.server.status import describe

logger = logging.getLogger("serving")

GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
RECORDS = Path(EXTRA) / WARM_UP
MOST_RECORDS = 1000

RUNNERS = {
    "predict_log": run_predict,
    "classify_log": run_examples,
    "regress_log": run_examples,
    "multi_inference_log": run_multi_inference,
}


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded.

    Attributes:
        tags: Of the graph in the SavedModel.
        warm_up_iterations: How often to replay each of the model's warm-up records; 0 not to.
    """

    tags: tuple[str, ...] = ("serve",)
    warm_up_iterations: int = 1


def load_version(
    name: str, version: int, folder: Path, options: LoadOptions, warm_up_latency: Sampler | None = None
) -> Servable:
    """Load one version of a model and warm it up.

    Args:
        name: The model's name.
        version: Its number.
        folder: Of the SavedModel.
        options: How.
        warm_up_latency: Where to note how long the warm-up took, by folder and status.

    Raises:
        StatusError: NOT_FOUND if there is no SavedModel, or none with the tags; DATA_LOSS if it is damaged;
            PERMISSION_DENIED if a link in it leads out of the base path; for the warm-up INVALID_ARGUMENT for more than
            a thousand records or one that is not a request, UNIMPLEMENTED for one of a kind that is not served,
            DATA_LOSS for a file that is not a TFRecord.
        tf.errors.OpError: if its variables cannot be restored, or a warm-up request fails.
    """
    require_inside(folder.parent, folder)
    servable = _load(name, version, folder, options)
    if not options.warm_up_iterations:
        return servable
    begun, outcome = time.monotonic(), "OK"
    try:
        count = _warm_up(servable, folder / RECORDS, options.warm_up_iterations)
    except Exception as error:
        outcome = describe(error)
        servable.retire()
        raise
    finally:
        if warm_up_latency is not None:
            warm_up_latency.add(str(folder), outcome, sample=(time.monotonic() - begun) * 1e6)
    logger.info("Number of warmup records read from %s: %d", folder, count)
    return servable


def _load(name: str, version: int, path: Path, options: LoadOptions) -> Servable:
    if not any((path / file).exists() for file in GRAPH_FILES):
        raise StatusError(
            "NOT_FOUND", f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
        )
    try:
        graph = Graph(path, options.tags)
    except RuntimeError as error:
        if "MetaGraphDef" not in str(error):
            raise
        raise StatusError(
            "NOT_FOUND",
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(options.tags)} }}. To inspect "
            "available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        ) from None
    except (tf.errors.NotFoundError, ValueError) as error:  # the folder of variables is not there, or not whole
        raise StatusError("NOT_FOUND", f"The SavedModel at {path} lacks its variables: {error}") from None
    except OSError as error:
        raise StatusError("DATA_LOSS", f"Can't parse the SavedModel at {path}: {error}") from None
    return Servable(name, version, graph, _card(path))


def _card(path: Path) -> Card | None:
    """Return the card of a model of ours; None of any other."""
    if not (path / EXTRA / CARD_NAME).exists():
        return None
    try:
        return read_card(path)
    except ArtifactError as error:
        logger.warning("%s It is served without a limit to what a request may cost.", error)
        return None


def _warm_up(servable: Servable, records: Path, iterations: int) -> int:
    """Replay a model's warm-up records, each so often; return how many there are."""
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
