"""`fewshot serve`: TF Serving's flags by their own names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fewshot.commands.options import FILE
from serving.server.flags import FLAGS, Flag, read_flags


def flag_option(flag: Flag) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option of one of TF Serving's flags, as `--rest_api_port` and as `--rest-api-port`."""
    names = dict.fromkeys((f"--{flag.name.replace('_', '-')}", f"--{flag.name}"))
    text = f"{flag.help}  [default: {flag.default}]" if flag.default not in ("", False) else flag.help
    # A switch may stand alone or be given a value, as in --enable_batching=true.
    switch: dict[str, Any] = {"is_flag": False, "flag_value": True} if isinstance(flag.default, bool) else {}
    return click.option(
        *names,
        flag.name,
        type=type(flag.default),
        help=text if flag.help else "A flag of TF Serving that has no effect here.",
        hidden=not flag.help,
        **switch,
    )


def serve_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all of TF Serving's flags."""
    for flag in reversed(FLAGS):
        command = flag_option(flag)(command)
    return command


@click.command("serve")
@click.argument("folder", required=False, type=FILE)
@serve_flags
@click.version_option(package_name="fewshot", message="TensorFlow ModelServer: %(prog)s %(version)s")
def command(folder: Path | None, **flags: int | float | str | bool | None) -> None:
    """Serve the exported models in FOLDER over TF Serving's gRPC and REST APIs, until SIGTERM.

    FOLDER/NAME/VERSION/ is what `fewshot export --to FOLDER` writes. The name of a model in the box does in place of a
    folder: `fewshot serve earth-points`. TF Serving's own flags work too.

    A model is a program: it can read and write whatever this user can. Serve models that you exported yourself, or
    whose maker you would let run a script here.
    """
    from fewshot.exported import find_model, model_names
    from serving import serve

    if str(folder) in model_names():
        folder = find_model(str(folder))
    serve(read_flags(folder, flags))
