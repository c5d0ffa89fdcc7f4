"""Options as the fields of a dataclass: what is declared once is what the command is given."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from fewshot.commands import COMMANDS
from fewshot.commands.options import model_targets, option, options_as

TYPES: dict[str, Any] = {"choice": str, "integer": int, "float": float, "text": str, "boolean": bool, "path": Path}
TYPES |= {"float or auto": float | Literal["auto"], "integer or auto": int | Literal["auto"]}
"""The Python type of what click's types read."""


@dataclass(frozen=True)
class Both:
    """Two options."""

    first: int = option("--first", default=1, help="x")
    others: tuple[str, ...] = option("--other", "others", multiple=True, help="x")


def test_a_command_is_given_the_dataclass_and_its_own_parameters() -> None:
    given: list[Any] = []

    @click.command()
    @click.argument("name")
    @options_as(Both, "both")
    @click.option("--flag", is_flag=True)
    def command(*, name: str, both: Both, flag: bool) -> None:
        given.extend((name, both, flag))

    result = CliRunner().invoke(command, ["x", "--first", "3", "--other", "a", "--other", "b"], catch_exceptions=False)
    assert result.exit_code == 0
    assert given == ["x", Both(3, ("a", "b")), False]
    assert [parameter.name for parameter in command.params] == ["name", "first", "others", "flag"]


def test_a_field_without_its_option_is_an_error_at_once() -> None:
    @dataclass(frozen=True)
    class Renamed:
        first: int = option("--second")

    @dataclass(frozen=True)
    class Bare:
        first: int

    def command(**_: Any) -> None: ...

    for kind in (Renamed, Bare):
        with pytest.raises(TypeError, match=f"{kind.__name__}.first"):
            options_as(kind)(command)


def option_tables() -> list[type]:
    """The dataclasses of options in the modules of the commands."""
    modules = [importlib.import_module(module) for module in (*COMMANDS.values(), "fewshot.commands.options")]
    found = [value for module in modules for value in vars(module).values() if dataclasses.is_dataclass(value)]
    return [value for value in dict.fromkeys(found) if value.__module__.startswith("fewshot.commands")]  # type: ignore[misc]


@pytest.mark.parametrize("table", option_tables(), ids=lambda table: table.__name__)
def test_each_field_is_of_the_type_that_its_option_reads(table: type) -> None:
    for name, kind in typing.get_type_hints(table).items():

        def probe(**_: Any) -> None: ...

        (given,) = table.__dataclass_fields__[name].metadata["option"](probe).__click_params__  # type: ignore[attr-defined]
        read = TYPES[given.type.name.removesuffix(" range")]
        if isinstance(given.type, click.Choice) and typing.get_origin(kind) is Literal:
            read = Literal[tuple(given.type.choices)]
        if given.multiple:
            assert kind == tuple[read, ...], f"{table.__name__}.{name}"  # type: ignore[valid-type]
        else:
            values = {} if given.required else click.Command("x", params=[given]).make_context("x", []).params
            empty = not given.required and values[name] is None
            assert kind == (read | None if empty else read), f"{table.__name__}.{name}"


def test_several_models_are_told_apart_by_name(tmp_path: Path) -> None:
    (tmp_path / "land").mkdir()
    assert model_targets([Path("earth-points")], None) == {"": "earth-points"}
    assert model_targets([], "localhost:8500/land") == {"": "localhost:8500/land"}
    folder = tmp_path / "land"
    assert model_targets([Path("earth-points"), folder], None) == {
        "earth-points": "earth-points",
        str(folder): str(folder),
    }
    for models, server in (([], None), ([folder], "localhost:8500/land"), ([folder, folder], "localhost:8500/land")):
        with pytest.raises(click.UsageError, match="give one of --model and --server"):
            model_targets(models, server)
