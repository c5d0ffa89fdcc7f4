"""The exported graph where nothing of ours runs: in a server of TensorFlow's, in a session, without Keras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from fewshot.exported.predictor import LocalPredictor
from tests.serving.graph.test_export_graph import Signatures, request, run


@pytest.fixture(scope="module")
def signatures(local: LocalPredictor) -> Signatures:
    return local._model.signatures


def graph_of(folder: Path) -> Any:
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0]


@pytest.mark.slow
def test_the_graph_holds_nothing_that_a_server_cannot_run(trained: Any, pictures: Any, seeing: Any) -> None:
    for model in (trained, pictures, seeing):
        graph = graph_of(model.folder).graph_def
        functions = {function.signature.name: function for function in graph.library.function}
        restoring = {name for name in functions if "restore" in name}
        operations = {("", node.op) for node in graph.node}
        operations |= {(name, node.op) for name, function in functions.items() for node in function.node_def}
        assert {"Assert", "Conv2DBackpropFilter"} <= {op for _, op in operations}
        assert not [found for found in operations if "PyFunc" in found[1]]
        assert not [found for found in operations if "Assign" in found[1] and found[0] not in restoring]
        attributes = {key for function in functions.values() for key in function.attr}
        attributes |= {key for function in functions.values() for node in function.node_def for key in node.attr}
        assert not [key for key in attributes if "xla" in key.lower() or "jit" in key.lower()]
        stored = tf.train.list_variables(str(model.folder / "variables" / "variables"))
        numbers = sum(int(np.prod(shape)) for name, shape in stored if not name.startswith("_"))
        state = sum(int(np.prod(value.shape)) for value in model.learner.start().state)
        base = state if model.card.outputs else 0
        assert numbers == sum(int(np.prod(weight.shape)) for weight in model.learner.weights) + base


@pytest.mark.slow
def test_a_session_gives_the_same_answers(trained: Any, signatures: Signatures) -> None:
    task = request(trained.task())
    expected = run(signatures["adapt_and_predict"], **task)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(trained.folder))
        found = graph.signature_def["serving_default"]
        shapes = {key: [dim.size for dim in info.tensor_shape.dim] for key, info in found.inputs.items()}
        assert shapes == {"support_x": [-1, 16, 16, 4], "query_x": [-1, 16, 16, 4], "support_y": [-1], "steps": []}
        feeds = {found.inputs[key].name: value for key, value in task.items()}
        answer = session.run({key: info.name for key, info in found.outputs.items()}, feeds)
    for key, value in expected.items():
        np.testing.assert_array_equal(answer[key], value)


WITHOUT_KERAS = """
import json, sys
for name in ("keras", "tf_keras", "fewshot", "serving"):
    sys.modules[name] = None  # as if it were not installed
import numpy as np, tensorflow as tf
tf.config.optimizer.set_experimental_options(json.loads(sys.argv[4]))  # graphs are rewritten as here, or not
model = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2]) as task:
    answer = model.signatures["adapt_and_predict"](**{key: tf.constant(task[key]) for key in task.files})
np.save(sys.argv[3], answer["probabilities"].numpy())
assert not [name for name in sys.modules if name.startswith("keras.")]
"""


@pytest.mark.slow
def test_answers_are_identical_where_keras_is_not_installed(
    trained: Any, signatures: Signatures, tmp_path: Path
) -> None:
    task = request(trained.task())
    np.savez(tmp_path / "task.npz", **task)
    rewriting = json.dumps(tf.config.optimizer.get_experimental_options())
    files = [trained.folder, tmp_path / "task.npz", tmp_path / "answer.npy"]
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, *files, rewriting],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    expected = run(signatures["adapt_and_predict"], **task)["probabilities"]
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), expected)
