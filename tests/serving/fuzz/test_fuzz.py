"""Thousands of broken requests: each is answered or refused in words, quickly, and the server is as it was."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.serving.fuzz import seeds
from tests.serving.fuzz.mutation import mutated
from tests.serving.server.memory import resident

FEW, MANY = 300, 5000
FRAMES = 9
"""Of so many requests one is a frame, which costs the server's patience."""
LIMIT = 5.0
"""Seconds for one answer."""
PATIENCE = 0.05
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "OK"}
SECRETS = ("Traceback", 'File "', str(Path(__file__).resolve().parents[3]), "site-packages", "__inference")


@pytest.fixture(scope="module")
def target(
    run_server: Callable, config_text: str, edges: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server of several models and little patience."""
    file = tmp_path_factory.mktemp("fuzz") / "models.config"
    extra = f'config: {{ name: "edges" base_path: "{edges}" model_platform: "tensorflow" }} }}'
    file.write_text(config_text.rsplit("}", 1)[0] + extra, encoding="utf-8")
    running = run_server(model_config_file=str(file), slow_client_seconds=PATIENCE, rest_api_timeout_in_ms=4000)
    running.secrets = (*SECRETS, str(edges), str(file.parent))
    yield running
    running.stop()


def check_words(target: Any, text: str) -> None:
    assert not [secret for secret in target.secrets if secret in text], text


def send_body(target: Any, path: str, body: bytes) -> None:
    begun = time.monotonic()
    try:
        response = target.rest.post(path, content=body)
    except httpx.TransportError:  # the connection that was kept has been idle for too long
        response = httpx.post(f"{target.rest.base_url}{path}", content=body)
    assert time.monotonic() - begun < LIMIT
    assert response.status_code in (200, 400, 404, 413, 501), (response.status_code, response.text, body)
    assert (response.status_code == 200) == ("error" not in response.json())
    check_words(target, response.text)


def send_message(target: Any, method: str, message: bytes) -> None:
    begun = time.monotonic()
    code, words = "OK", ""
    try:
        target.channel.unary_unary(method)(message, timeout=4)
    except grpc.RpcError as error:
        code, words = error.code().name, error.details()
    assert time.monotonic() - begun < LIMIT
    assert code in REFUSALS, (code, words, method, message)
    assert code == "OK" or words
    check_words(target, words)


def send_frame(target: Any, frame: bytes) -> None:
    begun = time.monotonic()
    found = b""
    with socket.create_connection(("127.0.0.1", target.options.rest_api_port), timeout=LIMIT) as client:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(frame)
            while part := client.recv(1 << 16):
                found += part
    assert time.monotonic() - begun < LIMIT
    assert not found or found.startswith(b"HTTP/1.1 "), found
    assert not found.startswith(b"HTTP/1.1 5") or found.startswith(b"HTTP/1.1 501 "), (found, frame)
    check_words(target, found.decode("latin-1"))


def run(target: Any, count: int, seed: int) -> None:
    """Send so many: bodies and messages in turn, and now and then a frame."""
    dice = random.Random(seed)
    methods = list(seeds.MESSAGES)
    bodies: Sequence[bytes] = (*seeds.BODIES, *(body for body in seeds.HARMFUL_BODIES if len(body) < 10_000))
    for number in range(count):
        if number % FRAMES == 0:
            send_frame(target, mutated(seeds.FRAMES, dice))
        elif number % 2:
            send_body(target, dice.choice(seeds.PATHS), mutated(bodies, dice))
        else:
            method = dice.choice(methods)
            harmful = seeds.HARMFUL_MESSAGES if method.endswith("/Predict") else ()
            send_message(target, method, mutated((*seeds.MESSAGES[method], *harmful), dice))


def is_well(target: Any) -> None:
    """It answers as it did, and computes for nobody."""
    url = f"{target.rest.base_url}/v1/models/two:predict"
    assert httpx.post(url, json={"instances": [1.0]}, timeout=LIMIT).json() == {"predictions": [2.5]}
    end = time.monotonic() + LIMIT
    while target.server.busy:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("path", seeds.PATHS[:3])
@pytest.mark.parametrize("number", range(len(seeds.HARMFUL_BODIES)))
def test_bodies_that_did_harm(target: Any, path: str, number: int) -> None:
    send_body(target, path, seeds.HARMFUL_BODIES[number])


@pytest.mark.parametrize("number", range(len(seeds.HARMFUL_MESSAGES)))
def test_messages_that_did_harm(target: Any, number: int) -> None:
    send_message(target, f"{seeds.PREDICTION}Predict", seeds.HARMFUL_MESSAGES[number])


@pytest.mark.parametrize("number", range(len(seeds.HARMFUL_FRAMES)))
def test_frames_that_did_harm(target: Any, number: int) -> None:
    send_frame(target, seeds.HARMFUL_FRAMES[number])


def test_requests_as_they_should_be_are_answered(target: Any) -> None:
    """What is changed below is right before it is changed."""
    for method, messages in seeds.MESSAGES.items():
        for message in messages:
            target.channel.unary_unary(method)(message, timeout=4)
    for frame in seeds.FRAMES[:2]:
        with socket.create_connection(("127.0.0.1", target.options.rest_api_port), timeout=LIMIT) as client:
            client.sendall(frame)
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_three_hundred_broken_requests(target: Any) -> None:
    run(target, FEW, seed=1)
    is_well(target)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_ten_thousand_broken_requests_and_no_memory_lost(target: Any, seed: int) -> None:
    """Five thousand of each seed; the memory of the process, server and clients, stays where it was."""
    run(target, FEW, seed=seed + 100)
    before = resident()
    run(target, MANY, seed=seed)
    is_well(target)
    assert resident() < 1.05 * before
