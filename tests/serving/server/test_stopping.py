"""A computation that nobody waits for ends: its client went away, gave up, or its time is over."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from fewshot.exported.status import StatusError
from serving.server.stopping import Stop

ENDLESS = 10**12
SOON = 1.0


def endless() -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "edges", "slow"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(ENDLESS)))
    return request


def until(holds: Callable[[], bool], seconds: float, words: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, words
        time.sleep(0.01)


def idle(server: Any) -> None:
    """The server computes nothing within a second, and then takes no processor time any more."""
    until(lambda: not server.server.busy, SOON, "it still computes")
    before = os.times()
    time.sleep(0.3)
    after = os.times()
    assert after.user + after.system - before.user - before.system < 0.15


def test_a_client_that_cancels_stops_its_computation(server: Any) -> None:
    future = server.predictions.Predict.future(endless(), timeout=60)
    until(lambda: server.server.busy, 10, "it never began")
    time.sleep(0.2)
    future.cancel()
    idle(server)


def test_a_client_that_ends_its_channel_stops_its_computation(server: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        running = call.future(endless().SerializeToString(), timeout=60)
        until(lambda: server.server.busy, 10, "it never began")
        assert not running.done()
    idle(server)


def test_a_rest_client_that_goes_away_stops_its_computation(server: Any) -> None:
    body = json.dumps({"signature_name": "slow", "inputs": ENDLESS}).encode()
    with socket.create_connection(("127.0.0.1", server.options.rest_api_port)) as client:
        head = f"POST /v1/models/edges:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: server.server.busy, 10, "it never began")
        time.sleep(0.2)
    idle(server)


def test_a_deadline_stops_the_computation(server: Any) -> None:
    with pytest.raises(grpc.RpcError) as late:
        server.predictions.Predict(endless(), timeout=0.3)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    idle(server)


def test_one_that_is_stopped_does_not_stop_the_others(server: Any) -> None:
    """A session would stop all of its runs."""
    answers: list[httpx.Response] = []
    url, body = f"{server.rest.base_url}/v1/models/edges:predict", {"signature_name": "slow", "inputs": 20_000}
    other = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body, timeout=60)))
    stopped = server.predictions.Predict.future(endless(), timeout=60)
    other.start()
    time.sleep(0.1)
    stopped.cancel()
    other.join()
    assert answers[0].status_code == 200
    idle(server)


def test_what_is_stopped_before_it_begins_is_not_begun() -> None:
    stop = Stop()
    stop.check()
    stop.now()
    with pytest.raises(StatusError) as gone:
        stop.check()
    assert gone.value.code == "CANCELLED"
    with pytest.raises(StatusError) as late:
        Stop(time.monotonic() - 1).check()
    assert late.value.code == "DEADLINE_EXCEEDED"
