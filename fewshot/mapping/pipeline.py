"""Maps in this process: while one group is predicted, the next is read, and the one before blended and written."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fewshot.mapping.blend import Parts, blend
from fewshot.mapping.groups import Answers, Job, predict_windows, read_group
from fewshot.mapping.model import Predictor

Save = Callable[[int, Parts], None]
"""Keeps a finished group."""

AHEAD = 2
"""Groups that are read, and groups that are written, while one is predicted: what bounds the memory."""


class Engine(Protocol):
    """Predicts groups, in any order, and hands each one to `save`."""

    def __call__(self, job: Job, groups: Sequence[int], save: Save) -> None: ...  # noqa: D102


def run_here(predictor: Predictor) -> Engine:
    """Return an engine that predicts in this process."""

    def run(job: Job, groups: Sequence[int], save: Save) -> None:
        waiting = iter(groups)

        def finish(group: int, valid: npt.NDArray[np.bool_], answers: Answers) -> None:
            save(group, blend(job, group, valid, answers))

        with ThreadPoolExecutor(1, "read and write") as beside:
            reads = deque((group, beside.submit(read_group, job, group)) for group in islice(waiting, AHEAD))
            writes: deque[Future[None]] = deque()
            while reads:
                group, read = reads.popleft()
                pixels, valid = read.result()
                reads.extend((number, beside.submit(read_group, job, number)) for number in islice(waiting, 1))
                answers = predict_windows(job, group, pixels, valid, predictor)
                writes.append(beside.submit(finish, group, valid, answers))
                while len(writes) > AHEAD:
                    writes.popleft().result()
            while writes:
                writes.popleft().result()

    return run
