"""What is to be mapped, and how."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fewshot.errors import RecipeError
from fewshot.exported.predictor import Steps
from fewshot.geo.composing import PicturePlan
from fewshot.geo.names import gdal_name, local_file
from fewshot.geo.products import split_date
from fewshot.mapping.methods import AUTO, METHODS
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.product.files import Outputs
from fewshot.mapping.reading import Reading
from fewshot.mapping.support.examples import LabelPlan

MOST_SUGGESTED = 10_000
"""Places to label next that may be asked for."""

_LONGEST = 230
"""Bytes of a file's name: 255, less what unfinished files have before theirs."""


@dataclass(frozen=True)
class MapRequest:
    """What is to be mapped, and how.

    Attributes:
        scenes: Files, as neighbours or with a band each; products, STAC items; "2024-06-01=" before a name is its date.
        to: The map to write, `.tif`; the other files are named after it.
        labels: The region's own labels; or
        adapted: a model adapted before, as `save_adapted` wrote it.
        check: Labels to validate a map of such a model with: its `validation`.
        classes: Class table (CSV or TOML) with names, numbers and colours.
        bands: Overrules the descriptions of the scene's bands; see `Reading`.
        scale: What one digital number is worth to the network, where the file does not say and the card is wrong; or
            "auto" for numbers as they are stored.
        sensor: What recorded the scene, where it does not say.
        offset: Added after scaling.
        pictures: Which files of the scene are read, what of them is left out, and how several dates become one.
        windows: Which windows are asked for.
        steps: Inner steps; "auto" lets the labels decide, as None does where the model can.
        probabilities: Whether to write the probabilities of all classes too.
        save_adapted: File to keep the adapted model in.
        resume: Whether to go on with an interrupted map.
        title: Of the quick-look.
        method: What maps, one of `METHODS`, or "auto", the best of all; what suits the model if None. See
            `compare.choose_method`.
        compare: Whether to compare all methods on the labels first.
        applicable: Whether to map where the method is applicable, by how unlike the labels a place is.
        suggest: How many places to name that are worth a label next; more than 0 asks for `applicable` too.
    """

    scenes: tuple[str, ...]
    to: Path
    labels: LabelPlan | None = None
    adapted: Path | None = None
    check: LabelPlan | None = None
    classes: Path | None = None
    bands: tuple[str | int, ...] = ()
    scale: float | Literal["auto"] | None = None
    sensor: str = ""
    offset: float | None = None
    pictures: PicturePlan = field(default_factory=PicturePlan)
    windows: WindowPlan = field(default_factory=WindowPlan)
    steps: Steps = None
    probabilities: bool = False
    save_adapted: Path | None = None
    resume: bool = False
    title: str = ""
    method: str | None = None
    compare: bool = False
    applicable: bool = False
    suggest: int = 0

    def __post_init__(self) -> None:
        """Check what goes together."""
        if (self.labels is None) == (self.adapted is None):
            raise RecipeError("a map needs labels, or a model adapted before: give one of --labels and --adapted")
        if self.adapted is not None and (self.classes is not None or self.steps is not None):
            raise RecipeError("--classes and --steps go with --labels; a model adapted before has its classes")
        factor = self.reading.factor
        if factor is not None and not (math.isfinite(factor) and factor > 0):
            raise RecipeError(f"--scale says what one unit of the scene is worth, more than 0; received {factor}")
        if self.offset is not None and not math.isfinite(self.offset):
            raise RecipeError(f"--offset is added to the scene's values after --scale; received {self.offset}")
        if self.compares and self.labels is None:
            raise RecipeError("--compare and --method auto hold labels out to test on: give some with --labels")
        if self.method not in (None, AUTO, *METHODS):
            raise RecipeError(f"--method is {AUTO} or one of {', '.join(METHODS)}; received {self.method}")
        if self.to.suffix.lower() not in (".tif", ".tiff"):
            raise RecipeError(f"a map is a GeoTIFF; name it with .tif, not {self.to}")
        if not 0 <= self.suggest <= MOST_SUGGESTED:
            raise RecipeError(f"--suggest names up to {MOST_SUGGESTED} places; received {self.suggest}")
        self._require_room()

    @property
    def reading(self) -> Reading:
        """What is said of the scene's bands and numbers."""
        return Reading(self.bands, self.sensor, self.scale, self.offset, self.pictures)

    @property
    def compares(self) -> bool:
        """Whether methods are compared before the map is made."""
        return self.compare or self.method == AUTO

    @property
    def maps_applicability(self) -> bool:
        """Whether it is mapped where the method is applicable."""
        return self.applicable or self.suggest > 0

    def _require_room(self) -> None:
        """Refuse a map that would be written over what it is made from, or that has the name of a folder."""
        if gdal_name(self.to).startswith("/vsi"):
            raise RecipeError(f"a map is written to a file of this machine; {self.to} is none. Give --to another name")
        for path in (*Outputs(self.to).all, *([self.save_adapted] if self.save_adapted else [])):
            _require_name(path)
        plans = [plan for plan in (self.labels, self.check) if plan is not None]
        scenes = [split_date(scene)[1] for scene in self.scenes]
        named = [*scenes, self.pictures.mask or None, self.adapted, self.classes, *(plan.path for plan in plans)]
        named += [plan.validation for plan in plans]
        files = [local_file(path) for path in named if path is not None]
        inputs = {_resolved(file) for file in files if file is not None}
        kept = [self.save_adapted] if self.save_adapted is not None else []
        for written in (*Outputs(self.to).all, *kept):
            if _resolved(written) in inputs:
                raise RecipeError(f"{written} is an input of the map and would be overwritten; give --to another name")
            if written.is_dir():
                raise RecipeError(f"{written} is a folder; name a file that the map may be written to")
        suggested = Outputs(self.to).suggested
        if self.suggest and suggested.exists() and not self.resume:
            raise RecipeError(f"{suggested} is there already, and may hold labels by now; move or rename it first")
        if any(path in Outputs(self.to).all for path in kept):
            raise RecipeError(f"--save-adapted {self.save_adapted} is a file of the map itself; give it another name")


def _resolved(path: Path) -> Path:
    """Return a path without links, or as it is where no file can have it."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def _require_name(path: Path) -> None:
    """Refuse a name that no file can have."""
    try:
        fits = len(path.name.encode("utf-8")) <= _LONGEST and "\0" not in str(path)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise RecipeError(
            f"{str(path)[:60]!r}{' ...' if len(str(path)) > 60 else ''} cannot be written: expected a name in UTF-8 of "
            f"at most {_LONGEST} bytes, since files beside a map are named after it. Give it another name"
        )
