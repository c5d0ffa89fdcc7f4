"""When a computation ends before it is done: at its deadline, or as soon as nobody waits for its answer."""

from __future__ import annotations

import time

from tensorflow.python.eager.cancellation import CancellationManager

from fewshot.exported.status import StatusError


class Stop:
    """Stops one computation from outside, whether it waits or runs. Safe to use from several threads.

    Attributes:
        deadline: On the monotonic clock, in seconds; None for no limit.
        manager: What TensorFlow looks at, in loops at every turn.
    """

    def __init__(self, deadline: float | None = None) -> None:
        """Nothing is stopped yet."""
        self.deadline = deadline
        self.manager = CancellationManager()

    def now(self) -> None:
        """Stop it."""
        self.manager.start_cancel()

    def left(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None for no limit."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def check(self) -> None:
        """Refuse to go on with what is stopped.

        Raises:
            StatusError: DEADLINE_EXCEEDED after the deadline, CANCELLED if the client went away.
        """
        if self.left() == 0:
            raise StatusError("DEADLINE_EXCEEDED", "The deadline passed before the answer was ready.")
        if self.manager.is_cancelled:
            raise StatusError("CANCELLED", "The client went away.")
