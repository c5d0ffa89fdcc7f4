"""Maps in this process: while one group is predicted, another thread reads the next, and blends and writes the last."""

import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
import numpy.typing as npt

from fewshot.exported.predictor import Predictor
from fewshot.mapping.predict.blend import blend
from fewshot.mapping.predict.groups import Answers, Engine, MapPlan, Save, predict_windows, read_group

AHEAD = 2
"""Groups that are read, and groups that are written, while one is predicted: what bounds the memory."""


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


def run_here(predictor: Predictor) -> Engine:
    """Return an engine that predicts in this process."""

    def run(plan: MapPlan, groups: Sequence[int], save: Save) -> None:
        waiting = iter(groups)

        def finish(group: int, valid: npt.NDArray[np.bool_], answers: Answers) -> None:
            save(group, blend(plan, group, valid, answers))

        with short_turns(), ThreadPoolExecutor(1, "read and write") as beside:
            reads = deque((group, beside.submit(read_group, plan, group)) for group in islice(waiting, AHEAD))
            writes: deque[Future[None]] = deque()
            while reads:
                group, read = reads.popleft()
                pixels, valid = read.result()
                reads.extend((number, beside.submit(read_group, plan, number)) for number in islice(waiting, 1))
                answers = predict_windows(plan, group, pixels, valid, predictor)
                writes.append(beside.submit(finish, group, valid, answers))
                while len(writes) > AHEAD:
                    writes.popleft().result()
            while writes:
                writes.popleft().result()

    return run
