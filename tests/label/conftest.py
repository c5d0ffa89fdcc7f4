"""A small scene with a project, and a page that asks its server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from fewshot.label.app import PageApp
from fewshot.label.desk import Desk, open_desk
from fewshot.label.guard import PageGuard
from fewshot.label.plan import ProjectPlan
from tests.mapping import fakes

Step = list[dict[str, Any]]


def add_class(name: str, number: int) -> dict[str, Any]:
    return {"op": "add_class", "id": f"c{number}", "name": name}


def add_point(name: str, number: int, column: float, row: float) -> dict[str, Any]:
    return {"op": "add_label", "id": name, "class": f"c{number}", "kind": "point", "coordinates": [column, row]}


def labelled(truth: np.ndarray, each: int = 8) -> Step:
    """Three classes, and points of each where it is."""
    points = fakes.draw_points(truth, each)
    step = [add_class(name, number) for number, name in enumerate(fakes.CLASSES)]
    for number, (row, column, name) in enumerate(points):
        step.append(add_point(f"l{number}", fakes.CLASSES.index(name), column + 0.5, row + 0.5))
    return step


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return fakes.draw_truth(90, 70)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, truth: np.ndarray) -> Path:
    """A scene of two bands and three classes, 90 x 70 pixels."""
    folder = tmp_path_factory.mktemp("scene")
    return fakes.write_scene(folder / "scene.tif", fakes.draw_pixels(truth), fakes.grid_of(90, 70))


@pytest.fixture
def open_project(tmp_path: Path, scene: Path) -> Iterator[Callable[..., Desk]]:
    """Opens projects of the scene, and closes them in the end."""
    with ExitStack() as opened:

        def open_it(name: str = "project", **changed: Any) -> Desk:
            settings: dict[str, Any] = {
                "scenes": (str(scene),),
                "folder": tmp_path / name,
                "method": "logistic",
            } | changed
            return opened.enter_context(open_desk(ProjectPlan(**settings)))

        yield open_it


@pytest.fixture
def desk(open_project: Callable[..., Desk]) -> Desk:
    return open_project()


@pytest.fixture
def guard(desk: Desk) -> Iterator[PageGuard]:
    """A server that listens, and who it lets in."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        guard = PageGuard(PageApp(desk).starlette(), host="127.0.0.1", port=listener.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(guard, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield guard
        server.should_exit = True
        desk.events.close()
        thread.join()


@pytest.fixture
def stranger(guard: PageGuard) -> Iterator[httpx.Client]:
    """A browser that was not let in."""
    with httpx.Client(base_url=guard.origin, headers={"Origin": guard.origin}) as client:
        yield client


@pytest.fixture
def page(guard: PageGuard, stranger: httpx.Client) -> httpx.Client:
    """A browser that was let in."""
    assert "set-cookie" in stranger.get("/", params={"token": guard.token}).headers
    return stranger
