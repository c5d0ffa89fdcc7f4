"""The options that several commands share, and options as the fields of a dataclass."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import click

FILE = click.Path(path_type=Path)

data_option = click.option(
    "--data",
    "paths",
    multiple=True,
    type=FILE,
    metavar="PATH",
    help="File or folder of the recipe's data; may be given several times.",
)
after_training_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change views.* or learner.evaluation_steps of the run; repeatable.",
)
steps_option = click.option("--steps", type=click.IntRange(0), help="Inner steps; the model's own number if not given.")
save_adapted_option = click.option("--save-adapted", type=FILE, help="Keep the adapted model in this file, .npz.")
server_option = click.option(
    "--server", metavar="URL", help="A served model: host:port/NAME, or http://host:port/NAME."
)

Command = Callable[..., None]


def options_as(kind: type[Any], name: str = "options") -> Callable[[Command], Command]:
    """Give a command the options that the fields of a dataclass are annotated with; it is called with one of these.

    Args:
        kind: A dataclass whose every field is `Annotated[its type, click.option(...)]`, in the order of the help.
        name: The command's parameter that takes it.

    Raises:
        TypeError: if a field has no option, or one of another name.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    own = [field.name for field in fields(kind)]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(**given: object) -> None:
            command(**{name: kind(**{key: given.pop(key) for key in own})}, **given)

        for key in reversed(own):
            (option,) = getattr(hints[key], "__metadata__", ()) or (None,)
            if option is None or option(called).__click_params__[-1].name != key:
                raise TypeError(f"{kind.__name__}.{key} is not annotated with a click option of its name.")
        return called

    return decorate


@dataclass(frozen=True)
class MapOptions:
    """What `map` and `map-many` share: the model, the labels' meaning, the windows, where it is predicted."""

    model: Annotated[
        Path | None,
        click.option("--model", type=FILE, help="Folder of an exported model: DIR/NAME, or DIR/NAME/VERSION."),
    ]
    server: Annotated[str | None, server_option]
    label_field: Annotated[
        str | None,
        click.option("--label-field", help="Field of the labels that holds the class; a usual one if not given."),
    ]
    classes: Annotated[
        Path | None,
        click.option("--classes", type=FILE, help="Class table (CSV: id, name, colour, ignored) for the labels."),
    ]
    bands: Annotated[
        str,
        click.option("--bands", default="", help="Names of the scene's bands, or their numbers in the model's order."),
    ]
    scale: Annotated[
        float | None,
        click.option("--scale", type=float, help="What one unit of the scene is worth, where its file does not say."),
    ]
    radius: Annotated[
        int,
        click.option("--radius", default=1, show_default=True, help="Segmentation: pixels that a point labels too."),
    ]
    holdout: Annotated[
        float, click.option("--holdout", default=0.0, help="Share of the labels to keep back and report accuracy on.")
    ]
    apart: Annotated[
        int | None,
        click.option("--apart", type=int, help="Least pixels between support and validation; a picture if not given."),
    ]
    seed: Annotated[
        int, click.option("--seed", default=0, show_default=True, help="Decides which labels are kept back.")
    ]
    steps: Annotated[int | None, steps_option]
    stride: Annotated[
        int | None,
        click.option(
            "--stride", type=click.IntRange(1), help="Patch models: pixels between patches; a quarter if not given."
        ),
    ]
    size: Annotated[
        int | None,
        click.option("--window", "size", type=click.IntRange(1), help="Segmentation: pixels of a window's side."),
    ]
    overlap: Annotated[
        int | None,
        click.option("--overlap", type=int, help="Segmentation: pixels that windows share; an eighth if not given."),
    ]
    probabilities: Annotated[
        bool, click.option("--probabilities", is_flag=True, help="Write the probabilities of all classes too.")
    ]
    title: Annotated[str, click.option("--title", default="", help="Above the picture.")]
    resume: Annotated[bool, click.option("--resume", is_flag=True, help="Go on with an interrupted map.")]
    workers: Annotated[
        int,
        click.option("--workers", default=1, show_default=True, help="Processes that predict on this machine."),
    ]
    scheduler: Annotated[
        str | None, click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers predict.")
    ]


def one_target(model: Path | None, server: str | None) -> str:
    """Return where a model is: a folder or an address.

    Raises:
        click.UsageError: if neither or both are named.
    """
    if (model is None) == (server is None):
        raise click.UsageError("a model is needed: give one of --model and --server.")
    return server or str(Path(model or "").resolve())
