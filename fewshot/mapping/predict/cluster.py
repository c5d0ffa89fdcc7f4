"""Maps on several processes of this machine, or on a Dask cluster; a worker that dies is survived."""

import functools
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed

from fewshot.errors import ArtifactError, FewshotError, RecipeError
from fewshot.exported.predictor import Predictor
from fewshot.geo.writing import CACHE_BYTES
from fewshot.mapping.predict.blend import blend
from fewshot.mapping.predict.groups import Engine, MapPlan, Save, predict_windows, read_group
from fewshot.mapping.predict.parts import Parts
from fewshot.mapping.predict.turns import short_turns

IN_FLIGHT = 2
"""Groups that each worker has at a time: one is read while the other is predicted."""

_PREDICTING = threading.Lock()  # one group at a time in each process; others are read meanwhile


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start worker processes on this machine, which share its cores, and stop them in the end.

    Where the environment already says how many threads TensorFlow takes, each worker takes as many.

    Raises:
        RecipeError: if the count is less than one.
    """
    if count < 1:
        raise RecipeError(f"expected at least one worker, received {count}")
    threads = str(max(1, (os.cpu_count() or 1) // count))
    usual = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "2"}
    usual |= {"GDAL_CACHEMAX": str(CACHE_BYTES >> 20)}
    env = {name: os.environ.get(name, value) for name, value in usual.items()}
    with (
        # A worker that was killed is started again by its nanny, and must not wait long for it.
        dask.config.set({"distributed.scheduler.worker-ttl": "60s"}),
        LocalCluster(
            n_workers=count, threads_per_worker=IN_FLIGHT, processes=True, dashboard_address="127.0.0.1:0", env=env
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a Dask scheduler.

    Raises:
        ArtifactError: if none answers there.
    """
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"no Dask scheduler answers at {address}: {error}. Start one with `dask scheduler`, and workers with "
            "`dask worker ADDRESS`, where this program is installed and sees the scene."
        ) from error
    with client:
        yield client


def run_on(client: Client, predictor: Predictor) -> Engine:
    """Return an engine that predicts on the workers of a cluster.

    Args:
        client: Of the cluster.
        predictor: The model; each worker opens it anew, once.

    Raises:
        ArtifactError: by the engine, if a worker cannot predict or has died again and again.
    """
    model = pickle.dumps(predictor)

    def run(plan: MapPlan, groups: Sequence[int], save: Save) -> None:
        # As a task, not as scattered data: the scheduler makes it again where its worker has died.
        held = client.submit(_same, plan, pure=False)
        waiting = iter(groups)

        def submit(group: int) -> Any:
            return client.submit(_predict, held, group, model, pure=False, retries=1)

        most = max(1, len(client.scheduler_info(n_workers=-1)["workers"])) * IN_FLIGHT
        futures = {submit(group): group for group in islice(waiting, most)}
        done = as_completed(list(futures), with_results=True, raise_errors=False)
        try:
            for future, found in done:
                group = futures.pop(future)
                if future.status != "finished":
                    raise _reason(found, group)
                if isinstance(found, str):
                    raise ArtifactError(f"a worker stopped: {found}")
                save(group, found)
                future.release()
                for number in islice(waiting, 1):
                    new = submit(number)
                    futures[new] = number
                    done.add(new)
        finally:
            client.cancel([*futures, held])

    return run


def _same(plan: MapPlan) -> MapPlan:
    return plan


def _predict(plan: MapPlan, group: int, model: bytes) -> Parts | str:
    """Predict a group in a worker; return what is wrong where that is for the user to mend."""
    try:
        with short_turns():
            pixels, valid = read_group(plan, group)
            with _PREDICTING:
                answers = predict_windows(plan, group, pixels, valid, _opened(model))
            return blend(plan, group, valid, answers)
    except FewshotError as error:
        return str(error)


@functools.lru_cache(maxsize=1)
def _opened(model: bytes) -> Predictor:
    """Open the model once in each process."""
    predictor: Predictor = pickle.loads(model)
    return predictor


def _reason(found: Any, group: int) -> FewshotError:
    """Say why a task failed."""
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, KilledWorker):
        return ArtifactError(
            f"block {group} has ended {error.allowed_failures + 1} workers, one after the other. Is there enough "
            "memory for so many of them? Take fewer with --workers."
        )
    return ArtifactError(f"block {group} failed in a worker: {type(error).__name__}: {error}")
