"""How Python's threads take turns while a map is made."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Turns:
    """How long a thread may keep Python's interpreter while others wait, for as long as anybody maps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._usual = 0.0

    @contextmanager
    def short(self) -> Iterator[None]:
        """Give a waiting thread the interpreter after a tenth of a millisecond, not after five.

        Reading and blending keep it in small pieces all the time, and the thread that feeds the network would wait for
        it several times a call.
        """
        with self._lock:
            if not self._users:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(1e-4)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    sys.setswitchinterval(self._usual)


short_turns = _Turns().short
