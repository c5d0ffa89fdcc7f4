"""Files appear under their name only when they are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewshot.files import UNFINISHED, remove_unfinished, write_whole


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "state.json"
    write_whole(target, lambda path: path.write_text("before"), flush=True)
    assert target.read_text() == "before"

    def fail(path: Path) -> None:
        assert path.suffix == ".json"  # what writes may choose its format by the name
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(target, fail)
    assert target.read_text() == "before"
    assert [path.name for path in target.parent.iterdir()] == ["state.json"]


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "groups").mkdir()
    left, kept = tmp_path / "groups" / f"{UNFINISHED}ab-7.npz", tmp_path / "groups" / "7.npz"
    left.touch()
    kept.touch()
    remove_unfinished(tmp_path)
    assert kept.exists() and not left.exists()
