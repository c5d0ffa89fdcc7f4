"""The wheel carries everything the program needs, and works from a folder that holds nothing of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path, path: Path | None = None) -> str:
    """Run a command in a folder, with `path` as the only place besides the environment to import from."""
    keep = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env = {**keep, "TF_CPP_MIN_LOG_LEVEL": "2", **({"PYTHONPATH": str(path)} if path else {})}
    result = subprocess.run(
        [str(part) for part in command], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a source archive as `python -m build` does, with the builders already installed."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed and nothing else; its dependencies stay where they are."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(target)]
    run(sys.executable, "-m", "pip", "install", *options, wheel, folder=target)
    return target


def in_repository(pattern: str) -> set[str]:
    """Names of the repository's files that match a pattern and are tracked or would be."""
    return {path.name for path in ROOT.glob(pattern)}


def test_recipes_manifests_and_types_are_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"fewshot/training/recipes/{name}" for name in in_repository("fewshot/training/recipes/*.toml")}
    manifests = {f"fewshot/data/manifests/{name}" for name in in_repository("data_manifests/*.toml")}
    assert recipes, "the repository has no recipes"
    assert manifests, "the repository has no manifests"
    page = {f"fewshot/label/page/{name}" for name in in_repository("fewshot/label/page/*")}
    assert page, "the repository has no label page"
    assert recipes | manifests | page <= names
    assert {"cli.py", "serving/__init__.py", "fewshot/py.typed"} <= names


def test_nothing_but_the_program_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fewshot", "serving", "cli.py"}


def test_the_metadata_agrees_with_the_project_file(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    lines = archive.read(metadata).decode().splitlines()
    assert f"Version: {project['version']}" in lines
    assert "License-Expression: Apache-2.0" in lines
    assert {f"Project-URL: {name}, {url}" for name, url in project["urls"].items()} <= set(lines)


def test_the_installed_program_lists_and_shows_its_recipes_from_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    program = [sys.executable, "-P", "-m", "cli"]
    found = run(sys.executable, "-P", "-c", "import cli, fewshot; print(cli.__file__)", folder=tmp_path, path=installed)
    assert Path(found.strip()).is_relative_to(installed), "the repository's own files were imported instead"
    listed = run(*program, "recipes", folder=tmp_path, path=installed)
    names = {Path(name).stem for name in in_repository("fewshot/training/recipes/*.toml")}
    assert {name for name in names if name not in listed} == set()
    name = sorted(names)[0]
    assert run(*program, "recipes", "show", name, folder=tmp_path, path=installed).strip()
    assert list(tmp_path.iterdir()) == []


def test_the_console_script_starts(installed: Path, tmp_path: Path) -> None:
    script = next((installed / "bin").glob("fewshot*"))
    assert "Usage" in run(sys.executable, "-P", script, "--help", folder=tmp_path, path=installed)
