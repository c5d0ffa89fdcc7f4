"""Version folders: what is one, which is the newest, and which is the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fewshot.errors import ArtifactError
from fewshot.exported.versions import free_version, newest_version, version_folders


def test_version_folders_are_decimal_names(tmp_path: Path) -> None:
    for name in ("00000123", "7", "x", "1.5", "temp-8", "99999999999999999999"):
        (tmp_path / name).mkdir()
    (tmp_path / "9").write_text("a file")
    assert {version: path.name for version, path in version_folders(tmp_path).items()} == {123: "00000123", 7: "7"}


def test_versions_count_up(tmp_path: Path) -> None:
    (tmp_path / "land" / "007").mkdir(parents=True)
    (tmp_path / "land" / "12").mkdir()
    assert free_version(tmp_path / "land") == tmp_path / "land" / "13"
    assert free_version(tmp_path / "land", 3) == tmp_path / "land" / "3"
    assert free_version(tmp_path / "sea") == tmp_path / "sea" / "1"
    for taken in (7, 12):
        with pytest.raises(ArtifactError, match=r"never changed.*next free one \(13\)"):
            free_version(tmp_path / "land", taken)
    with pytest.raises(ArtifactError, match="1 or more; received 0"):
        free_version(tmp_path / "land", 0)


def test_the_newest_is_the_greatest_number(trained: Any, tmp_path: Path) -> None:
    assert newest_version(trained.folder) == trained.folder
    assert newest_version(trained.folder.parent) == trained.folder
    for name in ("2", "10", ".partial-11-ab", "labels"):
        (tmp_path / name).mkdir()
    assert newest_version(tmp_path) == tmp_path / "10"
    with pytest.raises(ArtifactError, match="neither an exported model nor"):
        newest_version(tmp_path / "2")
