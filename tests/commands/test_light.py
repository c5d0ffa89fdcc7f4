"""Help, and the commands that need no network, do not wait for TensorFlow or Keras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_cli import commands

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "keras")

CODE = """
import sys
import cli
failed = None
for arguments in {runs!r}:
    try:
        cli.main(arguments, standalone_mode=False)
    except SystemExit as stopped:
        failed = failed or stopped.code
    found = [name for name in {heavy!r} if name in sys.modules]
    assert not found, f"fewshot {{' '.join(arguments)}} loads {{', '.join(found)}}"
sys.exit(failed)
"""


def run_light(*runs: list[str], folder: Path) -> str:
    """Run commands one after the other in one process, which fails at the first that loads what is heavy."""
    code = CODE.format(runs=list(runs), heavy=HEAVY)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_help_of_every_command(tmp_path: Path) -> None:
    runs = [[*path.split()[1:], "--help"] for path, _ in commands()]
    shown = run_light(["--help"], *runs, folder=tmp_path)
    assert shown.count("Usage: ") == len(runs) + 1


def test_lists_of_recipes_and_data_sets(tmp_path: Path) -> None:
    shown = run_light(["recipes"], ["recipes", "show", "demo"], ["data", "list"], folder=tmp_path)
    assert "synthetic-patch" in shown
    assert "SEN12MS" in shown


def test_a_simulated_earth_is_written_and_prepared(tmp_path: Path) -> None:
    earth = str(tmp_path / "earth")
    shown = run_light(
        ["data", "simulate", "--to", earth, "--regions", "1", "--patches", "1"],
        ["data", "prepare", "synthetic", earth, "--window", "64", "--cache"],
        folder=tmp_path,
    )
    assert "1 SIMULATED regions of 1 patches" in shown
    assert "windows of 64 pixels in 1 regions" in shown


def test_the_check_itself_notices() -> None:
    code = CODE.format(runs=[["--help"]], heavy=("click",))
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "fewshot --help loads click" in result.stderr


@pytest.mark.parametrize("name", ["fewshot", "cli", "fewshot.commands", "fewshot.exported.client"])
def test_imports(name: str) -> None:
    code = f"import sys, {name}; sys.exit(any(heavy in sys.modules for heavy in {HEAVY!r}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
