"""The commands: parse, call one function, print. A new one is a file in this folder and a line in `COMMANDS`."""

import importlib
from typing import Any

import click

from fewshot.errors import FewshotError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "assess": "fewshot.commands.assess",
    "change": "fewshot.commands.change",
    "data": "fewshot.commands.data",
    "demo": "fewshot.commands.demo",
    "evaluate": "fewshot.commands.evaluate",
    "export": "fewshot.commands.export",
    "label": "fewshot.commands.label",
    "map": "fewshot.commands.map",
    "map-many": "fewshot.commands.map_many",
    "models": "fewshot.commands.models",
    "predict": "fewshot.commands.predict",
    "recipes": "fewshot.commands.recipes",
    "sample": "fewshot.commands.sample",
    "serve": "fewshot.commands.serve",
    "train": "fewshot.commands.train",
    "tune": "fewshot.commands.tune",
}
"""Each command's name, and the module whose `command` it is; imported when it is asked for."""


class LazyGroup(click.Group):
    """The group of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fewshot")
def main() -> None:
    """Few-shot land-cover mapping: meta-train on many regions, adapt to a new one with a few labelled examples."""
