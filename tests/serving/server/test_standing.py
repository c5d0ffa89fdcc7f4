"""What happens to servers: they are killed, and their versions are written, damaged and taken away while they serve."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
import pytest

from fewshot.errors import ServerError
from fewshot.exported import find_model
from fewshot.exported.client import FewshotClient
from tests.kills import FIFTY
from tests.serving.conftest import free_port
from tests.serving.requests import predict_request

T = TypeVar("T")
MODEL = "earth-patches"
CHANGES = 60
PIECE = 200
"""Bytes of a file that is being copied."""


def copied(source: Path, base: Path, number: int, *, under: str = "") -> Path:
    folder = base / (under or str(number))
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    return folder


def appear(source: Path, base: Path, number: int, dice: random.Random) -> None:
    """Whole at once, as `fewshot export` writes it."""
    copied(source, base, number, under=f".{number}").rename(base / str(number))


def appear_slowly(source: Path, base: Path, number: int, dice: random.Random) -> None:
    """Piece by piece, in place, the graph first: there is a version long before it is whole."""
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        to = base / str(number) / file.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("wb") as stream:
            content = file.read_bytes()
            for first in range(0, len(content), max(PIECE, len(content) // 4)):
                stream.write(content[first : first + max(PIECE, len(content) // 4)])
                stream.flush()
                time.sleep(0.02)


def appear_damaged(source: Path, base: Path, number: int, dice: random.Random) -> None:
    """With one of its files cut short, or with other bytes in its variables."""
    folder = copied(source, base, number, under=f".{number}")
    file = dice.choice([folder / "saved_model.pb", *(folder / "variables").iterdir()])
    content = file.read_bytes()
    cut = dice.randrange(len(content))
    other = b"" if file.suffix == ".pb" or dice.random() < 0.5 else dice.randbytes(len(content) - cut)
    file.write_bytes(content[:cut] + other)
    folder.rename(base / str(number))


def appear_and_vanish(source: Path, base: Path, number: int, dice: random.Random) -> None:
    """Taken away while it may be loading."""
    copied(source, base, number, under=f".{number}").rename(base / str(number))
    time.sleep(dice.uniform(0, 0.2))
    shutil.rmtree(base / str(number))


def vanish(source: Path, base: Path, number: int, dice: random.Random) -> None:
    """The newest is taken away, so that an older one serves again."""
    there = sorted(int(path.name) for path in base.iterdir() if path.name.isdigit() and path.is_dir())
    for newest in there[2:]:
        shutil.rmtree(base / str(newest))


def be_no_model(source: Path, base: Path, number: int, dice: random.Random) -> None:
    """A folder with nothing in it, or a file."""
    if dice.random() < 0.5:
        (base / str(number)).mkdir()
    else:
        (base / str(number)).write_text("not a folder", encoding="utf-8")


EVENTS = (appear, appear_slowly, appear_damaged, appear_and_vanish, appear, be_no_model, vanish)


@pytest.mark.slow
def test_versions_that_come_and_go_fail_no_request(
    run_server: Callable, tf_models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tf_models / "saved_model_half_plus_two_tf2_cpu" / "00000123"
    base, dice = tmp_path / "m", random.Random(1)
    for number in (1, 2):
        copied(source, base, number)
    running = run_server({"m": base}, file_system_poll_wait_seconds=0.02)
    over, found, versions = threading.Event(), Counter[str](), set[int]()

    def ask_grpc() -> None:
        while not over.is_set():
            try:
                answer = running.predictions.Predict(predict_request("m", x=np.array([2], np.float32)), timeout=60)
                versions.add(answer.model_spec.version.value)
                found[f"gRPC {answer.outputs['y'].float_val[0]}"] += 1
            except grpc.RpcError as error:
                found[f"gRPC {error.code().name}: {error.details()}"] += 1

    def ask_rest() -> None:
        while not over.is_set():
            found[f"REST {running.post('/v1/models/m:predict', {'instances': [2.0]}).text}"] += 1

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask) for ask in (ask_grpc, ask_rest) * 2]
        try:
            for number in range(3, 3 + CHANGES):
                EVENTS[number % len(EVENTS)](source, base, number, dice)
                time.sleep(dice.uniform(0, 0.3))
        finally:
            over.set()
        for one in asking:
            one.result(60)
    assert {words.split()[0] for words in found} == {"gRPC", "REST"}
    assert len(found) == 2, found
    assert found["gRPC 3.0"] > 100
    assert len(versions) > CHANGES / 10
    assert "Looking for new versions failed" not in caplog.text
    running.stop()


def until_answered(ask: Callable[[], T]) -> T:
    """Ask again as long as there is no server, or one that stops while it answers, or that has too little time."""
    while True:
        try:
            return ask()
        except ServerError as error:
            assert error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), error
            time.sleep(0.05)


@pytest.mark.slow
def test_a_server_that_is_killed_fifty_times_loses_nothing(process: Callable, tmp_path: Path) -> None:
    """While it starts and while it computes. Its clients ask again; it starts again at the same places."""
    dice, port, rest_port, unix = random.Random(1), free_port(), free_port(), tmp_path / "grpc.sock"
    model = find_model(MODEL).parent
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    # Warming up takes longer than the life of one that is killed.
    places = (
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--grpc_socket_path={unix}",
        "--enable_model_warmup=false",
    )
    targets = (f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}", f"unix:{unix}")
    over, answers = threading.Event(), Counter[str]()
    pictures = np.random.default_rng(0).random((6, 16, 16, 10), np.float32)
    labels = np.arange(6, dtype=np.int32) % 3

    def work(target: str) -> None:
        """Adapt, and predict with what was adapted; what fails for want of a server is asked for again."""
        with FewshotClient(target, model=MODEL, timeout=120) as client:
            adapted = until_answered(lambda: client.adapt(pictures, labels, steps=2))
            first = until_answered(lambda: client.predict(adapted, pictures))
            while not over.is_set():
                again = until_answered(lambda: client.predict(adapted, pictures))
                np.testing.assert_allclose(again.probabilities, first.probabilities, atol=1e-5)
                answers[target] += 1

    def answered(running: subprocess.Popen, more: int) -> None:
        wanted = {target: answers[target] + more for target in targets}
        while any(answers[target] < wanted[target] for target in targets):
            assert running.poll() is None, (tmp_path / "log").read_text()
            for one in asking:
                assert not one.done(), one.exception()
            time.sleep(0.01)

    with ThreadPoolExecutor(len(targets)) as clients:
        asking = [clients.submit(work, target) for target in targets]
        try:
            for kill in range(FIFTY):
                running, _ = process(MODEL, *places, wait=False)
                if kill % 4:
                    answered(running, dice.randint(1, 5))
                else:
                    time.sleep(dice.uniform(0, 8))
                running.kill()
                running.wait()
            running, _ = process(MODEL, *places, wait=False)
            answered(running, 3)
        finally:
            over.set()
        for one in asking:
            one.result(120)
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
