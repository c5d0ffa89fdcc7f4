"""Groups reach the thread behind in order, and a failure on either side ends both."""

import threading

import pytest

from fewshot.mapping.predict.finished import FinishedGroups, Unfinished


def test_groups_are_taken_in_order_however_they_come() -> None:
    finished = FinishedGroups([2])
    with finished.followed_by(lambda: list(finished.in_order(5))) as taken:
        for group in (4, 1, 0, 3):
            finished.add(group)
    assert taken.result() == [0, 1, 2, 3, 4]
    assert len(finished) == 5


def test_each_group_is_taken_as_soon_as_those_before_it_are_there() -> None:
    finished, seen, first = FinishedGroups([]), [], threading.Event()

    def take() -> None:
        for group in finished.in_order(2):
            seen.append(group)
            first.set()

    with finished.followed_by(take):
        finished.add(0)
        assert first.wait(10)
        assert seen == [0]
        finished.add(1)
    assert seen == [0, 1]


def test_whoever_waits_for_a_group_that_will_not_come_stops() -> None:
    finished = FinishedGroups([0])
    with (
        pytest.raises(RuntimeError, match="network"),
        finished.followed_by(lambda: list(finished.in_order(3))) as taken,
    ):
        raise RuntimeError("network")
    assert isinstance(taken.exception(), Unfinished)


def test_nothing_more_is_predicted_once_the_thread_behind_has_failed() -> None:
    finished, failed = FinishedGroups([]), threading.Event()

    def take() -> None:
        for _ in finished.in_order(3):
            failed.set()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), finished.followed_by(take) as taken:
        finished.add(0)
        assert failed.wait(10)
        with pytest.raises(OSError, match="disk full"):
            while not taken.done():
                pass
            finished.add(1)
        taken.result()
