"""What the server tells its pages while they are open: server-sent events, from any thread to all of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

_WAITING = 256  # events that a page may be behind; one further behind reads the project anew anyway
_ALIVE = 15.0  # seconds after which something is sent, so that a page that has gone is noticed


class Events:
    """Sends events to every page that listens."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self._lock = threading.RLock()  # a signal may come while it is held, and close
        self._pages: dict[asyncio.Queue[str], asyncio.AbstractEventLoop] = {}

    def send(self, event: dict[str, Any]) -> None:
        """Send an event; its "type" says what it is."""
        text = f"data: {json.dumps(event)}\n\n"
        self._to_all(text)

    def close(self) -> None:
        """End what pages listen to."""
        self._to_all("")

    def _to_all(self, text: str) -> None:
        with self._lock:
            for queue, loop in self._pages.items():
                loop.call_soon_threadsafe(_put, queue, text)

    async def listen(self) -> AsyncIterator[str]:
        """Yield what is sent from now on, as lines of a `text/event-stream`."""
        queue: asyncio.Queue[str] = asyncio.Queue(_WAITING)
        with self._lock:
            self._pages[queue] = asyncio.get_running_loop()
        try:
            yield ": open\n\n"
            while text := await _next_of(queue):
                yield text
        finally:
            with self._lock:
                del self._pages[queue]


async def _next_of(queue: asyncio.Queue[str]) -> str:
    """Return what is sent next, or after a while a line that says nothing; "" is the end."""
    try:
        return await asyncio.wait_for(queue.get(), _ALIVE)
    except TimeoutError:
        return ": alive\n\n"


def _put(queue: asyncio.Queue[str], text: str) -> None:
    """Let an event wait for its page, in place of the oldest where too many do."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(text)
