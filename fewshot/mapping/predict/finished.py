"""Finished groups, handed from the thread that predicts to the one that puts them together behind it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Unfinished(Exception):  # noqa: N818 (never leaves this file and the thread that waits)
    """A group that is waited for will not come."""


class FinishedGroups:
    """The groups of a map that are finished so far."""

    def __init__(self, finished: Iterable[int]) -> None:
        """Begin with those that an earlier run finished."""
        self._finished = set(finished)
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None

    def __len__(self) -> int:
        """Return how many are finished."""
        return len(self._finished)

    def __contains__(self, group: int) -> bool:
        """Return whether a group is finished."""
        return group in self._finished

    def add(self, group: int) -> None:
        """Say that a group is finished.

        Raises:
            BaseException: what has ended the thread that puts groups together, so that no more are predicted in vain.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            self._finished.add(group)
            self._changed.notify_all()

    def in_order(self, count: int) -> Iterator[int]:
        """Yield the groups 0, 1 ... `count` - 1, each as soon as it and all before it are finished.

        Raises:
            Unfinished: if one will not come.
        """
        for group in range(count):
            with self._changed:
                self._changed.wait_for(
                    lambda: group in self._finished or self._ended  # noqa: B023  waited for here and now
                )
                if group not in self._finished:
                    raise Unfinished(f"group {group}")
            yield group

    @contextmanager
    def followed_by(self, work: Callable[[], T]) -> Iterator[Future[T]]:
        """Run work that calls `in_order` in a thread of its own, which is over when this context is."""

        def run() -> T:
            try:
                return work()
            except BaseException as error:
                self._error = error
                raise

        with ThreadPoolExecutor(1, "assemble") as thread:
            future = thread.submit(run)
            try:
                yield future
            finally:
                with self._changed:
                    self._ended = True
                    self._changed.notify_all()
