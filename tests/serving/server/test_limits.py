"""The server takes so much and no more, refuses the rest at once, and forgets nothing it holds."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from fewshot.exported.status import StatusError
from serving.server.config import single_model_config
from serving.server.limits import Admission, ServerLimits
from serving.server.loading import LoadOptions, load_version
from serving.server.metrics import MOST_LABELS, OTHER, Sampler
from serving.server.metrics import Counter as Counted
from serving.server.stopping import Stop
from serving.server.versions import Versions
from tests.serving.server.memory import resident


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def slow_request(steps: int) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "edges", "slow"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(steps)))
    return request


def test_as_many_run_and_wait_as_may_and_the_next_is_refused() -> None:
    async def scene() -> None:
        admission = Admission(ServerLimits(workers=2, queue=1))
        gate = threading.Event()
        running = [asyncio.create_task(admission.run(gate.wait, Stop())) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(StatusError) as caught:
            await admission.run(gate.wait, Stop())
        assert (caught.value.code, caught.value.http) == ("RESOURCE_EXHAUSTED", 429)
        gate.set()
        assert await asyncio.gather(*running) == [True] * 3
        await asyncio.sleep(0.05)
        assert admission.pending == 0
        assert await admission.run(lambda: 7, Stop()) == 7
        admission.close()

    asyncio.run(scene())


def test_a_deadline_ends_the_waiting_but_the_place_is_free_only_when_the_work_is_done() -> None:
    async def scene() -> None:
        admission = Admission(ServerLimits(workers=1, queue=1))
        gate = threading.Event()
        ran: list[int] = []
        soon = time.monotonic() + 0.05
        with pytest.raises(StatusError) as caught:
            await admission.run(gate.wait, Stop(soon))
        assert (caught.value.code, caught.value.http) == ("DEADLINE_EXCEEDED", 504)
        assert admission.pending == 1
        with pytest.raises(StatusError, match="deadline"):  # it never gets its turn
            await admission.run(lambda: ran.append(1), Stop(time.monotonic() + 0.05))
        await asyncio.sleep(0.05)
        assert admission.pending == 1
        gate.set()
        assert await admission.run(lambda: 7, Stop(time.monotonic() + 5)) == 7
        assert ran == []
        admission.close()

    asyncio.run(scene())


def test_bytes_are_counted_and_given_back() -> None:
    admission = Admission(ServerLimits(workers=1, queue=1, request_bytes=10, pending_bytes=15))
    with admission.holding() as first:
        first(10)
        with pytest.raises(StatusError) as caught:
            first(1)
        assert (caught.value.code, caught.value.http) == ("RESOURCE_EXHAUSTED", 413)
        with pytest.raises(StatusError) as caught, admission.holding() as second:
            second(6)
        assert caught.value.http == 429
    with admission.holding() as third:
        third(10)
    admission.close()


def test_one_address_holds_a_part_of_the_bytes_only() -> None:
    admission = Admission(ServerLimits(workers=1, queue=1, request_bytes=10, pending_bytes=100, client_bytes=15))
    with admission.holding("10.0.0.1") as first, admission.holding("10.0.0.1") as second:
        first(10)
        with pytest.raises(StatusError, match="from this address") as caught:
            second(6)
        assert caught.value.http == 429
        with admission.holding("10.0.0.2") as other:
            other(10)
    with admission.holding("10.0.0.1") as again:
        again(10)
    admission.close()


def test_large_requests_are_refused_by_both_apis(run_server: Callable, edges: Path) -> None:
    running = run_server({"edges": edges}, max_request_bytes=100_000)
    text = '{"signature_name": "checked", "inputs": [' + "1.0," * 50_000 + "1.0]}"
    too_large = running.post("/v1/models/edges:predict", text)
    assert too_large.status_code == 413
    assert "larger than 100000 bytes" in too_large.json()["error"]
    chunks = (text[i : i + 1000].encode() for i in range(0, len(text), 1000))
    assert running.rest.post("/v1/models/edges:predict", content=chunks).status_code == 413
    packed = running.rest.post(
        "/v1/models/edges:predict", content=gzip.compress(text.encode()), headers={"Content-Encoding": "gzip"}
    )
    assert packed.status_code == 413
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "edges"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros(50_000, np.float32)))
    with pytest.raises(grpc.RpcError) as caught:
        running.predictions.Predict(request, timeout=20)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    small = running.post("/v1/models/edges:predict", {"signature_name": "scalar", "inputs": 1.0})
    assert small.json() == {"outputs": 2.0}
    running.stop()


def test_four_times_more_clients_than_places_are_answered_or_refused(run_server: Callable, edges: Path) -> None:
    running = run_server({"edges": edges}, max_concurrent=2, max_queue=2, rest_api_timeout_in_ms=20_000)
    running.predictions.Predict(slow_request(10), timeout=20)

    def over_grpc(_: int) -> str:
        try:
            running.predictions.Predict(slow_request(1_000), timeout=20)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    def over_rest(_: int) -> str:
        body = {"signature_name": "slow", "inputs": 1_000}
        response = httpx.post(f"{running.rest.base_url}/v1/models/edges:predict", json=body, timeout=20)
        return {200: "OK", 429: "RESOURCE_EXHAUSTED"}.get(response.status_code, response.text)

    with ThreadPoolExecutor(16) as clients:
        outcomes = [clients.submit(over_grpc if i % 2 else over_rest, i) for i in range(32)]
        found = Counter(outcome.result(60) for outcome in outcomes)
    assert set(found) == {"OK", "RESOURCE_EXHAUSTED"}
    assert found["OK"] >= 4
    assert running.rest.get("/health").status_code == 200
    assert over_grpc(0) == over_rest(0) == "OK"
    running.stop()


def test_rest_requests_have_a_time_limit_and_status_answers_meanwhile(run_server: Callable, edges: Path) -> None:
    running = run_server({"edges": edges}, max_concurrent=1, max_queue=4, rest_api_timeout_in_ms=1000)
    with ThreadPoolExecutor(1) as client:
        body = {"signature_name": "slow", "inputs": 10**12}
        begun = time.monotonic()
        late = client.submit(running.post, "/v1/models/edges:predict", body)
        while not running.server.busy:
            time.sleep(0.01)
        assert running.rest.get("/v1/models/edges").status_code == 200
        assert not late.done(), "the event loop waits for TensorFlow"
        response = late.result(20)
    assert response.status_code == 504
    assert "error" in response.json()
    assert time.monotonic() - begun < 10
    running.stop()


def test_draining_finishes_what_runs_and_refuses_what_comes(run_server: Callable, edges: Path) -> None:
    running = run_server({"edges": edges}, drain_seconds=20.0)
    running.predictions.Predict(slow_request(10), timeout=20)
    with ThreadPoolExecutor(2) as clients:
        grpc_answer = clients.submit(running.predictions.Predict, slow_request(30_000), timeout=60)
        body = {"signature_name": "slow", "inputs": 30_000}
        url = f"{running.rest.base_url}/v1/models/edges:predict"
        rest_answer = clients.submit(httpx.post, url, json=body, timeout=60)
        until = time.monotonic() + 20
        while running.server._admission.pending < 2 and time.monotonic() < until:
            time.sleep(0.01)
        running.stop()
        assert grpc_answer.result(1).outputs["total"].dtype == 1
        assert rest_answer.result(1).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{running.options.rest_api_port}/health")


def test_the_labels_of_a_metric_do_not_grow_without_end() -> None:
    counter, sampler = Counted("c", ("model_name", "status")), Sampler("s", ("model_name",))
    for i in range(2 * MOST_LABELS):
        counter.add(f"m{i}", "NOT_FOUND")
        sampler.add(f"m{i}", sample=1.0)
    assert len(counter.lines()) == MOST_LABELS + 2
    assert f':tensorflow:serving:c{{model_name="{OTHER}",status="NOT_FOUND"}} {MOST_LABELS}' in counter.lines()
    assert f':tensorflow:serving:s_count{{model_name="{OTHER}"}} {MOST_LABELS}' in sampler.lines()


def test_samples_fall_into_tf_servings_buckets() -> None:
    sampler = Sampler("latency", ("model_name",))
    for sample in (1.0, 10.0, 17.0, 1e12):
        sampler.add('a"b\\', sample=sample)
    text = "\n".join(sampler.lines())
    start = ':tensorflow:serving:latency_bucket{model_name="a\\"b\\\\",le='
    assert f'{start}"10"}} 1\n' in text
    assert f'{start}"18"}} 3\n' in text
    assert f'{start}"32.4"}} 3\n' in text
    assert f'{start}"+Inf"}} 4\n' in text
    assert text.endswith('latency_count{model_name="a\\"b\\\\"} 4')


@pytest.mark.slow
def test_ten_thousand_requests_leave_nothing_behind(run_server: Callable, edges: Path) -> None:
    """Answers and refusals over both APIs; the memory of the process, server and clients, stays where it was."""
    running = run_server({"edges": edges})
    values = np.random.default_rng(0).random(20_000, np.float32)  # 80 KB over gRPC, 400 KB over REST
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "edges", "checked"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
    wrong = predict_pb2.PredictRequest()
    wrong.CopyFrom(request)
    wrong.model_spec.signature_name = "zz"
    small = {"signature_name": "pair", "instances": [{"a": 1.0, "b": [2.0, 3.0]}] * 50}

    def some(count: int) -> None:
        for i in range(count):
            if i % 2:
                assert len(running.predictions.Predict(request, timeout=30).outputs["y"].float_val) == len(values)
            elif i % 4:
                assert running.post("/v1/models/edges:predict", small).status_code == 200
            elif i % 8:
                assert running.post("/v1/models/edges:predict", '{"inputs": [').status_code == 400
            else:
                with pytest.raises(grpc.RpcError):
                    running.predictions.Predict(wrong, timeout=30)

    some(2000)
    before, files = resident(), open_files()
    some(10_000)
    grown = resident() - before
    assert grown < 0.05 * before, f"{grown / 1e6:.0f} MB more than {before / 1e6:.0f} after 10,000 requests"
    assert open_files() <= files + 5
    assert not running.server.busy
    running.stop()


@pytest.mark.slow
def test_versions_that_come_and_go_leave_nothing_behind(tf_models: Path, tmp_path: Path) -> None:
    source = tf_models / "saved_model_half_plus_two_tf2_cpu" / "00000123"
    base = tmp_path / "m"
    shutil.copytree(source, base / "1")
    versions = Versions(partial(load_version, options=LoadOptions()), poll_seconds=0)
    versions.start(single_model_config({"m": base}))
    before = 0
    for number in range(2, 62):
        shutil.copytree(source, base / str(number))
        versions.poll()
        shutil.rmtree(base / str(number - 1))
        if number == 12:
            before = resident()
    grown = resident() - before
    versions.stop()
    assert grown < 50 * 1e6, f"{grown / 1e6:.0f} MB more after 50 versions"
