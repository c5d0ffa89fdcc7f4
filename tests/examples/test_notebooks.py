"""The notebooks: kept without outputs, of public names only, and run to their end."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def code_of(notebook: Path) -> str:
    """The code cells of a notebook, in order."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_there_are_four() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def private_imports(code: str) -> list[str]:
    """What code imports from our packages that these do not list as public."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in ("fewshot", "serving", "cli")]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("fewshot", "serving", "cli"):
            public = getattr(importlib.import_module(str(node.module)), "__all__", ())
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name not in public]
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_public_names_only(notebook: Path) -> None:
    assert private_imports(code_of(notebook)) == []


def readme_examples() -> list[str]:
    """The Python in the README."""
    parts = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    return [part.partition("```")[0] for part in parts]


def test_the_readme_imports_public_names_only() -> None:
    assert [private_imports(code) for code in readme_examples()] == [[], []]


def run(code: str, folder: Path) -> str:
    """Run code in a process of its own, in a folder of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "TMPDIR": str(folder)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


LAST_WORDS = {
    "01_train_and_evaluate": "queries right; chance is 25%",
    "02_map_a_scene": "GTiff (256, 256) EPSG:",
    "03_serve_and_call": "the same classes: True",
    "04_from_scene_to_assessed_map": "150 places; overall accuracy by area ",
}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(notebook: Path, tmp_path: Path) -> None:
    assert LAST_WORDS[notebook.stem] in run(code_of(notebook), tmp_path).strip().splitlines()[-1]


@pytest.mark.slow
def test_the_readmes_meta_learner_trains(sen12ms_root: Path, tmp_path: Path) -> None:
    (code,) = [code for code in readme_examples() if "MetaLearner" in code]
    (tmp_path / "sen12ms_rgb64").mkdir()
    for archive in sorted(sen12ms_root.glob("*.zip"))[:3]:
        (tmp_path / "sen12ms_rgb64" / archive.name).symlink_to(archive)
    short = code.replace("steps_per_epoch=200", "steps_per_epoch=2")
    assert short != code
    task = (
        "support_x, support_y, query_x = RegionTasks(regions, TaskSpec(4, 2, 2)).draw(np.random.default_rng(0), 1)[:3]"
    )
    given = short.replace("logits =", f"import numpy as np\n{task}\nlogits =")
    assert run(f"{given}\nprint(logits.shape)", tmp_path).strip().endswith("(1, 8, 4)")
