"""The command line: help everywhere, kind errors, and the README names every command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli

ROOT = Path(__file__).resolve().parents[2]


def commands(group: click.Group = cli.main, path: str = "fewshot") -> list[tuple[str, click.Command]]:
    found, context = [], click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_help_and_is_in_the_readme(path: str, command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]} has no help"
    assert path in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "sine5shot"], "Did you mean 'sine-5shot'"),
        (["train", "omniglot-5w1s"], "Add --data PATH"),
        (["train", "omniglot-5w1s", "--data", "nowhere.zip"], "no file or folder nowhere.zip"),
        (["train", "demo", "--set", "training.updats=5"], "Did you mean 'updates'"),
        (["evaluate", "nowhere"], "not a run folder"),
        (["evaluate", "nowhere", "--steps", "1,x"], "whole numbers separated by commas"),
        (["recipes", "show", "demmo"], "Did you mean 'demo'"),
    ],
)
def test_errors_are_one_message_and_no_traceback(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code != 0
    assert message in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_recipes_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(cli.main, ["recipes"])
    assert "sen12ms-tasks-4w2s" in listed.output
    shown = CliRunner().invoke(cli.main, ["recipes", "show", "demo"])
    assert shown.output.startswith("# fewshot train demo")


@pytest.mark.usefixtures("eager")
def test_train_then_evaluate(tmp_path: Path) -> None:
    run, figures = tmp_path / "run", tmp_path / "figures.json"
    settings = ["training.updates=2", "training.validate_every=2", "training.validation_tasks=4"]
    settings += ["network.filters=4", "network.blocks=1"]
    arguments = ["train", "demo", "--out", str(run)]
    for setting in settings:
        arguments += ["--set", setting]
    trained = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
    assert trained.exit_code == 0
    assert "2 updates" in trained.output
    evaluated = CliRunner().invoke(
        cli.main,
        [
            *("evaluate", str(run), "--tasks", "8", "--steps", "0,1", "--json", str(figures)),
            *("--report", str(tmp_path / "report")),
        ],
        catch_exceptions=False,
    )
    assert evaluated.exit_code == 0
    assert figures.exists()
    assert (tmp_path / "report" / "report.md").exists()
