"""Who is let in over HTTP: requests that were meant for this server, and show a key where one is asked for."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fewshot.exported.status import StatusError
from serving.server.flags import is_loopback
from serving.server.keys import ApiKeys
from serving.server.rest import responses

HEALTH = ("/health", "/healthz", "/v2/health/live", "/v2/health/ready")
"""Paths that need no key: they say no more than that the server is there."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Stands before an application, as one itself."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], keys: ApiKeys | None) -> None:
        """Let some in.

        Args:
            app: Behind it.
            hosts: Names that the server is called by; any if empty. A page of another site that has its own name
                point here calls the server by that name.
            keys: One of these has to be shown; None for nothing.
        """
        self._app, self._hosts, self._keys = app, frozenset(host.lower() for host in hosts), keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer, as ASGI servers ask for it."""
        refused = self._refusal(scope)
        if refused is None:
            await self._app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": "Bearer"} if refused.code == "UNAUTHENTICATED" else None
        content = responses.from_error(refused)
        response = Response(content, refused.http, headers=headers, media_type="application/json")
        await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> StatusError | None:
        headers = Headers(scope=scope)
        if self._hosts and "host" in headers and host_name(headers["host"]) not in self._hosts:
            return StatusError(
                "PERMISSION_DENIED", "The server is not called by this name. Start it with --allowed_hosts=NAME."
            )
        # A browser asks first what it may send, and shows no key there.
        free = scope["path"] in HEALTH or scope["method"] == "OPTIONS"
        if self._keys is None or free or self._keys.admits(headers.get("authorization", "")):
            return None
        return StatusError("UNAUTHENTICATED", "Show a key of this server: Authorization: Bearer KEY.")


def host_names(host: str, allowed: str) -> list[str]:
    """Return the names that the server may be called by.

    Args:
        host: Where it listens.
        allowed: Names, separated by commas; if there is none, this machine's own where no other reaches it, else any.
    """
    names = [name for name in allowed.split(",") if name]
    return names or ([host, *LOOPBACK] if is_loopback(host) else [])


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port and without brackets."""
    name, bracket, _ = host.removeprefix("[").partition("]")
    return (name if bracket else host.rpartition(":")[0] or host).lower()
