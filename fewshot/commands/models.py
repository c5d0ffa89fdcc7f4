"""`fewshot models`: the models in the box."""

from __future__ import annotations

import click


@click.group("models", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List the models in the box; `fewshot models show NAME` prints the card of one."""
    if context.invoked_subcommand is None:
        from fewshot.exported import models_table
        from fewshot.terminal import print_table

        print_table("Models in the box", models_table())


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print the card of a model: one in the box, or a folder."""
    from fewshot.exported import find_model, newest_version, read_card

    click.echo(read_card(newest_version(find_model(name))).to_json())
