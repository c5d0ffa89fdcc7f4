"""Real worker processes; the models in them answer at once or after a moment."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from fewshot.errors import ArtifactError, RecipeError
from fewshot.mapping.predict.engine import open_engine
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.product.report import MapReport
from fewshot.mapping.request import MapRequest
from tests.mapping.conftest import Case, run
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, process_id

NAMES = ("map.tif", "map_confidence.tif", "map_probabilities.tif")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A cluster that was there before."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as found:
        yield found


def pixels(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in NAMES]


def run_on(request: MapRequest, kind: str, *, seconds: float = 0.0, progress: Any = None, **where: Any) -> MapReport:
    model = FakePredictor(PATCH if kind == "patch" else PIXEL, seconds=seconds)
    with open_engine(model, **where) as engine:
        return run(request, model, engine=engine, progress=progress)


@pytest.mark.parametrize("kind", ["pixel", pytest.param("patch", marks=pytest.mark.slow)])
def test_a_cluster_gives_the_same_bits(
    case: Case, tmp_path: Path, cluster: LocalCluster, kind: str, small_groups: None
) -> None:
    windows = WindowPlan(stride=2) if kind == "patch" else WindowPlan(size=16, overlap=4)
    request = case.request(tmp_path / "here" / "map.tif", probabilities=True, windows=windows)
    run_on(request, kind)
    seen: list[int] = []
    there = replace(request, to=tmp_path / "there" / "map.tif")
    run_on(there, kind, scheduler=cluster.scheduler_address, progress=lambda done, total: seen.append(done))
    assert pixels(tmp_path / "here") == pixels(tmp_path / "there")
    assert seen == list(range(len(seen))) and len(seen) > 5


def test_a_killed_worker_is_survived(case: Case, tmp_path: Path, cluster: LocalCluster, small_groups: None) -> None:
    windows = WindowPlan(size=8, overlap=0)
    request = case.request(tmp_path / "here" / "map.tif", probabilities=True, windows=windows)
    run_on(request, "pixel")
    with Client(cluster) as client:
        before = set(client.run(process_id).values())
        killed = threading.Event()

        def kill(done: int, total: int) -> None:
            if done >= 3 and not killed.is_set():
                os.kill(min(before), signal.SIGKILL)
                killed.set()

        there = replace(request, to=tmp_path / "there" / "map.tif")
        run_on(there, "pixel", seconds=0.05, scheduler=cluster.scheduler_address, progress=kill)
        client.wait_for_workers(2, timeout=30)
        after = set(client.run(process_id).values())
    assert killed.is_set() and min(before) not in after
    assert pixels(tmp_path / "here") == pixels(tmp_path / "there")


@pytest.mark.slow
def test_what_a_worker_cannot_read_is_said_and_the_map_goes_on_later(
    make_case: Callable[..., Case], tmp_path: Path, cluster: LocalCluster, small_groups: None
) -> None:
    """The scene is cut short after its first blocks were mapped."""
    case = make_case(600, 600, each=8)
    whole = case.scene.read_bytes()
    windows = WindowPlan(size=16, overlap=0)

    def cut(done: int, total: int) -> None:
        if done == 3:
            case.scene.write_bytes(whole[: len(whole) // 2])

    request = case.request(tmp_path / "out" / "map.tif", windows=windows, probabilities=True)
    with pytest.raises(ArtifactError, match=r"a worker stopped: .*scene\.tif.*finished blocks are kept.*--resume"):
        run_on(request, "pixel", seconds=0.01, scheduler=cluster.scheduler_address, progress=cut)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".map.tif.work"]


@pytest.mark.slow
def test_workers_of_this_machine_give_the_same_bits(case: Case, tmp_path: Path, small_groups: None) -> None:
    request = case.request(tmp_path / "here" / "map.tif", probabilities=True, windows=WindowPlan(size=16, overlap=4))
    run_on(request, "pixel")
    run_on(replace(request, to=tmp_path / "there" / "map.tif"), "pixel", workers=2)
    assert pixels(tmp_path / "here") == pixels(tmp_path / "there")


def test_engines_that_cannot_be_are_refused() -> None:
    with pytest.raises(RecipeError, match="choose one"):
        with open_engine(FakePredictor(), workers=2, scheduler="tcp://127.0.0.1:1"):
            pass
    with pytest.raises(RecipeError, match="at least one worker"):
        with open_engine(FakePredictor(), workers=0):
            pass


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_said() -> None:
    with pytest.raises(ArtifactError, match="no Dask scheduler answers"):
        with open_engine(FakePredictor(), scheduler="tcp://127.0.0.1:1"):
            pass
