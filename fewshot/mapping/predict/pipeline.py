"""Maps in this process: while one group is predicted, another thread reads the next, and blends and writes the last."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt

from fewshot.exported.predictor import Predictor
from fewshot.mapping.predict.blend import blend
from fewshot.mapping.predict.groups import Answers, Engine, MapPlan, Save, predict_windows, read_group
from fewshot.mapping.predict.turns import short_turns

AHEAD = 2
"""Groups that are read, and groups that are written, while one is predicted: what bounds the memory."""


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
