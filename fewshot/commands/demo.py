"""`fewshot demo`."""

from __future__ import annotations

from pathlib import Path

import click

from fewshot.commands.options import FILE


@click.command("demo")
@click.option("--out", type=FILE, default=Path("demo"), show_default=True, help="Folder for it.")
def command(out: Path) -> None:
    """Train, evaluate, serve and map on data the program makes itself, in four to five minutes."""
    from fewshot.demo import run_demo

    run_demo(out)
