"""Clients that are slow on purpose get so much time and no more, and the others do not wait for them."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENCE = 0.4
PATH = "/v1/models/edges:predict"
BODY = json.dumps({"signature_name": "scalar", "inputs": 2})


@pytest.fixture(scope="module")
def hasty(run_server: Callable, edges: Path) -> Iterator[Any]:
    """A server of little patience."""
    running = run_server({"edges": edges}, slow_client_seconds=PATIENCE)
    yield running
    running.stop()


@contextlib.contextmanager
def connected(server: Any, *, buffer: int = 0) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.connect(("127.0.0.1", server.options.rest_api_port))
        client.settimeout(10)
        yield client


def head(length: int, path: str = PATH) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def everything(client: socket.socket) -> bytes:
    """What the server sends until it ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            found += part
    return found


def test_bytes_that_are_only_declared_take_no_room(server: Any) -> None:
    """Four times the largest request was all that the server holds."""
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(connected(server))
            client.sendall(head(server.options.max_request_bytes))
        time.sleep(0.1)
        response = httpx.post(f"{server.rest.base_url}{PATH}", content=BODY, timeout=20)
        assert (response.status_code, response.json()) == (200, {"outputs": 3.0})


def test_a_declared_length_that_is_too_large_is_refused_before_it_comes(server: Any) -> None:
    with connected(server) as client:
        client.sendall(head(server.options.max_request_bytes + 1))
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_model_that_is_not_there_is_refused_before_the_body_comes(server: Any) -> None:
    with connected(server) as client:
        client.sendall(head(1000, "/v1/models/nowhere:predict"))
        assert client.recv(1000).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /v1/mod", head(10, "/nowhere") + b"12345"],
    ids=["nothing", "half a head", "half a body whose answer is sent"],
)
def test_a_connection_that_waits_for_its_client_is_ended(hasty: Any, sent: bytes) -> None:
    with connected(hasty) as client:
        client.sendall(sent)
        begun = time.monotonic()
        everything(client)
        assert time.monotonic() - begun < 10 * PATIENCE


def test_a_head_that_comes_letter_by_letter_is_not_waited_for(hasty: Any) -> None:
    begun = time.monotonic()
    with connected(hasty) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for letter in head(10).decode() * 10:
            client.sendall(letter.encode())
            time.sleep(PATIENCE / 10)
            assert time.monotonic() - begun < 10 * PATIENCE


def test_a_body_that_does_not_come_is_refused(hasty: Any) -> None:
    with connected(hasty) as client:
        client.sendall(head(1000) + b"{")
        found = everything(client)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"The request came too slowly, 1 bytes" in found


def test_a_body_that_is_slower_than_may_be_is_refused(hasty: Any) -> None:
    begun = time.monotonic()
    with connected(hasty) as client:
        client.sendall(head(10_000))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - begun < 20 * PATIENCE:
                client.sendall(b" ")
                time.sleep(PATIENCE / 20)
                client.settimeout(0.001)
                with contextlib.suppress(TimeoutError):
                    assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
                    break
        assert time.monotonic() - begun < 10 * PATIENCE


def test_a_body_that_is_slow_but_not_too_slow_is_answered(hasty: Any) -> None:
    text = BODY.encode() + b" " * 3000
    with connected(hasty) as client:
        client.sendall(head(len(text)))
        for first in range(0, len(text), 500):
            client.sendall(text[first : first + 500])
            time.sleep(PATIENCE / 3)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_requests_that_follow_each_other_keep_the_connection(hasty: Any) -> None:
    with connected(hasty) as client:
        for _ in range(4):
            client.sendall(head(len(BODY)) + BODY.encode())
            found = b""
            while not found.endswith(b"}"):  # head and body come apart
                found += client.recv(1000)
            assert found.startswith(b"HTTP/1.1 200 ")
            time.sleep(0.7 * PATIENCE)


def test_an_answer_that_nobody_reads_is_given_up(hasty: Any) -> None:
    text = json.dumps({"signature_name": "checked", "inputs": [1.0] * 600_000}).encode()
    with connected(hasty, buffer=4096) as client:
        client.sendall(head(len(text)) + text)
        assert client.recv(10) == b"HTTP/1.1 2"
        connections = hasty.server._rest.server_state.connections
        address = client.getsockname()
        until = time.monotonic() + 20 * PATIENCE
        while any(one.client == address for one in set(connections)):
            assert time.monotonic() < until, "the answer waits for ever"
            time.sleep(0.05)
