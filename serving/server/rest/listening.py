"""The HTTP server: uvicorn with our connections, a listener of ours, and as many connections as there are files."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from fewshot.errors import ArtifactError
from serving.server.rest.connections import HttpConnection
from serving.server.tls import Tls

MOST_CONNECTIONS = 1 << 14


class HttpServer(uvicorn.Server):
    """uvicorn, which leaves signals to us."""

    def __init__(self, app: ASGIApp, *, tls: Tls | None, patience: float, drain: float) -> None:
        """Serve an application once it is told to.

        Args:
            app: What answers.
            tls: What the server proves itself with; None for no encryption.
            patience: Seconds that a client may keep a connection waiting.
            drain: Seconds for requests that run when it is told to end.
        """
        config = uvicorn.Config(
            app,
            http=HttpConnection,
            ssl_context_factory=None if tls is None else lambda *_: tls.context(),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=_most_connections(),
            timeout_keep_alive=patience,  # type: ignore[arg-type]  # any number does
            timeout_graceful_shutdown=max(int(drain), 1),
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        ArtifactError: if it is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off, which would cost 40 ms a request, only where the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ArtifactError(f"Failed to start HTTP Server at {host}:{port}: {error.strerror}.") from None
    return listener


def _most_connections() -> int:
    """Return how many HTTP connections may be open: at most half of the files that the process may have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(files // 2, MOST_CONNECTIONS)
