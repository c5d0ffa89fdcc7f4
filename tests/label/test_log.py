"""Nothing that was answered is lost, and everything can be taken back."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fewshot.errors import ArtifactError, RecipeError
from fewshot.label.edits import apply_steps
from fewshot.label.log import EditLog
from fewshot.label.state import ProjectState
from tests.label.conftest import add_class, add_point

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import json, sys
from pathlib import Path
from fewshot.label.log import EditLog
log = EditLog(Path(sys.argv[1]))
for line in sys.stdin:
    step = json.loads(line)
    log.edit(step) if isinstance(step, list) else getattr(log, step)()
    print(log.revision, flush=True)
"""


def random_steps(seed: int) -> Iterator[Any]:
    """Edits of every kind that fit the state they come to, with an undo or redo now and then."""
    rng = random.Random(seed)
    yield [add_class("a", 0), add_class("b", 1)]
    labels = ["l0"]
    yield [add_point("l0", 0, 1, 1)]
    for number in itertools.count(1):
        name, chosen = f"l{number}", rng.choice(labels)
        where = [rng.uniform(0, 90), rng.uniform(0, 90)]
        kind = rng.randrange(6)
        if kind == 0 and len(labels) > 3:
            labels.remove(chosen)
            yield [{"op": "delete_labels", "ids": [chosen]}]
        elif kind == 1:
            yield [{"op": "set_class", "ids": [chosen], "class": f"c{rng.randrange(2)}"}]
        elif kind == 2:
            yield [{"op": "set_geometry", "id": chosen, "coordinates": where}]
        elif kind == 3:
            yield "undo"
            yield "redo"
        elif kind == 4:
            yield [{"op": "change_class", "id": "c0", "name": f"a{number}"}]
        else:
            labels.append(name)
            yield [add_point(name, rng.randrange(2), *where)]


def replayed(path: Path, steps: list[Any]) -> EditLog:
    """A log to which steps were written in one go."""
    log = EditLog(path)
    for step in steps:
        log.edit(step) if isinstance(step, list) else getattr(log, step)()
    return log


def write_until_killed(path: Path, steps: list[Any], rng: random.Random) -> int:
    """Write steps in another process, which is killed at some moment; the number that was answered."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        answered, most = 0, rng.randrange(5, 40)
        for step in steps:
            child.stdin.write(json.dumps(step) + "\n")
            child.stdin.flush()
            if answered == most:  # this step may be written or not
                break
            assert child.stdout.readline()
            answered += 1
        child.send_signal(signal.SIGKILL)
    return answered


def lose_nothing(folder: Path, *, edits: int, seed: int) -> int:
    """Write steps, with kills in between, and compare with what they make in one go; the number of kills."""
    path, rng = folder / f"killed{seed}.sqlite", random.Random(seed)
    steps = list(itertools.islice(random_steps(seed), edits))
    done = kills = 0
    while done < edits:
        answered = write_until_killed(path, steps[done:], rng)
        kills += 1
        log = EditLog(path)
        # What was sent last may have been written, though it was not answered.
        for count in (done + answered, done + answered + 1):
            whole = replayed(folder / f"whole{seed}-{kills}-{count}.sqlite", steps[:count])
            same = (log.state, log.revision, log.can_redo) == (whole.state, whole.revision, whole.can_redo)
            whole.close()
            if same:
                break
        assert same
        done = min(count, edits)
        log.close()
    return kills


def test_a_hundred_random_edits_with_random_kills_lose_nothing(tmp_path: Path) -> None:
    assert lose_nothing(tmp_path, edits=100, seed=5) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_many_more_do_not_either(tmp_path: Path, seed: int) -> None:
    assert lose_nothing(tmp_path, edits=200, seed=seed) >= 5


def test_everything_can_be_taken_back_and_done_again(tmp_path: Path) -> None:
    log = EditLog(tmp_path / "log.sqlite")
    states = [log.state]
    for step in itertools.islice((step for step in random_steps(1) if isinstance(step, list)), 40):
        before = log.revision
        log.edit(step)
        if log.revision > before:
            states.append(log.state)
    for state in reversed(states[:-1]):
        assert log.undo() == state
    with pytest.raises(RecipeError, match="nothing to undo"):
        log.undo()
    for state in states[1:]:
        assert log.redo() == state
    with pytest.raises(RecipeError, match="nothing to redo"):
        log.redo()


def test_labels_that_come_back_lie_where_they_lay(tmp_path: Path) -> None:
    log = EditLog(tmp_path / "log.sqlite")
    log.edit([add_class("a", 0), *(add_point(f"l{n}", 0, n, n) for n in range(4))])
    log.edit([{"op": "delete_labels", "ids": ["l1"]}])
    assert list(log.undo().labels) == ["l0", "l1", "l2", "l3"]


def test_something_new_ends_what_was_taken_back(tmp_path: Path) -> None:
    log = EditLog(tmp_path / "log.sqlite")
    log.edit([add_class("a", 0)])
    log.undo()
    log.edit([add_class("b", 1)])
    assert not log.can_redo
    assert [own.name for own in log.state.classes.values()] == ["b"]


def test_a_step_is_done_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    log = EditLog(tmp_path / "log.sqlite")
    with pytest.raises(RecipeError, match="no class 'c7'"):
        log.edit([add_class("a", 0), add_point("l0", 7, 1, 1)])
    assert (log.state, log.revision, log.can_undo) == (ProjectState(), 0, False)


def test_what_is_sent_twice_is_no_second_step(tmp_path: Path) -> None:
    log = EditLog(tmp_path / "log.sqlite")
    log.edit([add_class("a", 0)])
    for _ in range(2):
        log.edit([add_point("l0", 0, 1, 1)])
    assert (log.revision, len(log.state.labels)) == (2, 1)
    assert not log.undo().labels


def test_another_file_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"something else " * 100)
    with pytest.raises(ArtifactError, match="no project's log"):
        EditLog(path)


def test_states_are_not_changed_by_later_edits() -> None:
    first = apply_steps(ProjectState(), [[add_class("a", 0), add_point("l0", 0, 1, 1)]])
    later = apply_steps(first, [[{"op": "delete_class", "id": "c0"}]])
    assert (len(first.labels), len(later.labels)) == (1, 0)


def test_what_was_sent_under_an_id_is_done_once(tmp_path: Path) -> None:
    log = EditLog(tmp_path / "log.sqlite")
    for number in range(3):
        log.edit([add_class(f"a{number}", number)], f"e{number}")
    log.undo("u")
    log.close()
    again = EditLog(tmp_path / "log.sqlite")
    before = again.snapshot()
    again.undo("u")
    again.edit([add_class("a0", 0)], "e0")
    again.redo("e1")
    assert again.snapshot() == before
    assert len(again.undo("v").classes) == 1


def test_a_log_without_ids_goes_on_with_them(tmp_path: Path) -> None:
    EditLog(tmp_path / "log.sqlite").close()
    with sqlite3.connect(tmp_path / "log.sqlite") as base:
        base.execute("ALTER TABLE log DROP COLUMN sent")
        base.execute("INSERT INTO log (kind, step) VALUES ('edit', ?)", (json.dumps([add_class("a", 0)]),))
    base.close()
    log = EditLog(tmp_path / "log.sqlite")
    log.undo("u")
    assert not log.undo("u").classes


@pytest.mark.parametrize(("kind", "step"), [("edit", None), ("undo", None), ("else", None), ("edit", "{")])
def test_rows_that_are_damaged_are_said(tmp_path: Path, kind: str, step: str | None) -> None:
    EditLog(tmp_path / "log.sqlite").close()
    with sqlite3.connect(tmp_path / "log.sqlite") as base:
        base.execute("INSERT INTO log (kind, step) VALUES (?, ?)", (kind, step))
    base.close()
    with pytest.raises(ArtifactError, match="damaged"):
        EditLog(tmp_path / "log.sqlite")
