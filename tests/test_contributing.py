"""What CONTRIBUTING.md promises: a source, a network, a learner and a command are one file and one line each.

Each test writes the one file to a folder, adds the one line to the list, and uses what it added from end to end.
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from fewshot.commands import COMMANDS
from fewshot.data.sources import SOURCES
from fewshot.training.build import NETWORKS

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LOCAL = ["--set", "training.updates=2", "--set", "training.validate_every=2", "--set", "training.validation_tasks=4"]


def section(title: str) -> list[str]:
    """The fenced parts of a section of CONTRIBUTING.md."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def new_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a module where it can be imported from, as if it lay in its room."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def line_of(text: str) -> tuple[str, str]:
    """Name and place of a list's line, as the page shows it."""
    found = re.fullmatch(r'\s*"(.+)": "(.+)",\s*', text)
    assert found is not None, text
    return found[1], found[2]


def test_a_command(new_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file, line = section("Add a command")
    name, place = line_of(line)
    assert place == f"fewshot.commands.{name}"
    monkeypatch.setitem(COMMANDS, name, new_module("toy_command", file))
    assert invoke(name, "Earth") == "Hello, Earth.\n"
    assert "Say hello to NAME." in invoke("--help")
    assert "Usage:" in invoke(name, "--help")


def test_a_learner(tmp_path: Path) -> None:
    (entry,) = section("Add a learner")
    (learner,) = re.findall(r"\[learners\.([\w-]+)\.learner\]", entry)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(invoke("recipes", "show", "sine-5shot") + "\n" + entry, encoding="utf-8")
    shown = invoke("train", recipe, "--learner", learner, "--out", tmp_path / "run", *LOCAL)
    assert "2 updates" in shown
    assert f"({learner})" not in shown


SOURCE_LINES = """
        names, regions = [], []
        for number in range(7):
            labels = np.repeat(np.arange(4), 12)
            own = np.arange(len(names), len(names) + len(labels))
            names += [f"squares_{number}/{label}/{i}" for i, label in enumerate(labels)]
            regions.append(Region(f"squares_{number}", ("a", "b", "c", "d"), own, labels, np.arange(len(labels))))
        values = np.concatenate([region.labels for region in regions]) * 60
        pixels = np.random.default_rng(0).integers(0, 9, (len(names), self.side, self.side, 1), np.uint8)
        pixels += values.astype(np.uint8)[:, None, None, None]
        return RegionSet("squares", ArrayStore(names, pixels), tuple(regions), ("a", "b", "c", "d"))
"""

RECIPE = """
description = "A toy"

[data]
source = "{source}"
train = ["*"]
validation = ["{prefix}5"]
test = ["{prefix}6"]

[tasks]
ways = 4
shots = 2
queries = 2
validation_queries = 2

[network]
kind = "{network}"
filters = 4
blocks = 2
downsample = "stride"
readout = "average"

[learner]
head = "prototype"
"""


def test_a_source(new_module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, line = section("Add a source of data")
    name, place = line_of(line)
    text = file.replace("        ...\n", SOURCE_LINES)
    assert text != file
    module = new_module("toy_source", text)
    monkeypatch.setitem(SOURCES, name, f"{module}:{place.partition(':')[2]}")
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE.format(source=name, prefix="squares_", network="conv4"), encoding="utf-8")
    invoke("train", recipe, "--out", tmp_path / "run", "--set", "data.side=16", *LOCAL)
    assert "accuracy" in invoke("evaluate", tmp_path / "run", "--tasks", 4, "--steps", 1)


@pytest.mark.slow
def test_a_network(new_module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, line = section("Add a network")
    module = importlib.import_module(new_module("toy_network", file))
    ((name, build),) = eval("{" + line + "}", vars(module)).items()  # noqa: S307 (a line of our own page)
    monkeypatch.setitem(NETWORKS, name, build)
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE.format(source="synthetic", prefix="simulated_0", network=name), encoding="utf-8")
    invoke("train", recipe, "--out", tmp_path / "run", *LOCAL)
    assert "accuracy" in invoke("evaluate", tmp_path / "run", "--tasks", 4, "--steps", 1)


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {project['version']}" in cited
    assert f"license: {project['license']}" in cited


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []
