"""A server running in this process, TF Serving's own small models, and a model made for the edges of the API."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.flags import ServeOptions
from serving.server.server import ModelServer

ROOT = Path(__file__).resolve().parents[2]
TWO_VERSIONS = "saved_model_half_plus_two_2_versions"


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """As `serve` does: looking through all of TensorFlow for garbage takes seconds, whenever a version goes."""
    gc.collect()
    gc.freeze()


class Running:
    """A server in a thread of its own, with clients for both APIs."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.server = ModelServer(options)
        self.rest = httpx.Client(base_url=f"http://127.0.0.1:{options.rest_api_port}", timeout=30)
        self._started = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._thread.start()
        self._started.wait()
        for failure in self._failures:
            self._thread.join()
            raise failure
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{options.port}", options=unlimited)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        try:
            await self.server.start()
        except BaseException as error:
            self._failures.append(error)
            return
        finally:
            self._started.set()
        await self._end.wait()
        await self.server.stop()

    def post(self, path: str, body: Any) -> httpx.Response:
        """Send JSON, or text as it is."""
        if isinstance(body, str | bytes):
            return self.rest.post(path, content=body)
        return self.rest.post(path, json=body)

    def stop(self) -> None:
        """Drain."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.channel.close()
        self.rest.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def tf_models(data_root: Path) -> Path:
    """The folder of TF Serving's own small models."""
    folder = data_root / "tf_serving_testdata"
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder} does not exist")
    return folder


class Edges(tf.Module):
    """Every type, scalars, several inputs, a check, a default, and work that does not end by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = tf.Variable(1.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "f"),
            tf.TensorSpec([None], tf.int32, "i"),
            tf.TensorSpec([None], tf.string, "s"),
            tf.TensorSpec([None], tf.bool, "b"),
        ]
    )
    def types(self, f: tf.Tensor, i: tf.Tensor, s: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "double": tf.cast(f, tf.float64) / 3,
            "float": f / 3,
            "half": tf.cast(f, tf.float16),
            "int8": tf.cast(i, tf.int8),
            "int64": tf.cast(i, tf.int64) * 10**12,
            "uint64": tf.cast(i, tf.uint64),
            "not": tf.logical_not(b),
            "text": s,
            "raw_bytes": s,
            "complex": tf.complex(f, -f),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None, 2], tf.float32, "b")])
    def pair(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": a + tf.reduce_sum(b, axis=1), "both": b + self.offset}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def scalar(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + 1}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "s")])
    def text(self, s: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y_bytes": s, "length": tf.strings.length(s)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def checked(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.assert_positive(tf.size(x), "Send at least one value.")]):
            return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, "steps")])
    def slow(self, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        _, total = tf.while_loop(
            lambda i, _: i < steps,
            lambda i, t: (i + 1, tf.sin(t) + 1.0),
            (tf.constant(0, tf.int64), tf.constant(0.0)),
        )
        return {"total": total}


@pytest.fixture(scope="session")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a model for the edges of the API, version 1."""
    base = tmp_path_factory.mktemp("edges")
    module = Edges()
    names = ("types", "pair", "scalar", "text", "checked", "slow")
    tf.saved_model.save(module, str(base / "1"), signatures={name: getattr(module, name) for name in names})
    return base


@pytest.fixture(scope="session")
def run_server() -> Iterator[Callable[..., Running]]:
    """Starts a server on free ports; those still running are stopped at the end."""
    running = []

    def run(models: dict[str, Path] | None = None, **options: Any) -> Running:
        options = {"file_system_poll_wait_seconds": 0, "drain_seconds": 10.0, **options}
        found = Running(ServeOptions(models or {}, port=free_port(), rest_api_port=free_port(), **options))
        running.append(found)
        return found

    yield run
    with ThreadPoolExecutor() as pool:  # each waits for what is still open
        list(pool.map(lambda server: server.stop(), [server for server in running if server._thread.is_alive()]))


@pytest.fixture(scope="session")
def config_text(tf_models: Path) -> str:
    """A `ModelServerConfig` of several models, policies and labels."""
    two = f'base_path: "{tf_models / TWO_VERSIONS}" model_platform: "tensorflow"'
    return f"""model_config_list: {{
      config: {{ name: "two" {two} model_version_policy {{ all {{}} }}
                version_labels {{ key: "stable" value: 123 }} version_labels {{ key: "canary" value: 124 }} }},
      config: {{ name: "latest" {two} }}
      config: {{ name: "specific" {two} model_version_policy {{ specific {{ versions: 123 }} }} }}
      config: {{ name: "three" base_path: "{tf_models / "saved_model_half_plus_three"}" model_platform: "tensorflow" }}
      config: {{ name: "tf2" base_path: "{tf_models / "saved_model_half_plus_two_tf2_cpu"}"
                model_platform: "tensorflow" }}
    }}"""


@pytest.fixture(scope="session")
def server(
    run_server: Callable[..., Running], config_text: str, edges: Path, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    """One server for every test that leaves it as it was."""
    extra = f'config: {{ name: "edges" base_path: "{edges}" model_platform: "tensorflow" }} }}'
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text(config_text.rsplit("}", 1)[0] + extra, encoding="utf-8")
    return run_server(model_config_file=str(file))


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, Path]]]:
    """Starts `fewshot serve`, and waits for its last line unless told not to; killed at the end."""
    started: list[subprocess.Popen] = []

    def run(*arguments: str, wait: bool = True) -> tuple[subprocess.Popen, Path]:
        log = tmp_path / "log"
        with log.open("wb") as stream:
            found = subprocess.Popen(
                [sys.executable, "-m", "cli", "serve", *arguments], cwd=ROOT, stderr=stream, stdout=stream
            )
        started.append(found)
        until = time.monotonic() + 120
        while wait and "Exporting HTTP/REST API at:" not in log.read_text():
            assert found.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        return found, log

    yield run
    for one in started:
        one.kill()
        one.wait()
