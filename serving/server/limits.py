"""How much at a time: a bounded pool of threads for TensorFlow, a bounded queue before it, and a budget of bytes.

What does not fit is refused at once with RESOURCE_EXHAUSTED, so that a client never waits for an answer that will not
come, and the memory that requests take has an upper bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from fewshot.exported.card import Limits
from fewshot.exported.status import TOO_LARGE, StatusError, invalid
from serving.server.cost import Work
from serving.server.status import Refusal, refusal
from serving.server.stopping import Stop

T = TypeVar("T")
RETRY_AFTER = 1.0  # seconds


@dataclass(frozen=True)
class ServerLimits:
    """What the server takes on.

    Attributes:
        workers: Computations at a time.
        queue: Requests that may wait for a worker.
        request_bytes: Of one request, uncompressed.
        pending_bytes: Of all REST bodies held at a time.
        client_bytes: Of those, from one address.
        work: Of one request, where this server and not the model's card says it: 0 leaves it to the card.
        pending_work: Of all requests at a time; one alone may take more.
    """

    workers: int
    queue: int
    request_bytes: int = 256 << 20
    pending_bytes: int = 1 << 30
    client_bytes: int = 512 << 20
    work: Work = Work(0.0, 0.0)
    pending_work: Work = Work(math.inf, math.inf)


class Admission:
    """Lets requests in, for one event loop.

    Attributes:
        pending: Requests that run or wait.
    """

    def __init__(self, limits: ServerLimits) -> None:
        """Start the threads' pool; its threads start as they are needed."""
        self.limits = limits
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="tensorflow")
        self.pending = 0
        self._bytes: Counter[str] = Counter()  # held, by the client's address
        self._work: Counter[Work] = Counter()  # how many requests take so much
        self._counting = threading.Lock()

    async def run(self, work: Callable[[], T], stop: Stop) -> T:
        """Run blocking work in the pool, and give its result or error.

        Args:
            work: What to run; it looks at `stop` itself where it can end early.
            stop: Has a deadline; what nobody waits for any more is stopped by it.

        Raises:
            StatusError: RESOURCE_EXHAUSTED if as many requests wait as may, DEADLINE_EXCEEDED if time runs out.
        """
        most = self.limits.workers + self.limits.queue
        if self.pending >= most:
            raise StatusError(
                "RESOURCE_EXHAUSTED",
                f"The server is busy: {self.limits.workers} requests are being computed and {self.limits.queue} wait, "
                "as many as it takes. Try again later.",
                retry_after=RETRY_AFTER,
            )
        loop = asyncio.get_running_loop()
        self.pending += 1
        future = self._pool.submit(contextvars.copy_context().run, _attempt, work, stop)
        # Not when the client stops waiting but when the thread is free again.
        future.add_done_callback(lambda _: self._leave(loop))
        try:
            found = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), stop.left())
        except TimeoutError:
            raise StatusError("DEADLINE_EXCEEDED", "The deadline passed before the answer was ready.") from None
        finally:
            if not future.done():
                stop.now()
                future.cancel()  # does something only while it is still waiting
        if isinstance(found, Refusal):
            raise found.error()
        return found

    def check_size(self, count: int) -> None:
        """Refuse one request of so many bytes if it is larger than may be.

        Raises:
            StatusError: RESOURCE_EXHAUSTED (413 in HTTP).
        """
        if count > self.limits.request_bytes:
            raise StatusError(
                "RESOURCE_EXHAUSTED",
                f"The request is larger than {self.limits.request_bytes} bytes. Send less at a time, or start the "
                "server with a larger --max_request_bytes.",
                http=TOO_LARGE,
            )

    @contextmanager
    def holding(self, client: str = "") -> Iterator[Callable[[int], None]]:
        """Count the bytes of a body while they are held; the function given adds those that have come.

        Args:
            client: The address that they come from, which may hold a part of the whole only.

        Raises:
            StatusError: RESOURCE_EXHAUSTED if one request (413 in HTTP), those of a client or all are too large.
        """
        held = 0

        def add(count: int) -> None:
            nonlocal held
            self.check_size(held + count)
            if self._bytes.total() + count > self.limits.pending_bytes:
                raise StatusError(
                    "RESOURCE_EXHAUSTED",
                    "The server holds as many bytes of requests as it takes. Try again later.",
                    retry_after=RETRY_AFTER,
                )
            if self._bytes[client] + count > self.limits.client_bytes:
                raise StatusError(
                    "RESOURCE_EXHAUSTED",
                    f"The server holds {self._bytes[client]} bytes of requests from this address, as many as it takes. "
                    "Try again later.",
                    retry_after=RETRY_AFTER,
                )
            held += count
            self._bytes[client] += count

        try:
            yield add
        finally:
            self._bytes -= Counter({client: held})  # what is zero is left out

    def check_work(self, work: Work, limits: Limits) -> None:
        """Refuse one request that takes more than it may.

        Args:
            work: What it takes.
            limits: Of the model's card.

        Raises:
            StatusError: INVALID_ARGUMENT, since it will never be answered.
        """
        most = Work(self.limits.work.gflop or limits.gflop, self.limits.work.megabytes or limits.megabytes)
        if work.gflop > most.gflop or work.megabytes > most.megabytes:
            raise invalid(
                f"The request takes about {work.gflop:.2f} GFLOP and {work.megabytes:.2f} MB to compute; the most is "
                f"{most.gflop:.2f} GFLOP and {most.megabytes:.2f} MB. Send fewer or smaller pictures, or ask for fewer "
                "steps."
            )

    @contextmanager
    def spending(self, work: Work) -> Iterator[None]:
        """Count what a request takes, in any thread, until it is done.

        Raises:
            StatusError: RESOURCE_EXHAUSTED if others take so much that too little is left.
        """
        with self._counting:
            taken = self._work.elements()
            gflop, megabytes = map(sum, zip(work, *taken, strict=True))
            most = self.limits.pending_work
            if self._work and (gflop > most.gflop or megabytes > most.megabytes):
                raise StatusError(
                    "RESOURCE_EXHAUSTED",
                    f"The server is busy: with this request it would compute {gflop:.2f} GFLOP in {megabytes:.2f} MB, "
                    f"of {most.gflop:.2f} GFLOP in {most.megabytes:.2f} MB that it takes. Try again later.",
                    retry_after=RETRY_AFTER,
                )
            self._work[work] += 1
        try:
            yield
        finally:
            with self._counting:
                self._work -= Counter([work])

    def close(self) -> None:
        """Let go of the threads; those that compute finish first."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        def leave() -> None:
            self.pending -= 1

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
            loop.call_soon_threadsafe(leave)


def _attempt(work: Callable[[], T], stop: Stop) -> T | Refusal:
    """Do the work, in a thread of the pool; its exception ends here."""
    try:
        stop.check()
        return work()
    except Exception as error:
        return refusal(error)
