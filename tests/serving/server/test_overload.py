"""Four times what the server can do for a minute, with idle connections and slow readers beside it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

SECONDS = 60.0
STEPS = 5_000
WORKERS, QUEUE = 2, 2
LONGEST = 30.0
"""Seconds for an answer that is given, on a machine that does other things."""


def ask_grpc(server: Any) -> str:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "edges", "slow"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(STEPS)))
    try:
        server.predictions.Predict(request, timeout=60)
    except grpc.RpcError as error:
        later = dict(error.trailing_metadata() or ())
        assert int(later["grpc-retry-pushback-ms"]) > 0
        return str(error.code().name)
    return "OK"


def ask_rest(server: Any) -> str:
    body = {"signature_name": "slow", "inputs": STEPS}
    response = httpx.post(f"{server.rest.base_url}/v1/models/edges:predict", json=body, timeout=60)
    assert (response.status_code == 200) != ("retry-after" in response.headers)
    return {200: "OK", 429: "RESOURCE_EXHAUSTED"}.get(response.status_code, response.text)


def connect(server: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.options.rest_api_port))


def read_slowly(server: Any, end: float) -> None:
    """Ask for much, and read a letter now and then."""
    body = b'{"signature_name": "checked", "inputs": [' + b"1.0," * 100_000 + b"1.0]}"
    head = f"POST /v1/models/edges:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.options.rest_api_port)) as client,
        ):
            client.sendall(head.encode() + body)
            while time.monotonic() < end and client.recv(1):
                time.sleep(0.1)


@pytest.mark.slow
def test_every_request_of_a_flood_is_answered_or_told_to_come_again(run_server: Callable, edges: Path) -> None:
    running = run_server({"edges": edges}, max_concurrent=WORKERS, max_queue=QUEUE)
    found: Counter[str] = Counter()
    longest, counting = 0.0, threading.Lock()
    end = time.monotonic() + SECONDS

    def client(number: int) -> None:
        nonlocal longest
        while time.monotonic() < end:
            begun = time.monotonic()
            outcome = ask_grpc(running) if number % 2 else ask_rest(running)
            with counting:
                found[outcome] += 1
                if outcome == "OK":
                    longest = max(longest, time.monotonic() - begun)
            if outcome != "OK":
                time.sleep(0.05)

    with contextlib.ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(connect(running))
        with ThreadPoolExecutor(4 * (WORKERS + QUEUE) + 2) as clients:
            readers = [clients.submit(read_slowly, running, end) for _ in range(2)]
            running_clients = [clients.submit(client, number) for number in range(4 * (WORKERS + QUEUE))]
            for one in (*running_clients, *readers):
                one.result(SECONDS + 120)
    assert set(found) == {"OK", "RESOURCE_EXHAUSTED"}, found
    assert longest < LONGEST
    assert ask_grpc(running) == ask_rest(running) == "OK"
    running.stop()
