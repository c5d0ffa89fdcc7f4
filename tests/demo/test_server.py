"""The demo's server: where it does not start, the demo says so and where to look."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot.demo import serving
from fewshot.errors import ServerError


def test_a_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"did not start; .*serve\.log says why"):
        with serving.server(tmp_path / "no models", serving.free_port(), serving.free_port(), tmp_path / "serve.log"):
            pass
    assert (tmp_path / "serve.log").read_text(encoding="utf-8")


def test_a_server_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 0.3)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(ServerError, match="did not answer within 0 seconds"):
            serving._wait_for(serving.free_port(), process, tmp_path / "serve.log")
        process.kill()


def test_a_server_that_listens_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            serving._wait_for(listening.getsockname()[1], process, tmp_path / "serve.log")
            process.kill()
