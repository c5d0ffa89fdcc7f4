"""What the page works on: a project's log, the scene as pictures, and who is told of changes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fewshot.errors import ArtifactError
from fewshot.geo.names import short_name
from fewshot.label.edits import Step
from fewshot.label.events import Events
from fewshot.label.log import EditLog
from fewshot.label.pictures import ScenePictures
from fewshot.label.state import ProjectState


@dataclass(frozen=True)
class ProjectPlan:
    """What is labelled, and how it is mapped; the fields that a map has too mean what they mean there.

    Attributes:
        scenes: One file; or several, as neighbours or with a band each.
        folder: Of the project.
        model: A model's name, folder or address; "" for a plain method.
        labels: To begin with, where the project has none.
        classes: Class table to begin with.
        method: What maps; what suits the model if None.
        bands: Overrules the descriptions of the scene's bands.
        sensor: What recorded the scene.
        scale: What one unit is worth.
        offset: Added after scaling.
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

    @property
    def name(self) -> str:
        """What the project is called."""
        return short_name(self.scenes[0])


class Desk:
    """A project that pages work on."""

    def __init__(self, plan: ProjectPlan, log: EditLog, pictures: ScenePictures, events: Events) -> None:
        """Lay everything out.

        Args:
            plan: Of the project.
            log: Its edits.
            pictures: Of its scene.
            events: To its pages.
        """
        self.plan, self.log, self.pictures, self.events = plan, log, pictures, events

    def edit(self, step: Step) -> None:
        """Do a step, and tell all pages.

        Raises:
            RecipeError: if an edit does not fit.
        """
        self.log.edit(step)
        self._changed()

    def undo(self) -> None:
        """Take the last step back, and tell all pages."""
        self.log.undo()
        self._changed()

    def redo(self) -> None:
        """Do the step again that was taken back last, and tell all pages."""
        self.log.redo()
        self._changed()

    def document(self) -> dict[str, Any]:
        """Return the whole project as the page shows it."""
        revision, state = self.log.snapshot()
        return {
            "name": self.plan.name,
            "revision": revision,
            "scene": describe_scene(self.pictures),
            **describe_state(state),
            "contradictions": [],
            "can_undo": self.log.can_undo,
            "can_redo": self.log.can_redo,
            "model": {"name": self.plan.model, "figure": ""} if self.plan.model else None,
            "live": None,
            "panel": {"support_loss": None, "steps": None, "accuracy": None, "warnings": [], "compare": None},
            "jobs": [],
        }

    def _changed(self) -> None:
        self.events.send({"type": "state", "revision": self.log.revision})


def describe_state(state: ProjectState) -> dict[str, Any]:
    """Return classes and labels as plain data."""
    return {
        "classes": [
            {"id": own.id, "name": own.name, "colour": own.colour, "key": own.key} for own in state.classes.values()
        ],
        "labels": [
            {"id": own.id, "class": own.of, "kind": own.kind, "coordinates": own.coordinates, "width": own.width}
            for own in state.labels.values()
        ],
        "counts": state.counts,
    }


def describe_scene(pictures: ScenePictures) -> dict[str, Any]:
    """Return what the page has to know to show a scene."""
    grid = pictures.info.grid
    bands: Sequence[dict[str, Any]] = [
        {"index": number, "name": own.name or name or f"band {number}", "wavelength": own.wavelength}
        for number, (own, name) in enumerate(zip(pictures.spectra, pictures.info.names, strict=True), start=1)
    ]
    return {
        **{"width": grid.width, "height": grid.height, "bands": bands},
        "crs": grid.crs.to_string()[:200] if grid.crs is not None else None,
        "pixel_size": grid.pixel_sides(),
        "lonlat": bool(grid.crs is not None and grid.crs.is_geographic),
        **{"stretch": pictures.stretch, "presets": pictures.presets},
        **{"tile": 256, "levels": pictures.levels},
    }


@contextmanager
def open_desk(plan: ProjectPlan) -> Iterator[Desk]:
    """Open a project, or begin one.

    Raises:
        ArtifactError: if another process has it open, or it is of another scene.
        FewshotError: if the scene cannot be read.
    """
    pictures = ScenePictures(plan.scenes, sensor=plan.sensor)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with (plan.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtifactError(
                f"{plan.folder} is open in another `fewshot label`; use that page, or name another --project"
            ) from error
        log = EditLog(plan.folder / "project.sqlite")
        try:
            yield Desk(plan, log, pictures, Events())
        finally:
            log.close()
