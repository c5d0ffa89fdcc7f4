"""TensorFlow Serving's own loader, in a program of C++: the same answers, and refusals in place of a dead process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fewshot.exported.predictor import LocalPredictor

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).resolve().parents[2] / "native" / "run_signature.cc"
INVALID_ARGUMENT = 3

Run = Callable[..., tuple[int, str, Any]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    home = Path(tf.sysconfig.get_include()).parent
    if compiler is None or not (home / "libtensorflow_cc.so.2").exists():
        pytest.skip("needs g++ and libtensorflow_cc.so.2 of the TensorFlow wheel")
    built = tmp_path_factory.mktemp("native") / "run_signature"
    libraries = ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    flags = [*tf.sysconfig.get_compile_flags(), "-DEIGEN_MAX_ALIGN_BYTES=64", "-w", "-O1"]
    command = [compiler, str(SOURCE), *flags, f"-L{home}", *libraries, f"-Wl,-rpath,{home}", "-o", str(built)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return built


@pytest.fixture
def native(program: Path, tmp_path: Path) -> Run:
    def run(model: Path, signature: str, output: str, inputs: Mapping[str, Any]) -> tuple[int, str, Any]:
        files = []
        for key, value in inputs.items():
            path = tmp_path / key
            path.write_bytes(tf.make_tensor_proto(value).SerializeToString())
            files.append(f"{key}={path}")
        answer = tmp_path / "answer"
        answer.unlink(missing_ok=True)
        result = subprocess.run(
            [program, model, signature, output, answer, *files],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        found = tf.io.parse_tensor(answer.read_bytes(), tf.float32).numpy() if answer.exists() else None
        return result.returncode, result.stderr, found

    return run


def test_the_answers_are_those_of_python(trained: Any, local: LocalPredictor, native: Run) -> None:
    support_x, labels, query_x = trained.task((1, 2, 3))
    inputs = {"support_x": support_x, "support_y": labels, "query_x": query_x, "steps": np.int32(2)}
    expected = local.call("adapt_and_predict", inputs)["probabilities"]
    code, message, found = native(trained.folder, "serving_default", "probabilities", inputs)
    assert code == 0, message
    np.testing.assert_allclose(found, expected, atol=2e-6)
    adapted = local.adapt(support_x, labels)
    code, message, found = native(
        trained.folder, "predict", "probabilities", {"adapted": adapted.vector, "query_x": query_x}
    )
    assert code == 0, message
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_wrong_requests_are_refused_and_the_process_lives(trained: Any, native: Run) -> None:
    """Shapes against the signature's reach the graph here, as they do in a server."""
    support_x, labels, query_x = trained.task()
    good = {"support_x": support_x, "support_y": labels, "query_x": query_x, "steps": np.int32(2)}
    for change, sentence in (
        ({"support_x": support_x[:0], "support_y": labels[:0]}, "support_x holds no picture"),
        ({"support_x": support_x[..., :2]}, "support_x has 2 bands; the model reads 4"),
        ({"query_x": query_x[:, :9]}, "query_x is pictures of 9x16 pixels"),
        ({"query_x": query_x[0]}, "received 3 axes, expected 4"),
        ({"query_x": np.zeros([0], np.float32)}, "query_x holds no picture"),
        ({"support_y": labels[:2]}, "they must agree"),
        ({"steps": np.array([1, 2], np.int32)}, "steps is one whole number"),
        ({"steps": np.int32(10**9)}, "steps is 1000000000; the model takes 0 to 50"),
    ):
        code, message, found = native(trained.folder, "adapt_and_predict", "probabilities", {**good, **change})
        assert code == INVALID_ARGUMENT, message
        assert sentence in message
        assert found is None
