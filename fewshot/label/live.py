"""The map that follows the labels: a thread that adapts to the newest ones and predicts what is looked at.

What is newest wins: a new label stops the adaptation that goes on, at the model's next call, and a new label or another
window stops the prediction. Nobody waits for this thread.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from fewshot.errors import FewshotError, RasterError
from fewshot.exported import AdaptedModel, open_predictor
from fewshot.exported.predictor import Steps
from fewshot.geo.grid import Grid
from fewshot.geo.windows import Window
from fewshot.label.frames import Frames
from fewshot.label.painting import Layer, layers_of
from fewshot.label.state import ProjectState
from fewshot.mapping import (
    MapPreview,
    MapRequest,
    PreviewLabels,
    PreviewPart,
    Stage,
    WatchedPredictor,
    choose_method,
)

_KEPT = 6  # pairs of generation and stage whose pictures are kept: a page may ask a little late
_QUIET = 1.5  # seconds without a change after which accuracy is measured

Event = dict[str, Any]


class LabelSource(Protocol):
    """The labels, and the files that the request reads them from."""

    @property
    def grid(self) -> Grid:
        """Whose pixels the labels and windows count."""

    def snapshot(self) -> tuple[int, ProjectState]:
        """Return revision and state."""

    def write_files(self, state: ProjectState) -> None:
        """Write labels and classes for the request."""


class Superseded(FewshotError):
    """Something newer is wanted."""


@dataclass(frozen=True)
class Wanted:
    """What should be shown.

    Attributes:
        revision: Of the project.
        window: Of the page.
        applicable: Whether also where the model is applicable.
    """

    revision: int
    window: Window
    applicable: bool


@dataclass(eq=False)
class LiveLabels:
    """The labels of a state, and the models that were adapted to them.

    Attributes:
        state: Of the project.
        labels: As the model reads them.
        models: Adapted, by their inner steps; those with more come later.
        accuracy: Measured on labels held out in turn; None before, or where that cannot be done.
        note: Why not.
        reaching: The model with the most steps, once it knows where it is applicable, or that this cannot be told.
        unreached: Why not.
    """

    state: ProjectState
    labels: PreviewLabels
    models: dict[Steps, AdaptedModel]
    accuracy: dict[str, Any] | None = None
    note: str = ""
    reaching: AdaptedModel | None = None
    unreached: str = ""

    def still_hold(self, state: ProjectState) -> bool:
        """Whether another state has the same labels of the same classes, whatever their colours are."""
        named = [[(own.id, own.name) for own in one.classes.values()] for one in (self.state, state)]
        return self.state.labels == state.labels and named[0] == named[1]

    @property
    def best(self) -> AdaptedModel | None:
        """The model that was adapted with the most steps so far."""
        return next(reversed(self.models.values()), None)

    def class_ids(self) -> list[str]:
        """Return the ids of the classes in the order of the model's answers."""
        ids = {own.name: own.id for own in self.state.classes.values()}
        return [ids.get(name, "") for name in self.labels.table.names]


@dataclass(frozen=True, eq=False)
class Mapped:
    """What is shown, while the next is in the making.

    Attributes:
        known: The labels.
        part: Predicted.
        frames: How its pixels lie on the page.
        note: What is to be said of it.
    """

    known: LiveLabels
    part: PreviewPart
    frames: Frames
    note: str = ""


class LiveMap:
    """Keeps a map of the window that is looked at as new as the labels."""

    def __init__(self, source: LabelSource, request: MapRequest, model: str, tell: Callable[[Event], None]) -> None:
        """Be ready to start.

        Args:
            source: The labels.
            request: Of the map that they are made for.
            model: Its name, folder or address; "" for a plain classifier.
            tell: Called with an event for the pages.
        """
        self._source, self._request, self._model, self._tell = source, request, model, tell
        self._news = threading.Condition()
        self._seen: tuple[Window, bool] | None = None
        self._revision, self._ended = source.snapshot()[0], False
        self._current: Callable[[], bool] = lambda: True
        self._generation = 0
        self._pictures: OrderedDict[tuple[int, str], Mapping[str, Layer]] = OrderedDict()
        self.last: Event | None = None
        self.known: LiveLabels | None = None
        self.mapped: Mapped | None = None
        self._thread = threading.Thread(target=self._run, name="live map", daemon=True)

    def start(self) -> None:
        """Begin; the model is loaded in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, at the model's next call."""
        with self._news:
            self._ended = True
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def changed(self, revision: int) -> None:
        """Say that the project has changed."""
        with self._news:
            self._revision = revision
            self._news.notify_all()

    def look(self, window: Window, *, applicable: bool = False) -> None:
        """Say what is looked at.

        Args:
            window: Of the page.
            applicable: Whether also at where the model is applicable.
        """
        with self._news:
            self._seen = window, applicable
            self._news.notify_all()

    def picture(self, generation: int, stage: str, layer: str) -> bytes | None:
        """Return a picture of an event's window as PNG, None where it is gone or there was none.

        Args:
            generation: Of the event.
            stage: Of the event.
            layer: One that the event names.
        """
        draw = self._pictures.get((generation, stage), {}).get(layer)
        return draw() if draw else None

    def _run(self) -> None:
        """Follow the labels until told to end; pages hear of whatever ends it before."""
        try:
            self._follow()
        except Exception as error:
            self._fail(f"the live map has ended: {error!r}. Start the page again.")
            raise

    def _follow(self) -> None:
        """Serve what is wanted, the newest alone."""
        with ExitStack() as opened:
            try:
                models = {}
                if self._model:
                    predictor = opened.enter_context(open_predictor(self._model))
                    models[""] = WatchedPredictor(predictor, self._check)
                choice = choose_method(models, self._request)
                preview = MapPreview(choice.predictor, choice.request)
                preview.warm_up()
            except FewshotError as error:
                self._fail(str(error))
                return
            served: Wanted | None = None
            while (wanted := self._next(served)) is not None:
                try:
                    if wanted == served:
                        self._validate(preview)
                    else:
                        self._paint(preview, wanted)
                        served = wanted
                except Superseded:
                    continue
                except FewshotError as error:
                    served = wanted
                    self._fail(str(error))

    def _next(self, served: Wanted | None) -> Wanted | None:
        """Return what is wanted: something new, or once that is quiet the same again, to measure; None at the end."""
        with self._news:
            while not self._ended:
                wanted = self._wanted()
                if wanted is not None and wanted != served:
                    return wanted
                unmeasured = self.known is not None and not self.known.note and self.known.accuracy is None
                if self._news.wait(_QUIET if unmeasured else None) or not unmeasured:
                    continue
                return served
        return None

    def _wanted(self) -> Wanted | None:
        return None if self._seen is None else Wanted(self._revision, *self._seen)

    def _check(self) -> None:
        """Stop what is superseded; the model asks this before each call."""
        if self._ended or not self._current():
            raise Superseded("something newer is wanted")

    def _paint(self, preview: MapPreview, wanted: Wanted) -> None:
        """Adapt where the labels are new, and show the window: coarse at once, then fine."""
        began = time.monotonic()
        self._generation += 1
        self._current = lambda: self._revision == wanted.revision
        state, frames = self._source.snapshot()[1], Frames(self._source.grid, preview.scene.grid)
        window = frames.window_of_model(wanted.window)
        if window is None:
            raise RasterError("no live map here: the bands that the model reads do not reach this place")
        if self.known is None or not self.known.still_hold(state):
            self.known = self._read(preview, state)
        stages: tuple[Stage, ...] = ("coarse", "fine")
        for stage in stages:
            self._current = lambda: self._revision == wanted.revision
            model, note = self._model_of(preview, self.known, stage), ""
            if wanted.applicable and stage == "fine":
                model = self._where_it_holds(preview, self.known, model)
                note = self.known.unreached
            self._current = lambda: self._wanted() == wanted
            self._show(Mapped(self.known, preview.part(model, window, stage), frames, note), model, stage, began)
        adapted = model.adapted
        self._tell({"type": "panel", "support_loss": adapted.support_loss, "steps": adapted.steps})

    def _model_of(self, preview: MapPreview, known: LiveLabels, stage: Stage) -> AdaptedModel:
        """Return the model of a stage: for the coarse one any that is there, so that another window costs no step."""
        steps = preview.steps(stage)
        if stage == "coarse" and known.best is not None:
            return known.best
        if steps not in known.models:
            known.models[steps] = preview.adapt(known.labels, steps)
        return known.models[steps]

    def _where_it_holds(self, preview: MapPreview, known: LiveLabels, model: AdaptedModel) -> AdaptedModel:
        """Return the model as it knows where it is applicable, where the labels tell."""
        if known.reaching is None:
            try:
                known.reaching = preview.with_space(known.labels, model)
            except RasterError as error:
                known.reaching, known.unreached = model, str(error)
        return known.reaching

    def _read(self, preview: MapPreview, state: ProjectState) -> LiveLabels:
        """Hand the labels to the mapper's own reader."""
        self.known = None
        if len({label.of for label in state.labels.values()}) < 2:
            raise Unready("label places of two classes at least, and the map appears")
        self._source.write_files(state)
        return LiveLabels(state, preview.read_labels(), {})

    def _show(self, mapped: Mapped, model: AdaptedModel, stage: Stage, began: float) -> None:
        """Keep the pictures of a part, and tell the pages."""
        self._check()
        classes, part = self._source.snapshot()[1].classes, mapped.part
        ids = mapped.known.class_ids()
        colours = [classes[name].colour if name in classes else "#888888" for name in ids]
        self.mapped = mapped
        layers = self._pictures[self._generation, stage] = layers_of(part, colours)
        while len(self._pictures) > _KEPT:
            self._pictures.popitem(last=False)
        self.last = {
            **{"type": "map", "generation": self._generation, "stage": stage},
            **{"message": mapped.note, "layers": list(layers)},
            "window": mapped.frames.box_on_page(part.window),
            **{"width": part.classes.shape[1], "height": part.classes.shape[0], "step": part.step},
            **{"classes": ids, "method": self._request.method, "inner_steps": model.adapted.steps},
            "holds": part.share_inside,
            "seconds": round(time.monotonic() - began, 3),
        }
        self._tell(self.last)

    def _validate(self, preview: MapPreview) -> None:
        """Measure accuracy on labels held out in turn, unless something newer comes."""
        known, wanted = self.known, self._wanted()
        if known is None:
            return
        self._current = lambda: self._wanted() == wanted
        try:
            found, tested = preview.cross_validate(known.labels)
        except Superseded:
            raise
        except FewshotError as error:
            known.note = str(error)
        else:
            how = f"labels held out in squares, {self._request.method}, with the steps of this view"
            known.accuracy = {**asdict(found), "labels": tested, "how": how}
        self._tell({"type": "panel", "accuracy": known.accuracy})

    def _fail(self, message: str) -> None:
        """Tell the pages why there is no map."""
        self._generation += 1
        self.mapped = None
        self.last = {"type": "map", "generation": self._generation, "stage": "failed", "message": message}
        self._tell(self.last)


class Unready(FewshotError):
    """The labels do not suffice for a map yet."""
