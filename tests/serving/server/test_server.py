"""`fewshot serve` as a process: flags of TF Serving, log lines, signals, and errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import cli
from fewshot.errors import ArtifactError
from fewshot.exported.status import StatusError
from serving.server.flags import FLAGS, ServeOptions, channel_arguments, read_flags
from serving.server.rest.listening import listen
from serving.server.server import ModelServer
from serving.server.status import as_status
from tests.serving.conftest import free_port


def predict_over(address: str, model: str) -> float:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([2], np.float32)))
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=20).outputs["y"].float_val[0]


@pytest.mark.slow
def test_a_script_for_tf_serving_starts_and_ends_it(process: Callable, tf_models: Path, tmp_path: Path) -> None:
    port, rest_port, unix = free_port(), free_port(), tmp_path / "grpc.sock"
    (tmp_path / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }')
    running, log = process(
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        "--model_name=half_plus_two",
        f"--model_base_path={tf_models / 'saved_model_half_plus_two_2_versions'}",
        f"--monitoring_config_file={tmp_path / 'monitoring.config'}",
        f"--grpc_socket_path={unix}",
        "--rest_api_timeout_in_ms=5000",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=200000,grpc.lb_policy_name=grpclb",
        "--enable_batching",
        "--flush_filesystem_caches=false",
        "--tensorflow_session_parallelism=1",
        "--file_system_poll_wait_seconds=1",
    )
    text = log.read_text()
    assert f"Running gRPC ModelServer at 127.0.0.1:{port} ..." in text
    assert f"Running gRPC ModelServer at UNIX socket {unix} ..." in text
    assert f"Exporting HTTP/REST API at:localhost:{rest_port} ..." in text
    assert "Successfully loaded servable version {name: half_plus_two version: 124}" in text
    (warning,) = [line for line in text.splitlines() if "without effect here" in line]
    assert "--enable_batching" in warning
    assert "--flush_filesystem_caches" in warning
    assert predict_over(f"127.0.0.1:{port}", "half_plus_two") == 3.0
    assert predict_over(f"unix:{unix}", "half_plus_two") == 3.0
    base = f"http://127.0.0.1:{rest_port}"
    assert httpx.post(f"{base}/v1/models/half_plus_two:predict", json={"instances": [2.0]}).json() == {
        "predictions": [3.0]
    }
    assert ":tensorflow:serving:request_count" in httpx.get(f"{base}/metrics").text
    assert httpx.get(f"{base}/monitoring/prometheus/metrics").status_code == 404
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0
    assert "SIGTERM: finishing the requests that run." in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not unix.exists()


def test_only_this_machine_is_listened_to_and_a_taken_port_is_an_error(
    run_server: Callable, edges: Path, tf_models: Path
) -> None:
    running = run_server({"edges": edges})
    for port, words in ((running.options.port, "gRPC server"), (running.options.rest_api_port, "HTTP Server")):
        which = {"port": port, "rest_api_port": 0} if "gRPC" in words else {"port": 0, "rest_api_port": port}
        with pytest.raises(ArtifactError, match=f"Failed to start .*{words}"):
            start_and_stop(ServeOptions({"edges": edges}, file_system_poll_wait_seconds=0, **which))
    addresses = [line.split()[1].split(":") for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    everywhere = {int(port, 16) for address, port in addresses if address == "00000000"}
    assert running.options.port not in everywhere
    assert running.options.rest_api_port not in everywhere
    running.stop()


def test_small_answers_do_not_wait_for_more_to_send() -> None:
    """asyncio sets TCP_NODELAY only on sockets that name their protocol."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def start_and_stop(options: ServeOptions) -> None:
    async def scene() -> None:
        server = ModelServer(options)
        try:
            await server.start()
        finally:
            await server.stop()

    asyncio.run(scene())


def test_the_configuration_file_is_read_again(run_server: Callable, tf_models: Path, tmp_path: Path) -> None:
    def write(name: str) -> None:
        base = tf_models / "saved_model_half_plus_three"
        text = f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }} }}'
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(tmp_path / "models.config")

    write("one")
    running = run_server(model_config_file=str(tmp_path / "models.config"), model_config_file_poll_wait_seconds=0.1)
    assert running.rest.get("/v1/models/one").status_code == 200
    (tmp_path / "models.config").write_text("not a configuration")
    time.sleep(0.3)
    assert running.post("/v1/models/one:predict", {"instances": [2.0]}).status_code == 200
    write("two")
    until = time.monotonic() + 60  # a model is known by its name while it still loads
    while "AVAILABLE" not in running.rest.get("/v1/models/two").text and time.monotonic() < until:
        time.sleep(0.1)
    assert running.post("/v1/models/two:predict", {"instances": [2.0]}).json() == {"predictions": [4.0]}
    running.stop()


def test_browsers_of_other_sites_may_call_it_if_told_so(run_server: Callable, edges: Path) -> None:
    running = run_server({"edges": edges}, rest_api_enable_cors_support=True)
    preflight = running.rest.request("OPTIONS", "/v1/models/edges:predict")
    assert preflight.status_code == 200
    for response in (preflight, running.rest.get("/v1/models/edges")):
        assert response.headers["access-control-allow-origin"] == "*"
    running.stop()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "There is nothing to serve."),
        (["nowhere"], "There is no folder"),
        (["empty"], "holds no model: expected FOLDER/NAME/1/saved_model.pb"),
        (["m/1"], "is one version of a model; name the folder above it"),
        (["--use_alts_credentials=true", "m"], "--use_alts_credentials cannot be served: it works"),
        (["--ssl_config_file=nowhere", "m"], "Failed to start server. Error: NOT_FOUND: nowhere"),
        (["--api_key_file=bad.config", "m"], "line 1 of bad.config does not begin with the SHA-256 of a key"),
        (["--host=0.0.0.0", "m"], "--host=0.0.0.0 would let anyone who reaches this machine compute on it."),
        (["--grpc_channel_arguments=x", "m"], "expected key=value"),
        (["--model_config_file=nowhere.config"], "Failed to start server. Error: NOT_FOUND: nowhere.config"),
        (["--model_config_file=bad.config"], "INVALID_ARGUMENT: Invalid protobuf file: 'bad.config'"),
        (["--model_base_path=nowhere"], "Could not find base path"),
        (["--port=9", "--rest_api_port=9", "m"], "--rest_api_port cannot be same as --port"),
        (["m"], "1 model(s) did not become available"),
        (["--port=x", "m"], "Invalid value for '--port'"),
    ],
)
def test_starts_that_cannot_work_are_one_message(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(b"damaged")
    (tmp_path / "bad.config").write_text("improperly formatted file")
    if "--port" not in str(arguments):
        arguments = [f"--port={free_port()}", f"--rest_api_port={free_port()}", *arguments]
    result = CliRunner().invoke(cli.main, ["serve", *arguments])
    assert result.exit_code != 0
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_the_command_says_what_it_means_to_trust_a_model() -> None:
    said = CliRunner().invoke(cli.main, ["serve", "--help"]).output
    assert "A model is a program" in " ".join(said.split())


def test_folders_become_models(tmp_path: Path) -> None:
    for name in ("a/1", "b/00000002", "empty", "c/x"):
        (tmp_path / name).mkdir(parents=True)
    assert dict(read_flags(tmp_path, {}).models) == {"a": tmp_path / "a", "b": tmp_path / "b"}
    assert dict(read_flags(tmp_path, {"model_name": "b"}).models) == {"b": tmp_path / "b"}
    assert dict(read_flags(tmp_path / "a", {}).models) == {"a": tmp_path / "a"}
    assert dict(read_flags(tmp_path / "a", {"model_name": "z"}).models) == {"z": tmp_path / "a"}
    assert dict(read_flags(None, {"model_base_path": str(tmp_path)}).models) == {"default": tmp_path}
    with pytest.raises(ArtifactError, match="holds no model 'z'"):
        read_flags(tmp_path, {"model_name": "z"})


def test_flags_that_do_something_are_options_with_the_same_default() -> None:
    options = ServeOptions({})
    for flag in FLAGS:
        if flag.help and flag.name not in ("model_name", "model_base_path"):
            assert getattr(options, flag.name) == flag.default, flag.name
    assert read_flags(None, {"model_base_path": "/m", "port": 1, "max_queue": 3}).max_queue == 3
    assert channel_arguments("a=1,b=x,") == {"a": 1, "b": "x"}


def test_flags_are_spelled_with_underscores_or_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ServeOptions] = []
    monkeypatch.setattr("serving.server.server.serve", seen.append)
    for arguments in (
        ["--rest_api_port=1", "--enable_model_warmup=false", "--model_base_path=/m", "--enable_batching=true"],
        ["--rest-api-port", "1", "--enable-model-warmup", "false", "--model-base-path", "/m"],
    ):
        assert CliRunner().invoke(cli.main, ["serve", *arguments], catch_exceptions=False).exit_code == 0
        assert (seen[-1].rest_api_port, seen[-1].enable_model_warmup) == (1, False)


@pytest.mark.parametrize(
    ("error", "code", "http"),
    [
        (tf.errors.InvalidArgumentError(None, None, "m"), "INVALID_ARGUMENT", 400),
        (tf.errors.ResourceExhaustedError(None, None, "m"), "RESOURCE_EXHAUSTED", 429),
        (tf.errors.DeadlineExceededError(None, None, "m"), "DEADLINE_EXCEEDED", 504),
        (tf.errors.UnimplementedError(None, None, "m"), "UNIMPLEMENTED", 501),
        (StatusError("RESOURCE_EXHAUSTED", "m", http=413), "RESOURCE_EXHAUSTED", 413),
        (MemoryError(), "RESOURCE_EXHAUSTED", 429),
        (ZeroDivisionError("m"), "INTERNAL", 500),
    ],
)
def test_exceptions_become_codes(error: Exception, code: str, http: int) -> None:
    status: Any = as_status(error)
    assert (status.code, status.http) == (code, http)
    assert str(status)


def test_long_messages_are_cut_and_odd_characters_do_not_break_them() -> None:
    status = as_status(ValueError("é\udcff" * 2000))
    assert str(status).endswith("...TRUNCATED")
    assert len(str(status).encode()) < 4096
    assert os.fsencode("x")  # the surrogate above is what this makes of a byte that is no UTF-8
