"""Serves a project's page until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from fewshot.errors import RecipeError
from fewshot.label.app import PageApp
from fewshot.label.desk import Desk
from fewshot.label.events import Events
from fewshot.label.guard import PageGuard


def serve_page(
    desk: Desk, *, host: str = "127.0.0.1", port: int = 0, origin: str = "", ready: Callable[[str], None]
) -> None:
    """Serve a project's page, until SIGINT or SIGTERM.

    Args:
        desk: The project.
        host: Address to listen at.
        port: Port to listen at; a free one if 0.
        origin: What browsers call the server by, where something that speaks TLS stands before it.
        ready: Called with the page's address, token and all, once it can be opened.

    Raises:
        RecipeError: if the address or port cannot be had.
    """
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    images = desk.background.origin if desk.background else ""
    guard = PageGuard(PageApp(desk).starlette(), host=host, port=port, images=images, origin=origin)
    config = uvicorn.Config(
        guard,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        limit_concurrency=256,
        timeout_graceful_shutdown=1,
    )
    ready(f"{guard.origin}/?token={guard.token}")
    with listener:
        _PageServer(config, desk.events).run(sockets=[listener])


class _PageServer(uvicorn.Server):
    """uvicorn, which a signal ends in order: what is open is closed, and the process returns from here."""

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; at a second signal without waiting."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._events.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that the address may be opened before the server runs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise RecipeError(f"cannot listen at {host}, port {port}: {error.strerror}. Choose another --port") from None
    return listener
