"""Where a map is predicted: in this process, on workers of this machine, or on a Dask cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fewshot.errors import RecipeError
from fewshot.exported.predictor import Predictor
from fewshot.mapping.predict.groups import Engine
from fewshot.mapping.predict.pipeline import run_here

EngineOf = Callable[[Predictor], Engine]
"""Returns an engine for a model."""


@contextmanager
def open_engine(predictor: Predictor, *, workers: int = 1, scheduler: str | None = None) -> Iterator[Engine]:
    """Open an engine, and close it in the end.

    Args:
        predictor: The model, opened in this process; others open it for themselves.
        workers: Processes on this machine.
        scheduler: Address of a Dask scheduler whose workers are used instead.

    Raises:
        FewshotError: as `open_engines` does.
    """
    with open_engines(workers=workers, scheduler=scheduler) as engine_of:
        yield engine_of(predictor)


@contextmanager
def open_engines(*, workers: int = 1, scheduler: str | None = None) -> Iterator[EngineOf]:
    """Open what predicts, for any model, and close it in the end.

    Args:
        workers: Processes on this machine.
        scheduler: Address of a Dask scheduler whose workers are used instead.

    Raises:
        RecipeError: if both are asked for.
        ArtifactError: if no scheduler answers at the address.
    """
    if scheduler is not None and workers != 1:
        raise RecipeError("--workers are started on this machine, --scheduler has workers of its own; choose one")
    if scheduler is None and workers == 1:
        yield run_here
        return
    from fewshot.mapping.predict.cluster import connect, local_workers, run_on  # slow to import, and few need it

    with connect(scheduler) if scheduler is not None else local_workers(workers) as client:
        yield partial(run_on, client)
