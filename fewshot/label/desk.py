"""What the page works on: a project's log, the scene as pictures, the map that follows, and the jobs that finish it."""

from __future__ import annotations

import fcntl
import shlex
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from fewshot.errors import ArtifactError, FewshotError, RecipeError
from fewshot.exported import find_model, model_names, newest_version, read_card
from fewshot.geo import LandClass, read_class_table
from fewshot.geo.grid import Grid
from fewshot.geo.pictures import open_pictures
from fewshot.geo.showing import open_numbers
from fewshot.geo.windows import Window, intersection
from fewshot.label.background import place_background
from fewshot.label.documents import describe_model, describe_state, panel
from fewshot.label.edits import Step, apply_steps
from fewshot.label.events import Events
from fewshot.label.files import (
    new_classes,
    read_new_labels,
    sent_ending,
    table_of_labels,
    write_classes,
    write_labels,
)
from fewshot.label.jobs import Job, Jobs
from fewshot.label.live import LiveMap
from fewshot.label.log import EditLog
from fewshot.label.pictures import ScenePictures
from fewshot.label.plan import CLASSES, LABELS, LIVE_LABELS, RESULTS, ProjectPlan, assess_command, sample_command
from fewshot.label.shapes import contradictions
from fewshot.label.state import ProjectState
from fewshot.label.suggest import suggest_places

EXPORTS = ("labels.gpkg", "labels.geojson", "labels.csv")
_MOST_SUGGESTED = 100
_MAPS = ("map", "compare")  # kinds of jobs that make one


class Desk:
    """A project that pages work on; threads may share it."""

    def __init__(self, plan: ProjectPlan, log: EditLog, pictures: ScenePictures) -> None:
        """Lay everything out.

        Args:
            plan: Of the project.
            log: Its edits.
            pictures: Of its scene.
        """
        self.plan, self.log, self.pictures, self.events = plan, log, pictures, Events()
        self.jobs = Jobs(plan.folder / "jobs", self.events.send)
        self.model = describe_model(plan)
        self.background = place_background(plan.background, pictures.info.grid) if plan.background else None
        self._seen = plan.folder / "live"
        self._contradicting: tuple[ProjectState | None, tuple[str, ...]] = None, ()
        self.live: LiveMap | None = None
        if plan.maps:
            self.live = LiveMap(self, plan.live_request(self._seen), plan.model, self.events.send)

    def close(self) -> None:
        """Let go of everything; jobs go on."""
        if self.live is not None:
            self.live.stop()
        self.jobs.close()
        self.log.close()

    def edit(self, step: Step, sent: str = "") -> None:
        """Do a step, and tell all pages.

        Args:
            step: Its edits.
            sent: As the log keeps it.

        Raises:
            RecipeError: if an edit does not fit.
        """
        self.log.edit(step, sent)
        self._changed()

    def undo(self, sent: str = "") -> None:
        """Take the last step back, and tell all pages."""
        self.log.undo(sent)
        self._changed()

    def redo(self, sent: str = "") -> None:
        """Do the step again that was taken back last, and tell all pages."""
        self.log.redo(sent)
        self._changed()

    def document(self) -> dict[str, Any]:
        """Return the whole project as the page shows it."""
        revision, state = self.log.snapshot()
        contradicting = self._contradictions(state)
        return {
            **{"name": self.plan.name, "revision": revision},
            "scene": self.pictures.document(),
            "background": self.background.document() if self.background else None,
            **describe_state(state, contradicting),
            **{"can_undo": self.log.can_undo, "can_redo": self.log.can_redo},
            "model": self.model,
            "live": self.live.last if self.live else None,
            "panel": self.panel(state),
            "jobs": self.jobs.documents(),
        }

    def panel(self, state: ProjectState | None = None) -> dict[str, Any]:
        """Return how well the labels of a state, the newest if None, are learned, and what is wrong with them."""
        state = state or self.log.state
        return panel(state, self._contradictions(state), self.live.known if self.live else None, self.jobs.all())

    def _contradictions(self, state: ProjectState) -> tuple[str, ...]:
        """Return the labels that contradict others; those of the last state are kept."""
        of, found = self._contradicting  # as a pair: other threads replace it
        if of is not state:
            found = contradictions(state)
            self._contradicting = state, found
        return found

    def look(self, window: Window, *, applicable: bool = False) -> None:
        """Say what of the scene is looked at.

        Args:
            window: Of the scene.
            applicable: Whether also at where the model is applicable.

        Raises:
            RecipeError: if nothing of the scene is.
        """
        height, width = self.pictures.size
        inside = intersection(window, Window(0, 0, height, width))
        if inside is None:
            raise RecipeError(f"expected a window of a scene of {height} rows and {width} columns; received {window}")
        if self.live is not None:
            self.live.look(inside, applicable=applicable)

    def suggest(self, most: int) -> list[dict[str, Any]]:
        """Return places of what is looked at where a label would tell the most.

        Raises:
            RecipeError: if there is no map yet.
        """
        mapped = self.live.mapped if self.live else None
        if mapped is None:
            raise RecipeError("label two classes first: places are suggested where the map of what you see is unsure")
        known, frames = mapped.known, mapped.frames
        points = frames.to_model([own.coordinates for own in self.log.state.labels.values() if own.kind == "point"])
        most = max(1, min(most, _MOST_SUGGESTED))
        found = suggest_places(mapped.part, known.labels.table.names, known.class_ids(), points, most)
        places = frames.to_page([(own["column"], own["row"]) for own in found]).tolist()
        return [own | {"column": column, "row": row} for own, (column, row) in zip(found, places, strict=True)]

    def write_files(self, state: ProjectState, folder: Path | None = None) -> None:
        """Write labels and classes as the commands read them.

        Args:
            state: Of the project.
            folder: To write to; that of the map that follows the labels if None.
        """
        labels, folder = LABELS if folder else LIVE_LABELS, folder or self._seen
        folder.mkdir(parents=True, exist_ok=True)
        write_labels(folder / labels, state, self.grid)
        write_classes(folder / CLASSES, state)

    @property
    def grid(self) -> Grid:
        """Whose pixels the labels count."""
        return self.pictures.info.grid

    def snapshot(self) -> tuple[int, ProjectState]:
        """Return revision and state."""
        return self.log.snapshot()

    def command(self, kind: str, options: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
        """Return the arguments of `fewshot` that do a job in a folder; nothing is written.

        Args:
            kind: Of the job.
            options: Of the page.
            folder: That holds labels and classes, and will hold what is made.

        Raises:
            RecipeError: if there is no such kind, or nothing to do it with.
        """
        if kind in _MAPS:
            if not self.plan.maps:
                raise RecipeError("a map needs a model or a plain method: start the page with --model or --method")
            asked = {**options, "compare": True} if kind == "compare" else options
            return self.plan.map_command(folder, asked)
        if kind not in RESULTS:
            raise RecipeError(f"expected one of {', '.join(RESULTS)}; received {kind[:40]!r}")
        made = self.jobs.latest(*_MAPS)
        if made is None:
            raise RecipeError("places are drawn of a finished map, and it is assessed: map all first")
        if kind == "sample":
            return sample_command(Path(made.result), folder, options)
        # Places that were drawn of an older map know that one's classes.
        drawn = self.jobs.latest("sample")
        mapped = Path(drawn.where, drawn.arguments[1]) if drawn is not None else Path(made.result)
        return assess_command(mapped, folder, self._places(options))

    def commands(self, options: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Return the command lines that do what the page's jobs do, with the labels as they are, in a folder aside.

        They go to the folder first that this program runs in, since paths are as they were given to it.

        Args:
            options: Of the page, by the kind of job.
        """
        lines, folder, here = {}, self.plan.folder / "command", shlex.quote(str(Path.cwd()))
        self.write_files(self.log.state, folder)
        for kind in RESULTS:
            try:
                line = shlex.join(("fewshot", *self.command(kind, options.get(kind, {}), folder)))
                lines[kind] = f"cd {here} && {line}"
            except RecipeError as error:
                lines[kind] = f"# {error}"
        return lines

    def start_job(self, kind: str, options: Mapping[str, Any]) -> Job:
        """Start a job.

        Args:
            kind: Of the job.
            options: Of the page.

        Raises:
            RecipeError: if it cannot be done.
        """
        self.command(kind, options, self.plan.folder)  # refuses before a folder is taken
        folder = self.jobs.reserve(kind)
        if kind in _MAPS:
            self.write_files(self.log.state, folder)
        return self.jobs.start(folder, self.command(kind, options, folder), folder / RESULTS[kind])

    def bring_in(self, name: str, content: bytes, sent: str = "", field: str = "") -> None:
        """Add the labels of a file, as one step.

        Args:
            name: Of the file; its ending says what it is.
            content: Of the file.
            sent: As the log keeps it.
            field: Of the file, that holds the class; a usual one if "".

        Raises:
            FewshotError: if it cannot be read.
        """
        path = self.keep_upload(name, content)
        try:
            self.edit(read_new_labels(path, self.log.state, self.grid, field), sent)
        except FewshotError as error:  # in the words of who sent it
            shown = Path(name).name
            said = str(error).replace(str(path), shown).replace(path.name, shown)
            raise type(error)(said.replace("--label-field", "Field of the class")) from error
        finally:
            path.unlink(missing_ok=True)

    def keep_upload(self, name: str, content: bytes) -> Path:
        """Keep a file that a page sends, under a name of our own with its ending.

        Raises:
            RecipeError: if its ending is none of `EXPORTS`.
            DamagedDataError: if its content is of another kind, which GDAL would open all the same.
        """
        path = self.plan.folder / "uploads" / f"{uuid.uuid4().hex}{sent_ending(name, content)}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def take_along(self, name: str) -> bytes:
        """Return the labels as a file.

        Args:
            name: One of `EXPORTS`.
        """
        state, grid = self.log.state, self.grid
        if name.endswith(".csv"):
            return table_of_labels(state, grid).encode()
        path = self.plan.folder / "uploads" / f"{uuid.uuid4().hex}{Path(name).suffix}"
        try:
            write_labels(path, state, grid)
            return path.read_bytes()
        finally:
            path.unlink(missing_ok=True)

    def begin(self) -> None:
        """Give a project without any edit the classes and labels that it was started with, and start the live map."""
        if not self.log.revision:
            table = read_class_table(self.plan.classes) if self.plan.classes else None
            step = new_classes(table.classes if table else self._model_classes())
            if self.plan.labels is not None:
                state = apply_steps(self.log.state, [step] if step else [])
                step += read_new_labels(self.plan.labels, state, self.grid)
            if step:
                self.log.edit(step)
        if self.live is not None:
            self.live.start()

    def _model_classes(self) -> tuple[LandClass, ...]:
        """Return the classes that a model has of its own; none where it takes those of the labels."""
        if self.plan.model not in model_names() and not Path(self.plan.model or "?").is_dir():
            return ()
        card = read_card(newest_version(find_model(self.plan.model)))
        return tuple(LandClass(entry.name, ()) for entry in card.classes) if card.label_space == "global" else ()

    def _places(self, options: Mapping[str, Any]) -> Path:
        """Return the places to assess with: a file that a page has sent."""
        name = str(options.get("places", ""))
        files = {path.name: path for path in (self.plan.folder / "uploads").glob("*")}
        if name not in files:
            raise RecipeError("choose the file of the sampled places first, with the class that was seen at each")
        return files[name]

    def _changed(self) -> None:
        revision = self.log.revision
        self.events.send({"type": "state", "revision": revision})
        if self.live is not None:
            self.live.changed(revision)


@contextmanager
def open_desk(plan: ProjectPlan) -> Iterator[Desk]:
    """Open a project, or begin one.

    Raises:
        ArtifactError: if another process has it open, or it is of another scene.
        FewshotError: if the scene cannot be read, or what it was to begin with.
    """
    (plan.folder / "jobs").mkdir(parents=True, exist_ok=True)
    with (plan.folder / "lock").open("w") as lock, ExitStack() as opened:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtifactError(
                f"{plan.folder} is open in another `fewshot label`; use that page, or name another --project"
            ) from error
        numbers = open_numbers(open_pictures(plan.scenes, plan.pictures), plan.pictures.composite, sensor=plan.sensor)
        pictures = ScenePictures(*numbers, names=plan.band_names, sensor=plan.sensor)
        opened.enter_context(closing(pictures))
        log = EditLog(plan.folder / "project.sqlite")
        grid = pictures.info.grid
        own = f"{grid.height} x {grid.width} pixels at {tuple(grid.transform)[:6]}"
        if (known := log.about("grid", own)) != own:
            raise ArtifactError(
                f"{plan.folder} has labels of another scene: {known}; received one of {own}. Name another --project"
            )
        desk = Desk(plan, log, pictures)
        try:
            desk.begin()
            yield desk
        finally:
            desk.close()
