"""Maps that are stopped: killed, without a server, without room; what is kept, and how they go on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.errors import (
    ArtifactError,
    DataNotFoundError,
    RecipeError,
)
from fewshot.exported.predictor import Predictor
from fewshot.mapping.predict.groups import MapPlan, Save
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import FILES, Case, made_files, output, run
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, write_scene


class Killed(BaseException):
    """As a process that is killed: nobody catches it."""


def stop_after(count: int, model: Predictor) -> Any:
    """An engine that is killed after some groups."""

    def engine(plan: MapPlan, groups: Any, save: Save) -> None:
        left = iter(range(count))

        def counted(group: int, parts: Any) -> None:
            if next(left, None) is None:
                raise Killed
            save(group, parts)

        run_here(model)(plan, groups, counted)

    return engine


@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_a_killed_map_goes_on_and_is_the_same_to_the_bit(
    case: Case, tmp_path: Path, card: Any, small_groups: None
) -> None:
    windows = WindowPlan(size=16, overlap=5) if card is PIXEL else WindowPlan(stride=2)
    request = case.request(output(tmp_path), probabilities=True, windows=windows)
    model = FakePredictor(card)
    run(request, model)
    tifs = ("map.tif", "map_confidence.tif", "map_probabilities.tif")
    whole = {name: (tmp_path / "out" / name).read_bytes() for name in tifs}
    calls = len(model.calls)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    with pytest.raises(Killed):
        run(request, FakePredictor(card), engine=stop_after(3, FakePredictor(card)))
    assert made_files(tmp_path) == {".map.tif.work"}
    # Killed as it wrote, too: a file that is not whole.
    work = tmp_path / "out" / ".map.tif.work" / "groups"
    done = sorted(work.glob("*.npz"))
    (work / ".partial-ab-9.npz").write_bytes(b"half")
    done[-1].write_bytes(done[-1].read_bytes()[:100])
    resumed = FakePredictor(card)
    seen: list[int] = []
    run(replace(request, resume=True), resumed, progress=lambda done, total: seen.append(done))
    assert seen[0] == len(done) - 1
    assert 0 < len(resumed.calls) < calls
    assert {name: (tmp_path / "out" / name).read_bytes() for name in tifs} == whole
    assert made_files(tmp_path) == FILES | {"map_probabilities.tif"}


def test_a_map_killed_as_it_is_put_together_goes_on(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = case.request(output(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("fewshot.mapping.region_map.write_style", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(request)
    assert made_files(tmp_path) == {".map.tif.work"}
    model = FakePredictor()
    run(replace(request, resume=True), model)
    assert made_files(tmp_path) == FILES and not model.calls


def test_only_the_same_map_is_resumed(case: Case, tmp_path: Path, small_groups: None) -> None:
    request = case.request(output(tmp_path))
    with pytest.raises(ArtifactError, match="nothing to resume"):
        run(replace(request, resume=True))
    with pytest.raises(Killed):
        run(request, engine=stop_after(1, FakePredictor()))
    with pytest.raises(ArtifactError, match="of another map: windows was"):
        run(replace(request, resume=True, windows=WindowPlan(size=16)))
    with pytest.raises(ArtifactError, match="probabilities was False, is True"):
        run(replace(request, resume=True, probabilities=True))
    write_scene(case.scene, case.pixels, case.grid)
    with pytest.raises(ArtifactError, match="of another map: scene was"):
        run(replace(request, resume=True))
    run(request)  # begins anew
    assert made_files(tmp_path) == FILES


def test_a_server_that_goes_away_stops_the_map_and_lets_it_go_on(
    case: Case, tmp_path: Path, small_groups: None
) -> None:
    request = case.request(output(tmp_path), windows=WindowPlan(size=16, overlap=4))
    with pytest.raises(ArtifactError, match=r"the server is gone\. \d finished blocks are kept; go on with --resume"):
        run(request, FakePredictor(fail_after=4))
    assert made_files(tmp_path) == {".map.tif.work"}
    run(replace(request, resume=True))
    assert made_files(tmp_path) == FILES


def test_a_full_disk_stops_the_map_and_lets_it_go_on(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_groups: None
) -> None:
    import errno
    import os

    request = case.request(output(tmp_path), windows=WindowPlan(size=16, overlap=4))
    saves = iter(range(3))  # the adapted model is one

    def full(file: Any, **arrays: Any) -> None:
        if next(saves, None) is None:
            file.write(b"as much as fits")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, **arrays)

    real = np.savez
    with monkeypatch.context() as patch:
        patch.setattr("fewshot.mapping.predict.checkpoint.np.savez", full)
        with pytest.raises(ArtifactError, match=r"is full \(\d+ MB free\).*--resume"):
            run(request)
    left = sorted(path.name for path in (tmp_path / "out" / ".map.tif.work" / "groups").iterdir())
    assert len(left) == 2 and all(name.endswith(".npz") for name in left)
    run(replace(request, resume=True))
    assert made_files(tmp_path) == FILES


def test_a_disk_that_is_full_in_the_end_is_said_too(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    request = case.request(output(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("fewshot.mapping.region_map.draw_map", full)
        with pytest.raises(ArtifactError, match=r"is full.*--resume"):
            run(request)
    assert made_files(tmp_path) == {".map.tif.work"}
    run(replace(request, resume=True))
    assert made_files(tmp_path) == FILES


def test_validation_labels_that_are_not_there_are_missed_before_anything_is_mapped(case: Case, tmp_path: Path) -> None:
    model = FakePredictor()
    with pytest.raises(DataNotFoundError, match="truth"):
        run(case.request(output(tmp_path), labels=LabelPlan(case.labels, validation=tmp_path / "truth.tif")), model)
    assert not model.calls


def test_a_place_that_cannot_be_written_to_is_said(case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(ArtifactError, match="cannot be written to"):
        run(case.request(tmp_path / "file" / "map.tif"))
    with pytest.raises(RecipeError, match=r"name it with \.tif"):
        case.request(tmp_path / "map.png")
    with pytest.raises(RecipeError, match="--labels and --adapted"):
        case.request(tmp_path / "map.tif", labels=None)
