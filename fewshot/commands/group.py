"""The group of all commands: imports each when it is asked for, and turns our errors into click's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from fewshot.errors import FewshotError


@contextmanager
def kind_errors() -> Iterator[None]:
    """Turn the error tree into click's error: one message, exit code 1, no traceback.

    Raises:
        click.ClickException: in place of a `FewshotError`.
    """
    try:
        yield
    except FewshotError as error:
        raise click.ClickException(str(error)) from None


class LazyGroup(click.Group):
    """A group of commands that lie in modules of their own, each as `command`."""

    def __init__(self, *, modules: Mapping[str, str], **settings: Any) -> None:
        """Nothing is imported yet.

        Args:
            modules: The module of each command, by the command's name.
            settings: Of `click.Group`.
        """
        super().__init__(**settings)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in self.modules:
            return None
        command: click.Command = importlib.import_module(self.modules[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        with kind_errors():
            return super().invoke(ctx)
