"""The commands: parse, call one function, print. A new one is a file in this folder and a line in `COMMANDS`."""

import click

from fewshot.commands import group

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "data": "fewshot.commands.data",
    "demo": "fewshot.commands.demo",
    "evaluate": "fewshot.commands.evaluate",
    "export": "fewshot.commands.export",
    "map": "fewshot.commands.map",
    "map-many": "fewshot.commands.map_many",
    "predict": "fewshot.commands.predict",
    "recipes": "fewshot.commands.recipes",
    "serve": "fewshot.commands.serve",
    "train": "fewshot.commands.train",
}
"""Each command's name, and the module whose `command` it is; imported when it is asked for."""


@click.group(
    cls=group.LazyGroup,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="fewshot")
def main() -> None:
    """Few-shot land-cover mapping: meta-train on many regions, adapt to a new one with a few labelled examples."""
