"""The group of all commands: imports each when it is asked for, and turns our errors into click's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from fewshot.errors import FewshotError


class LazyGroup(click.Group):
    """A group of commands that lie in modules of their own, each as `command`."""

    def __init__(self, *, modules: Mapping[str, str], **settings: Any) -> None:
        """Know the module of each command, by the command's name; none is imported yet."""
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
        """Run the command that was named; a user's mistake is one message and exit code 1, without a traceback.

        Raises:
            click.ClickException: in place of a `FewshotError`.
        """
        try:
            return super().invoke(ctx)
        except FewshotError as error:
            raise click.ClickException(str(error)) from None
