"""The demo's serving: a server in a process of its own that adapts over gRPC and REST."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fewshot.errors import ServerError
from fewshot.exported import FewshotClient
from fewshot.tasks import gather, sample_tasks
from fewshot.training import Images, Run

TASKS = 20
"""Tasks that are sent to the server."""
PATIENCE = 300.0
"""Seconds that the server may take to start."""


def ask_server(run: Path, version: Path, log: Path) -> Iterator[str]:
    """Serve a version, and compare its answers to a run's test tasks with those measured in training's own room.

    Args:
        run: The run folder.
        version: What was exported of it, DIR/NAME/N.
        log: File for what the server says.

    Yields:
        A sentence for each protocol.
    """
    opened = Run.open(run)
    regions = opened.regions("test")
    tasks = sample_tasks(regions, Images(opened.recipe.tasks).evaluation_spec(), TASKS, seed=11)
    grpc, rest = free_port(), free_port()
    with server(version.parent.parent, grpc, rest, log):
        for name, target in (("gRPC", f"localhost:{grpc}"), ("REST", f"http://localhost:{rest}")):
            with FewshotClient(target, model=version.parent.name, timeout=PATIENCE) as client:
                right, seconds = [], []
                for task in tasks:
                    batch = gather(regions, [task])
                    start = time.perf_counter()
                    answer = client.adapt_and_predict(batch.support_x[0], batch.support_y[0], batch.query_x[0])
                    seconds.append(time.perf_counter() - start)
                    right.append(np.mean(answer.class_index == batch.query_y[0]))
            yield (
                f"{name}: {100 * np.mean(right):.1f} % of the queries of {TASKS} tasks right, "
                f"{1000 * np.median(seconds):.0f} ms a request (adapt to {len(task.support)}, predict "
                f"{len(task.query)} patches)"
            )


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(models: Path, grpc: int, rest: int, log: Path) -> Iterator[None]:
    """Serve the models of a folder in another process meanwhile; clients wait for it until it answers.

    Args:
        models: Folder of models, DIR/NAME/N.
        grpc: Port of that protocol.
        rest: Port of that protocol.
        log: File for what the server says.
    """
    command = [sys.executable, "-c", "import cli; cli.main()", "serve", str(models)]
    command += [f"--port={grpc}", f"--rest_api_port={rest}"]
    with log.open("w", encoding="utf-8") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            _wait_for(grpc, process, log)
            yield
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens on a port of this machine.

    Raises:
        ServerError: if it does not, or has ended.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    how = "did not start" if process.poll() is not None else f"did not answer within {PATIENCE:.0f} seconds"
    raise ServerError(f"the demo's server {how}; {log} says why")
