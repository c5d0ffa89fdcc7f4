"""Work whose process is killed without a word, as by the kernel that wants its memory."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import time
from collections.abc import Callable

FIFTY = 50


def finish_with_kills(
    start: Callable[[], subprocess.Popen], done: Callable[[], int], dice: random.Random, *, beginning: float
) -> int:
    """Start work again and again and kill it (SIGKILL) at random moments, until it ends by itself.

    Args:
        start: Begins it, or goes on with it.
        done: How many steps of it are done.
        dice: Chooses the moments: while it begins, or some steps later.
        beginning: Seconds that beginning takes.

    Returns:
        How often it was killed.
    """
    kills = 0
    while True:
        wanted = done() + dice.randint(1, 4)
        early = time.monotonic() + dice.uniform(0, beginning) if dice.random() < 0.3 else math.inf
        process = start()
        while process.poll() is None and done() < wanted and time.monotonic() < early:
            time.sleep(0.005)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            assert process.returncode == 0
            return kills
        kills += 1
