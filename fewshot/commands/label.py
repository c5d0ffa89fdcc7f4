"""`fewshot label`."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from pathlib import Path

import click

from fewshot.commands.options import FILE, ReadingOptions, one_target, option, options_as
from fewshot.mapping.methods import METHODS


@dataclass(frozen=True)
class LabelOptions(ReadingOptions):
    """What the labels are mapped with, and where the page is."""

    model: Path | None = option("--model", type=FILE, help="A model of `fewshot models`, or a folder: DIR/NAME.")
    method: str | None = option(
        "--method", type=click.Choice(METHODS), help="What maps, as for `fewshot map`; plain ones need no model."
    )
    labels: Path | None = option("--labels", type=FILE, help="Labels to begin a new project with.")
    classes: Path | None = option("--classes", type=FILE, help="Class table (CSV: id, name, colour) to begin with.")
    project: Path | None = option(
        "--project", type=FILE, help="Folder that keeps every change; SCENE.labels here if not given."
    )
    background: str = option(
        "--background",
        default="",
        metavar="URL",
        help="Tiles to lay under the scene, such as https://HOST/{z}/{x}/{y}.png; none if not given, and no network.",
    )
    host: str = option("--host", default="127.0.0.1", help="Address to listen at.")
    port: int = option("--port", default=0, show_default=False, help="Port to listen at; a free one if not given.")
    origin: str = option(
        "--origin",
        default="",
        metavar="URL",
        help="What browsers call the page by, such as https://label.example.org, where TLS is put before it.",
    )
    browser: bool = option("--browser/--no-browser", default=True, help="Open the page in the usual browser.")


@click.command("label")
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True)
@options_as(LabelOptions)
def command(scenes: tuple[str, ...], options: LabelOptions) -> None:
    """Label places of a scene in the browser, and watch the map follow.

    Every change is kept in the project's folder at once: stop or kill this at any time, and go on with the same line.
    """
    from fewshot.label import ProjectPlan, open_desk, project_name, serve_page

    plan = ProjectPlan(
        scenes,
        options.project or Path(f"{project_name(scenes)}.labels"),
        one_target(options.model, None) if options.model else "",
        options.labels,
        options.classes,
        options.method,
        options.bands,
        options.sensor,
        options.scale,
        options.offset,
        options.pictures,
        options.background,
    )
    with open_desk(plan) as desk:
        serve_page(
            desk,
            host=options.host,
            port=options.port,
            origin=options.origin,
            ready=lambda address: announce(address, options, plan.folder),
        )


def announce(address: str, options: LabelOptions, folder: Path) -> None:
    """Say where the page is, and open it.

    Args:
        address: With the token.
        options: What was asked for.
        folder: Of the project.
    """
    from fewshot.label.guard import is_loopback

    click.echo(f"Label at {address}")
    if not is_loopback(options.host) and not options.origin:
        click.echo(
            "Other machines can read what is sent and the token with it: put TLS before this (docs/labelling.md)."
        )
    if options.browser:
        click.launch(write_door(folder / "open.html", address).resolve().as_uri())


def write_door(path: Path, address: str) -> Path:
    """Write a page that leads to an address and that this user alone can read, and return its path.

    The address itself must not be an argument of the browser: everybody on the machine can read those.

    Args:
        path: File to write.
        address: With the token.
    """
    path.unlink(missing_ok=True)
    link = html.escape(address)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write('<!doctype html><meta charset="utf-8"><title>Label</title>\n')
        file.write(f'<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">Label</a>\n')
    return path
