"""The options that several commands share, and options as the fields of a dataclass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fewshot.geo.composing import COMPOSITES, Composing, PicturePlan
from fewshot.mapping.methods import AUTO, METHODS

if TYPE_CHECKING:
    from fewshot.mapping import MapRequest

FILE = click.Path(path_type=Path)

data_option = click.option(
    "--data",
    "paths",
    multiple=True,
    type=FILE,
    metavar="PATH",
    help="File or folder of the recipe's data; may be given several times.",
)
learner_option = click.option(
    "--learner", help="One of the recipe's learners, such as maml or meta-sgd; the first one if not given."
)
recipe_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change one setting of the recipe; repeatable.",
)
after_training_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change views.*, learner.evaluation_steps or learner.kept of the run; repeatable.",
)
save_adapted_option = click.option("--save-adapted", type=FILE, help="Keep the adapted model in this file, .npz.")
server_option = click.option(
    "--server", metavar="URL", help="A served model: host:port/NAME, or http://host:port/NAME."
)

Command = Callable[..., None]


class NumberOrAuto(click.ParamType["int | float | Literal['auto']"]):
    """A number, or "auto"."""

    def __init__(self, number: click.ParamType[Any]) -> None:
        """Say what kind of number."""
        self.number, self.name = number, f"{number.name.removesuffix(' range')} or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what was given as a number, or "auto".

        Args:
            value: As it was given.
            param: The option.
            ctx: Of the command.
        """
        return "auto" if value == "auto" else self.number.convert(value, param, ctx)


steps_option = click.option(
    "--steps",
    type=NumberOrAuto(click.IntRange(0)),
    help="Inner steps; auto: what the labels themselves ask for, by cross-validation. The model's own if not given.",
)


def given(by: Callable[[Command], Command]) -> Any:
    """Return a field of a dataclass that an option of click gives its value."""
    return field(metadata={"option": by})


def option(*names: str, **settings: Any) -> Any:
    """Return a field of a dataclass that is an option of its own, whose help shows its default where there is one."""
    return given(click.option(*names, **{"show_default": settings.get("default") not in (None, ""), **settings}))


def options_as(kind: type[Any], name: str = "options") -> Callable[[Command], Command]:
    """Give a command the options that the fields of a dataclass are; its parameter `name` takes one of these.

    Every field is an `option` of the field's name, in the order of the help.

    Raises:
        TypeError: if a field is no option, or one of another name.
    """
    own = {entry.name: entry.metadata.get("option") for entry in fields(kind)}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(**values: object) -> None:
            command(**{name: kind(**{key: values.pop(key) for key in own})}, **values)

        for key, by in reversed(own.items()):
            if by is None or by(called).__click_params__[-1].name != key:
                raise TypeError(f"{kind.__name__}.{key} is not a click option of its name.")
        return called

    return decorate


@dataclass(frozen=True)
class ReadingOptions:
    """How any scene is read."""

    bands: str = option(
        "--bands",
        default="",
        help="Names of the scene's bands (B4, red, 665nm), or their numbers in the model's order, 0 for none.",
    )
    sensor: str = option(
        "--sensor",
        default="",
        metavar="NAME",
        help="What recorded the scene, where its bands do not say: landsat4 to landsat9, sentinel2, modis, "
        "planetscope, naip, aerial.",
    )
    scale: float | Literal["auto"] | None = option(
        "--scale",
        type=NumberOrAuto(click.FLOAT),
        help="What one unit of the scene is worth, where its file does not say; or auto: as stored, for models that "
        "take any unit (their default).",
    )
    offset: float | None = option(
        "--offset", type=float, help="Added after --scale, such as -0.1 for Sentinel-2 since January 2022."
    )
    assets: str = option(
        "--assets",
        default="",
        metavar="NAMES",
        help="Which files of a product or of STAC items are read, such as B02,B03,B04,B08; those with its bands if not "
        "given.",
    )
    mask: str = option(
        "--mask",
        default="",
        metavar="NAME|FILE",
        help="Leaves clouds and the like out of labels and map: a band or file of the scene by its name (SCL, "
        "QA_PIXEL, Fmask), or any raster.",
    )
    mask_out: str = option(
        "--mask-out",
        default="",
        metavar="NUMBERS",
        help="Which values of the mask are left out, such as 3,8-10, or bits:1,3; of masks with a known name what is "
        "usual.",
    )
    composite: str | None = option(
        "--composite",
        type=click.Choice(COMPOSITES),
        help="How several dates become one scene: pixel by pixel (median if not given, mean, or the one with the "
        "greatest NDVI), or as further bands (stack).",
    )

    @property
    def pictures(self) -> PicturePlan:
        """Which files of the scene are read, and how they become one."""
        assets = tuple(filter(None, map(str.strip, self.assets.split(","))))
        asked: list[Composing] = [how for how in COMPOSITES if how == self.composite]
        return PicturePlan(assets, self.mask, self.mask_out, asked[0] if asked else "")


@dataclass(frozen=True)
class SceneOptions(ReadingOptions):
    """How any scene is mapped: by which model, how it is read, where it is predicted."""

    models: tuple[Path, ...] = option(
        "--model",
        "models",
        type=FILE,
        multiple=True,
        help="A model of `fewshot models`, or a folder of an exported one: DIR/NAME, DIR/NAME/N. Of several the first "
        "maps, --compare shows all, and --method auto maps with the best.",
    )
    server: str | None = given(server_option)
    method: str | None = option(
        "--method",
        type=click.Choice((AUTO, *METHODS)),
        help="What maps; auto: what is best on the labels, held out in turn. If not given, combined, or adapted where "
        "a model has classes of its own or labels pictures. Plain classifiers need no model.",
    )
    resume: bool = option("--resume", is_flag=True, help="Go on with an interrupted map.")
    workers: int = option("--workers", default=1, help="Processes that predict on this machine.")
    scheduler: str | None = option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers predict.")

    def applied_to(self, request: MapRequest) -> MapRequest:
        """Return the same map of a scene that is read, and mapped by the method, as the options say."""
        from fewshot.mapping import split_bands

        return replace(
            request,
            bands=split_bands(self.bands),
            scale=self.scale,
            sensor=self.sensor,
            offset=self.offset,
            pictures=self.pictures,
            method=self.method,
        )


@dataclass(frozen=True)
class MapOptions(SceneOptions):
    """What `map` and `map-many` share: how a scene is mapped, the labels' meaning, the windows, what is written."""

    label_field: str | None = option(
        "--label-field", help="Field of the labels that holds the class; a usual one if not given."
    )
    classes: Path | None = option(
        "--classes", type=FILE, help="Class table (CSV: id, name, colour, ignored) for the labels."
    )
    radius: int = option(
        "--radius", default=1, help="Segmentation, --method adapted: pixels on each side of a point that it labels too."
    )
    holdout: float = option(
        "--holdout", default=0.0, show_default=False, help="Share of the labels to keep back and report accuracy on."
    )
    apart: int | None = option(
        "--apart", type=int, help="Least pixels between support and validation; a picture if not given."
    )
    seed: int = option("--seed", default=0, help="Decides which labels are kept back.")
    compare: bool = option("--compare", is_flag=True, help="Compare all methods on the labels, held out in turn.")
    steps: int | Literal["auto"] | None = option(
        "--steps",
        type=NumberOrAuto(click.IntRange(0)),
        help="Inner steps; what the labels themselves ask for, by cross-validation, if not given.",
    )
    stride: int | None = option(
        "--stride", type=click.IntRange(1), help="Patch models: pixels between patches; a quarter if not given."
    )
    size: int | None = option(
        "--window", "size", type=click.IntRange(1), help="Segmentation: pixels of a window's side."
    )
    overlap: int | None = option(
        "--overlap", type=int, help="Segmentation: pixels that windows share; an eighth if not given."
    )
    probabilities: bool = option("--probabilities", is_flag=True, help="Write the probabilities of all classes too.")
    applicable: bool = option(
        "--applicable", is_flag=True, help="Map where the method is applicable: how unlike the labels a place is."
    )
    suggest: int = option(
        "--suggest",
        type=click.IntRange(0),
        default=0,
        show_default=False,
        metavar="N",
        help="Name N places worth a label next, unsure or unlike all labels; maps --applicable too.",
    )
    title: str = option("--title", default="", help="Above the picture.")


def model_targets(models: Sequence[Path], server: str | None) -> dict[str, str]:
    """Return where models are, by name; "" is that of one alone.

    Raises:
        click.UsageError: if none is named, or a server beside models.
    """
    if len(models) > 1 and server is None:
        return {str(model): one_target(model, None) for model in models}
    return {"": one_target(models[0] if models else None, server)}


def one_target(model: Path | None, server: str | None) -> str:
    """Return where a model is: a folder, its name in the box, or an address.

    Raises:
        click.UsageError: if neither or both are named.
    """
    if (model is None) == (server is None):
        raise click.UsageError("a model is needed: give one of --model and --server.")
    if server is not None:
        return server
    folder = Path(model or "")
    return str(folder.resolve() if folder.is_dir() else folder)
