"""What is to be mapped, and how."""

from dataclasses import dataclass, field
from pathlib import Path

from fewshot.errors import RecipeError
from fewshot.mapping.examples import LabelPlan
from fewshot.mapping.layout import WindowPlan


@dataclass(frozen=True)
class MapRequest:
    """What is to be mapped, and how.

    Attributes:
        scenes: One file; or several, as neighbours or with a band each.
        to: The map to write, `.tif`; the other files are named after it.
        labels: The region's own labels; or
        adapted: a model adapted before, as `save_adapted` wrote it.
        classes: Class table (CSV or TOML) with names, numbers and colours.
        bands: Overrules the descriptions of the scene's bands; see `match_bands`.
        scale: What one digital number is worth to the network, where the file does not say and the card is wrong.
        windows: Which windows are asked for.
        steps: Inner steps; the model's own number if None.
        probabilities: Whether to write the probabilities of all classes too.
        save_adapted: File to keep the adapted model in.
        resume: Whether to go on with an interrupted map.
        title: Of the quick-look.
    """

    scenes: tuple[str, ...]
    to: Path
    labels: LabelPlan | None = None
    adapted: Path | None = None
    classes: Path | None = None
    bands: tuple[str | int, ...] = ()
    scale: float | None = None
    windows: WindowPlan = field(default_factory=WindowPlan)
    steps: int | None = None
    probabilities: bool = False
    save_adapted: Path | None = None
    resume: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        """Check what goes together."""
        if (self.labels is None) == (self.adapted is None):
            raise RecipeError("a map needs labels, or a model adapted before: give one of --labels and --adapted")
        if self.to.suffix.lower() not in (".tif", ".tiff"):
            raise RecipeError(f"a map is a GeoTIFF; name it with .tif, not {self.to}")
