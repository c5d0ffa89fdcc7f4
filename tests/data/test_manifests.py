"""The facts in data_manifests/ against the real files, where they are there."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from fewshot.data.patches import IGBP_CLASSES

MANIFESTS = sorted((Path(__file__).resolve().parents[2] / "data_manifests").glob("*.toml"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_name_licence_citation_and_home(path: Path) -> None:
    manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    assert {"title", "licence", "citation", "homepage"} <= set(manifest)
    for file in manifest.get("files", []):
        assert len(file["md5"]) == 32


def test_omniglot_files_are_those_of_the_manifest(omniglot_root: Path) -> None:
    manifest = tomllib.loads(next(path for path in MANIFESTS if path.stem == "omniglot").read_text(encoding="utf-8"))
    present = [file for file in manifest["files"] if (omniglot_root / file["path"]).exists()]
    assert len(present) >= 2
    for file in present:
        assert hashlib.md5((omniglot_root / file["path"]).read_bytes()).hexdigest() == file["md5"]


def test_class_names_of_the_tasks_are_the_readers_own() -> None:
    path = next(path for path in MANIFESTS if path.stem == "sen12ms-tasks")
    assert tuple(tomllib.loads(path.read_text(encoding="utf-8"))["classes"]) == IGBP_CLASSES
