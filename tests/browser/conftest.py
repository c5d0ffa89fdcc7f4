"""A real browser at a real server: the system's Chromium, driven by Playwright, at `fewshot label` of a small scene."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from tests.mapping import fakes

ROOT = Path(__file__).resolve().parents[2]
SIDE = 192  # pixels of the scene, each way
PATIENCE = 30_000  # milliseconds
_EMPTY = """async () => {
    const { classes } = await (await fetch("/api/project")).json();
    const edits = classes.map(({ id }) => ({ op: "delete_class", id }));
    const headers = { "Content-Type": "application/json" };
    if (edits.length) await fetch("/api/edits", { method: "POST", headers, body: JSON.stringify({ edits }) });
}"""
_OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@dataclass
class LabelServer:
    """`fewshot label` as a process of its own, which can be killed and started again on its port.

    Attributes:
        scene: That is labelled.
        project: Its folder.
        more: Options.
        address: That the process printed.
    """

    scene: Path
    project: Path
    more: tuple[str, ...] = ()
    address: str = ""
    _port: int = 0
    _process: subprocess.Popen[str] | None = None
    _log: list[str] = field(default_factory=list)

    def start(self) -> LabelServer:
        """Start it, and wait until the page can be opened."""
        self._port = self._port or free_port()
        command = [sys.executable, ROOT / "cli.py", "label", self.scene, "--method", "logistic", "--no-browser"]
        options = ["--project", self.project, "--port", str(self._port)]
        self._process = subprocess.Popen(
            [str(part) for part in (*command, *options, *self.more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = _address(self._process.stdout)
        return self

    @property
    def origin(self) -> str:
        """Of every address that the page may ask for."""
        return f"http://127.0.0.1:{self._port}"

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process:
            self._process.send_signal(by)
            self._process.communicate(timeout=20)
            self._process = None


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def _address(lines: IO[str] | None) -> str:
    found = next((line for line in lines or () if "http://" in line), None)
    assert found, "the server printed no address"
    return found[found.index("http://") :].strip()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser, which finds no host but this machine."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install -r tests/browser/requirements.txt")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        pytest.skip("no browser: apt-get install chromium")
    options = [_OFFLINE, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of three classes in squares of 24 pixels."""
    truth = fakes.draw_truth(SIDE, SIDE, cell=24)
    return fakes.write_scene(
        tmp_path_factory.mktemp("scene") / "scene.tif", fakes.draw_pixels(truth), fakes.grid_of(SIDE, SIDE)
    )


@pytest.fixture(scope="session")
def server(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelServer]:
    """A server, which takes seconds to start: the tests share it."""
    own = LabelServer(scene, tmp_path_factory.mktemp("label") / "project").start()
    yield own
    own.stop(signal.SIGKILL)


@pytest.fixture
def open_page(chromium: Any, server: LabelServer) -> Iterator[Callable[..., Any]]:
    """Opens the page of a project without classes, in a browser's window of its own each time.

    None may ask another host, or fail in a script.
    """
    asked: list[str] = []
    failed: list[str] = []
    with ExitStack() as closing:
        opened: list[Any] = []

        def open_it(**settings: Any) -> Any:
            window = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
            closing.callback(window.close)
            page = window.new_page()
            opened.append(page)
            page.set_default_timeout(PATIENCE)
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: failed.append(str(error)))
            page.goto(server.address)
            page.wait_for_selector("body[data-ready]")
            if len(opened) == 1:
                page.evaluate(_EMPTY)
                page.reload()
            page.wait_for_selector("body[data-ready]")
            return page

        yield open_it
    assert not failed
    assert not [url for url in asked if not url.startswith((server.origin, "data:", "blob:"))]
