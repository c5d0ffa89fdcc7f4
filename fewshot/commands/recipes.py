"""`fewshot recipes`: what can be trained."""

from __future__ import annotations

import click


@click.group("recipes", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List the recipes; `fewshot recipes show NAME` prints one."""
    if context.invoked_subcommand is None:
        from fewshot.training import print_recipes

        print_recipes()


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print the recipe NAME as TOML."""
    from fewshot.training import recipe_text

    click.echo(recipe_text(name), nl=False)
