"""Jobs are the commands that the page shows; they outlive the server, stop, and go on."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from fewshot.commands import main
from fewshot.errors import RecipeError
from fewshot.label.desk import Desk
from fewshot.label.jobs import Job, Jobs
from fewshot.label.plan import LABELS
from tests.label.conftest import add_class, add_point, labelled

SLEEP = "import sys, time, pathlib; time.sleep(float(sys.argv[1])); pathlib.Path(sys.argv[2]).write_text('x')"


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Jobs]]:
    """Opens the jobs of a folder, whose commands wait for some seconds and write a file."""
    program = tmp_path / "program.py"
    program.write_text(SLEEP)
    monkeypatch.setattr("fewshot.label.jobs._PROGRAM", program)
    opened: list[Jobs] = []

    def open_them() -> Jobs:
        (tmp_path / "jobs").mkdir(exist_ok=True)
        opened.append(Jobs(tmp_path / "jobs", lambda event: None))
        return opened[-1]

    yield open_them
    for one in opened:
        for job in one.all():
            one.cancel(job.id)
        one.close()


def start(jobs: Jobs, seconds: float) -> Job:
    folder = jobs.reserve("map")
    return jobs.start(folder, [str(seconds), str(folder / "map.tif")], folder / "map.tif")


def wait_for(jobs: Jobs, name: str, state: str, most: float = 60) -> Job:
    end = time.monotonic() + most
    while time.monotonic() < end:
        job = next(job for job in jobs.all() if job.id == name)
        if jobs.state(job) == state:
            return job
        time.sleep(0.02)
    raise AssertionError(f"{name} is {jobs.state(job)}: {(jobs.folder / name / 'log.txt').read_text()}")


def test_a_job_runs_and_is_done_when_its_file_is_there(jobs: Callable[[], Jobs]) -> None:
    opened = jobs()
    assert opened.state(start(opened, 0.2)) == "running"
    job = wait_for(opened, "map-1", "done")
    assert opened.document(job)["files"] == [{"id": "map-1.map.tif", "name": "map.tif"}]
    assert opened.file("map-1.map.tif") == opened.folder / "map-1" / "map.tif"
    assert opened.file("map-1.job.json") is opened.file("../map-1/map.tif") is None
    with pytest.raises(RecipeError, match="is done"):
        opened.resume("map-1")


def test_a_job_is_stopped_and_goes_on(jobs: Callable[[], Jobs]) -> None:
    opened = jobs()
    start(opened, 60)
    opened.cancel("map-1")
    wait_for(opened, "map-1", "cancelled")
    opened.resume("map-1")
    wait_for(opened, "map-1", "running")
    assert opened.reserve("map").name == "map-2"


def test_a_server_that_comes_back_finds_what_runs_and_what_has_failed(jobs: Callable[[], Jobs]) -> None:
    first = jobs()
    start(first, 60)
    start(first, -1)
    wait_for(first, "map-2", "failed")
    second = jobs()
    assert [second.state(job) for job in second.all()] == ["running", "failed"]
    second.cancel("map-1")
    wait_for(second, "map-1", "cancelled")
    assert "ValueError: sleep length" in second.document(second.all()[1])["message"]


def test_a_number_that_is_another_process_by_now_does_not_count(jobs: Callable[[], Jobs]) -> None:
    opened = jobs()
    job = start(opened, 60)
    record = json.loads((opened.folder / "map-1" / "job.json").read_text())
    record["process"][1] -= 1
    (opened.folder / "map-1" / "job.json").write_text(json.dumps(record))
    assert jobs().state(Job(**{**record, "process": tuple(record["process"])})) == "failed"
    assert opened.state(job) == "running"


@pytest.mark.slow
def test_the_page_maps_as_the_command_that_it_shows(desk: Desk, truth: np.ndarray) -> None:
    desk.edit(labelled(truth))
    where, line = desk.commands({})["map"].split(" && ")
    assert shlex.split(where) == ["cd", str(Path.cwd())]
    shown = shlex.split(line)
    assert shown[:2] == ["fewshot", "map"]
    job = desk.start_job("map", {})
    aside = str(desk.plan.folder / "command")
    assert job.arguments == tuple(text.replace(aside, str(desk.jobs.folder / job.id)) for text in shown[1:])
    wait_for(desk.jobs, job.id, "done", 120)
    mapped = desk.jobs.file(f"{job.id}.map.tif")
    assert mapped is not None
    result = CliRunner().invoke(main, shown[1:])
    assert result.exit_code == 0, result.output
    for name in ("map.tif", "map_confidence.tif"):
        with rasterio.open(mapped.with_name(name)) as one, rasterio.open(Path(aside) / name) as other:
            assert np.array_equal(one.read(), other.read())
    assert "sample" in desk.commands({})["sample"]


def test_places_are_assessed_with_the_map_that_they_were_drawn_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys, pathlib; pathlib.Path(sys.argv[sys.argv.index('--to') + 1]).write_text('x')")
    monkeypatch.setattr("fewshot.label.jobs._PROGRAM", program)
    desk.edit([add_class("a", 0), add_point("l0", 0, 1, 1)])
    for kind in ("map", "sample", "map"):
        wait_for(desk.jobs, desk.start_job(kind, {}).id, "done")
    places = desk.keep_upload("places.csv", b"x")
    arguments = desk.command("assess", {"places": places.name}, tmp_path)
    assert [Path(text).parent.name for text in arguments[1:3]] == ["map-1", "uploads"]
    assert Path(desk.command("sample", {"n": 9}, tmp_path)[1]).parent.name == "map-2"
    lines = desk.commands({"sample": {"n": 9}, "assess": {"places": places.name}})
    assert lines["sample"].endswith("--n 9")
    assert shlex.split(lines["assess"])[3:7] == ["fewshot", *arguments[:2], str(places)]


def test_what_the_page_adds_to_a_map_is_in_its_command(desk: Desk, tmp_path: Path) -> None:
    desk.edit([add_class("a", 0), add_point("l0", 0, 1, 1)])
    plain = desk.command("map", {"compare": False}, tmp_path)
    more = desk.command("map", {"applicable": True, "probabilities": True, "method": "forest"}, tmp_path)
    assert set(more) - set(plain) == {"--applicable", "--probabilities", "forest"}
    assert set(plain) - set(more) == {"logistic"}
    assert "--compare" in desk.command("compare", {}, tmp_path)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("map", {"to": "/etc/passwd"}, "a map takes"),
        ("map", {"method": "magic"}, "a map takes"),
        ("sample", {}, "map all first"),
        ("assess", {"places": "../../x"}, "map all first"),
        ("rm", {}, "expected one of map"),
    ],
)
def test_a_page_cannot_ask_for_anything_else(desk: Desk, kind: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        desk.start_job(kind, options)
    assert not list(desk.jobs.folder.iterdir())


def test_every_job_has_a_folder_of_its_own(jobs: Callable[[], Jobs]) -> None:
    opened = jobs()
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: opened.reserve("map").name, range(8)))
    assert sorted(folders) == [f"map-{number}" for number in range(1, 9)]


def test_to_show_a_command_changes_no_job(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("")
    monkeypatch.setattr("fewshot.label.jobs._PROGRAM", program)
    desk.edit([add_class("a", 0), add_point("l0", 0, 1, 1)])
    job = desk.start_job("map", {})
    labels = desk.jobs.folder / job.id / LABELS
    before = labels.read_bytes()
    desk.edit([add_point("l1", 0, 2, 2)])
    assert LABELS in desk.commands({})["map"]
    assert labels.read_bytes() == before
    assert [path.name for path in desk.jobs.folder.iterdir()] == [job.id]


def test_a_job_that_fails_again_at_once_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, heard = tmp_path / "program.py", []
    program.write_text("raise SystemExit('no')")
    monkeypatch.setattr("fewshot.label.jobs._PROGRAM", program)
    monkeypatch.setattr("fewshot.label.jobs._OFTEN", 0.05)
    opened = Jobs(tmp_path / "jobs", lambda event: heard.append(event["state"]))
    job = start(opened, 0)
    for times in (1, 2):
        end = time.monotonic() + 20
        while heard.count("failed") < times:
            assert time.monotonic() < end
            time.sleep(0.02)
        if times == 1:
            opened.resume(job.id)
    opened.close()
