"""What a project is of: its scene, its model, and the commands that do what the page does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fewshot.errors import RecipeError
from fewshot.geo.composing import PicturePlan
from fewshot.geo.names import short_name
from fewshot.geo.products import split_date
from fewshot.mapping import LabelPlan, MapRequest, split_bands
from fewshot.mapping.methods import AUTO, METHODS

LABELS, CLASSES, MAP = "labels.gpkg", "classes.csv", "map.tif"
LIVE_LABELS = "labels.fgb"
"""For the map that follows the labels: it is written and read in half the time that a GeoPackage takes."""
PLACES, ASSESSMENT = "places.gpkg", "assessment.json"
RESULTS = {"map": MAP, "compare": MAP, "sample": PLACES, "assess": ASSESSMENT}
"""Kinds of jobs, and the file that is there once one is done."""
USUAL_SAMPLE = 100
"""Places that are drawn where nobody says how many."""
_SWITCHES = ("compare", "probabilities", "applicable")


def project_name(scenes: Sequence[str]) -> str:
    """Return what a project of scenes is called: as the first of them, without its date."""
    return short_name(split_date(scenes[0])[1])


@dataclass(frozen=True)
class ProjectPlan:
    """What is labelled, and how it is mapped; the fields that a map has too mean what they mean there.

    Attributes:
        scenes: Files, as neighbours or with a band each; products, STAC items, and dates before their names.
        folder: Of the project.
        model: A model's name, folder or address; "" for a plain method.
        labels: To begin with, where the project has none.
        classes: Class table to begin with.
        method: What maps; what suits the model if None.
        bands: Overrules the descriptions of the scene's bands.
        sensor: What recorded the scene.
        scale: What one unit is worth.
        offset: Added after scaling.
        pictures: Which of its files are read, what of them is left out, and how several dates become one.
        background: Address of tiles of the world to lay under the scene; "" for none.
    """

    scenes: tuple[str, ...]
    folder: Path
    model: str = ""
    labels: Path | None = None
    classes: Path | None = None
    method: str | None = None
    bands: str = ""
    sensor: str = ""
    scale: float | Literal["auto"] | None = None
    offset: float | None = None
    pictures: PicturePlan = field(default_factory=PicturePlan)
    background: str = ""

    @property
    def name(self) -> str:
        """What the project is called."""
        return project_name(self.scenes)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the scene's bands, where they are given; numbers say which ones a model reads, not what they are."""
        return tuple(band for band in split_bands(self.bands) if isinstance(band, str))

    @property
    def maps(self) -> bool:
        """Whether there is something to map with."""
        return bool(self.model or self.method)

    def live_request(self, folder: Path) -> MapRequest:
        """Return the request of a map of the labels in a folder, as the page shows it while people label.

        That is by the model alone where both it and a plain classifier would map: the two take too long for that.

        Args:
            folder: That holds labels and classes.
        """
        return MapRequest(
            self.scenes,
            folder / MAP,
            LabelPlan(folder / LIVE_LABELS, "class"),
            classes=folder / CLASSES,
            bands=split_bands(self.bands),
            scale=self.scale,
            sensor=self.sensor,
            offset=self.offset,
            pictures=self.pictures,
            method=self.method if self.method not in (None, "combined") else "adapted",
        )

    def map_command(self, folder: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the arguments of `fewshot` that map the labels in a folder.

        Args:
            folder: That holds labels and classes, and will hold the map.
            options: What the page adds: "method", and whether "compare", "probabilities" and "applicable" are wanted.

        Raises:
            RecipeError: if it adds anything else.
        """
        method = options.get("method") or self.method
        if set(options) - {"method", *_SWITCHES} or method not in (None, AUTO, *METHODS):
            raise RecipeError(f"a map takes method, {', '.join(_SWITCHES)}; received {dict(options)}"[:300])
        named = {
            "--model": self.model,
            "--labels": folder / LABELS,
            "--label-field": "class",
            "--classes": folder / CLASSES,
            **{"--method": method, "--bands": self.bands, "--sensor": self.sensor},
            **{"--scale": self.scale, "--offset": self.offset, "--assets": ",".join(self.pictures.assets)},
            **{"--mask": self.pictures.mask, "--mask-out": self.pictures.mask_out},
            **{"--composite": self.pictures.composite, "--to": folder / MAP},
        }
        switches = [f"--{name}" for name in _SWITCHES if options.get(name)]
        scenes = [text for scene in self.scenes for text in ("--scene", scene)]
        given = [text for name, value in named.items() if value not in (None, "") for text in (name, str(value))]
        return ("map", *scenes, *given, *switches)


def sample_command(mapped: Path, folder: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the arguments of `fewshot` that draw places of a map to look at.

    Args:
        mapped: The map.
        folder: For the places.
        options: "n", their number.

    Raises:
        RecipeError: if it is no number.
    """
    number = options.get("n", USUAL_SAMPLE)
    if not isinstance(number, int) or isinstance(number, bool) or set(options) - {"n"}:
        raise RecipeError(f"a sample takes n, a number of places; received {dict(options)}"[:300])
    return ("sample", str(mapped), "--to", str(folder / PLACES), "--n", str(number))


def assess_command(mapped: Path, folder: Path, places: Path) -> tuple[str, ...]:
    """Return the arguments of `fewshot` that say how good a map is.

    Args:
        mapped: The map.
        folder: For the figures.
        places: With the class that was seen at each.
    """
    return ("assess", str(mapped), str(places), "--to", str(folder / ASSESSMENT))
