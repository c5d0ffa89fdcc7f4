"""Connections that no client can keep open by being slow: heads, pauses, refused bodies and answers have their time.

uvicorn ends a connection that pauses between two requests, and no other. It waits for as long as a client likes for the
head of a request, for the rest of a body whose answer is already sent, and for an answer to be read.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.server.rest.bodies import LEAST_RATE

LAST_SECONDS = 64.0
"""For what little may be unsent when a connection is closed: 64 KB at the least rate."""


class HttpConnection(H11Protocol):
    """One connection. uvicorn's `timeout_keep_alive` is the patience with its client, in seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn gives its own."""
        super().__init__(*args, **kwargs)
        self._ending: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head; connections beyond the limit are ended at once."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        self._forget()
        self._stop_measuring()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.timeout_keep_alive_task is not None:  # the first ones after a pause: a head has all its time
            self._forget()
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection after a pause."""
        super().timeout_keep_alive_handler()
        self._watch()

    def pause_writing(self) -> None:
        """Watch how fast the client reads, as long as an answer waits for it."""
        super().pause_writing()
        self._measure()

    def resume_writing(self) -> None:
        """Let it be."""
        super().resume_writing()
        self._stop_measuring()

    def _watch(self) -> None:
        """Have the connection end in time, unless a request is being answered."""
        answered = self.cycle is not None and self.cycle.response_complete
        if self.transport.is_closing():
            self._forget()
            self._ending = self.loop.call_later(LAST_SECONDS, self.transport.abort)
        elif self.conn.their_state is h11.IDLE or (answered and self.conn.their_state is h11.SEND_BODY):
            if self._ending is None:
                self._ending = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)
        else:
            self._forget()

    def _forget(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _measure(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.timeout_keep_alive, self._judge)

    def _judge(self) -> None:
        read = self._unsent - self.transport.get_write_buffer_size()
        if read < LEAST_RATE * self.timeout_keep_alive:
            self.transport.abort()
        else:
            self._measure()

    def _stop_measuring(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
