"""The mapping job, top to bottom: a scene and a few labels in, a land-cover map out."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from fewshot.errors import ArtifactError, FewshotError, RasterError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.card import Card
from fewshot.exported.predictor import Predictor
from fewshot.geo.landcover import ClassTable
from fewshot.geo.points import Examples
from fewshot.geo.scene import Scene
from fewshot.mapping.applicable.measure import with_applicability
from fewshot.mapping.applicable.reach import ReachTally
from fewshot.mapping.applicable.suggest import Candidates
from fewshot.mapping.compare.calibration import DRAWN, draw_reliability
from fewshot.mapping.compare.confusion import describe_confusion
from fewshot.mapping.compare.table import Comparison
from fewshot.mapping.predict.blend import assemble
from fewshot.mapping.predict.checkpoint import Checkpoint
from fewshot.mapping.predict.finished import FinishedGroups
from fewshot.mapping.predict.groups import Engine, MapPlan
from fewshot.mapping.predict.layout import plan_windows
from fewshot.mapping.predict.parts import Block, Parts
from fewshot.mapping.product.drawing import draw_map, prepare_drawing
from fewshot.mapping.product.files import Outputs
from fewshot.mapping.product.outputs import (
    Summary,
    publish,
    raster_styles,
    write_names,
    write_rasters,
    write_style,
)
from fewshot.mapping.product.report import MapReport, describe_labels, describe_map, map_tags, scene_notes
from fewshot.mapping.product.validation import MapValidation, choose_validation
from fewshot.mapping.request import MapRequest
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.adaptation import adapt_to, read_labels, require_inductive
from fewshot.mapping.support.examples import SupportSet, UsedLabels

Progress = Callable[[int, int], None]
Say = Callable[[str], None]


def map_scene(
    predictor: Predictor,
    engine: Engine,
    request: MapRequest,
    *,
    comparison: Comparison | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> MapReport:
    """Adapt a model to the labels of a region, and map all of it.

    An interrupted map leaves no file under its final name; what is finished is kept beside it, in `.NAME.work`, and
    the same request with `resume` goes on there. The map is then the same to the bit.

    Args:
        predictor: The model, to adapt.
        engine: Predicts, in this process or others: `pipeline.run_here` or `cluster.run_on`.
        request: What to map.
        comparison: Of methods, as `choose_method` made it together with the predictor and the request.
        progress: Called with the blocks that are finished and all there are.
        say: Called with a line on which band went where, before anything is mapped.

    Raises:
        RasterError: if the scene or the labels cannot be used; the message says why.
        ArtifactError: if the model does not fit, or something cannot be written.
        RecipeError: if what was asked for does not fit together.
        FewshotError: what the model raises; finished blocks are kept.
    """
    began = time.monotonic()
    card = predictor.card()
    require_inductive(card)
    scene = open_scene(request.scenes, card, request.reading)
    if say is not None:
        say("\n".join(scene.lines()))
    # What is wrong with labels is said before anything of a half-finished map is touched.
    read = read_labels(scene, card, request.labels, request.classes) if request.labels is not None else None
    names, checkpoint = Outputs(request.to), Checkpoint(request.to)
    checkpoint.open(resume=request.resume)
    try:
        # The labels become a support set, and the model adapts to it.
        if comparison is not None:
            checkpoint.keep_comparison(comparison.json())
        model, used = _adapt(predictor, scene, request, checkpoint, read)
        if comparison is not None:
            model = _as_compared(model, comparison)
        size = (scene.grid.height, scene.grid.width)
        layout = plan_windows(card, size, request.windows, classes=len(model.values))
        shown = model if request.maps_applicability else replace(model, applicability=None)
        plan = MapPlan(scene, layout, shown, request.probabilities)
        checkpoint.claim(plan.describe())
        validation = choose_validation(plan, used, request.check)
        watching = _Watching(plan, validation, request.suggest)

        # Every window is predicted once; finished groups of windows are kept on the disk. Behind, another thread puts
        # them together to rasters, and compares these with labels that the model was not shown.
        made, finished = Outputs(checkpoint.path / request.to.name), FinishedGroups(checkpoint.finished())
        title = request.title or f"Land cover{f' from {len(used.examples)} labelled places' if used else ''}"

        def write() -> Summary:
            blocks = (assemble(plan, group, checkpoint.load) for group in finished.in_order(len(plan.layout)))
            return _write_map(watching, card, blocks, made, title)

        with finished.followed_by(write) as writing:
            _predict_all(plan, engine, checkpoint, finished, progress)
        summary = writing.result()
        reach = watching.tally.reach() if watching.tally else None
        suggested = watching.suggest(made.suggested, used)
        accuracy, notes = validation.assess(summary.areas, model.table.names) if validation else (None, ())
        notes = (*(used.notes if used else ()), *scene_notes(scene, card, request.reading), *notes)

        # The report, then all files get their names, the map last.
        seconds = time.monotonic() - began
        labels = describe_labels(used, model.table.names) if used else {"adapted_before": str(request.adapted)}
        said = describe_map(plan, card, labels, summary)
        said |= {"method": request.method or "adapted", "compare": asdict(comparison) if comparison else None}
        said |= {"steps": {"asked": request.steps, "taken": model.adapted.steps}}
        confusion, before = model.adapted.confusion, used is None
        told = None if confusion is None else describe_confusion(confusion, model.table.names, before=before)
        said |= {"held_out": told}
        caveat = validation.caveat if validation else ""
        measured = {"intervals": caveat, **accuracy.plain()} if accuracy else None
        said |= {"accuracy": measured, "notes": list(notes), "seconds": round(seconds, 2)}
        said |= {"applicability": reach.plain() if reach else None, "suggested": suggested}
        if comparison is not None and comparison.labels >= DRAWN:
            draw_reliability(made.reliability, comparison.calibration)
        made.report.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if request.save_adapted is not None:
            model.save(request.save_adapted)
        files = publish(made, names)
    except FewshotError as error:
        checkpoint.explain(error)
        raise
    except OSError as error:
        raise checkpoint.cannot_write(error) from error
    checkpoint.remove()
    shares = dict(zip(model.table.names, (summary.areas / summary.areas.sum()).tolist(), strict=True))
    loss, steps = model.adapted.support_loss, model.adapted.steps
    found = tuple(files), model.table, shares, loss, accuracy, notes, seconds
    return MapReport(*found, comparison, steps, reach, suggested, caveat, confusion, before)


def _adapt(
    predictor: Predictor,
    scene: Scene,
    request: MapRequest,
    checkpoint: Checkpoint,
    read: tuple[SupportSet, ClassTable, UsedLabels] | None,
) -> tuple[AdaptedModel, UsedLabels | None]:
    """Adapt the model to the labels as they were read, or take one that was adapted before.

    The checkpoint keeps the adapted model, so that a resumed map goes on with the very same.
    """
    card = predictor.card()
    if read is None:
        model = AdaptedModel.load(request.adapted or Path(), card)
        scene.check_units()
        return _require_reach(model, request, request.adapted or Path()), None
    support, table, used = read
    if request.resume and checkpoint.adapted.exists():
        return _require_reach(AdaptedModel.load(checkpoint.adapted, card), request, checkpoint.adapted), used
    model = adapt_to(predictor, support, table, steps=request.steps)
    if request.maps_applicability:
        dated = scene.of_dates(used.places)  # as the support was read
        model = with_applicability(model, predictor, dated, used.examples, used.plan, steps=request.steps)
    model.save(checkpoint.adapted)
    return model, used


def _as_compared(model: AdaptedModel, comparison: Comparison) -> AdaptedModel:
    """Return an adapted model that knows what a comparison says of it, in place of what it may know itself."""
    adapted = model.adapted
    if comparison.confusion:
        adapted = replace(adapted, confusion=np.array(comparison.confusion, np.int32))
    return replace(model, adapted=adapted, temperature=comparison.calibration.temperature)


def _require_reach(model: AdaptedModel, request: MapRequest, where: Path) -> AdaptedModel:
    """Refuse a model that does not know where it is applicable, where that is to be mapped."""
    if request.maps_applicability and model.applicability is None:
        raise ArtifactError(
            f"{where} was adapted without --applicable, so it does not know where it is. Adapt it anew: "
            "--labels, --applicable and --save-adapted."
        )
    return model


class _Watching:
    """What looks at the blocks of a map as they are written.

    Attributes:
        plan: Of the map.
        summary: Of the map.
        tally: Of where the map holds, if that is mapped.
        candidates: Places to label next, if any are wanted.
    """

    def __init__(self, plan: MapPlan, validation: MapValidation | None, suggest: int) -> None:
        """Begin with a map of which nothing is written."""
        self.plan, self.summary, self._validation = plan, Summary(plan), validation
        self.tally, self.candidates = None, None
        if plan.applicability is not None:
            self.tally = ReachTally(plan, plan.applicability, (*self.summary.picture.shape, self.summary.step))
            self.candidates = Candidates(plan, suggest, plan.applicability.threshold) if suggest else None

    def seen(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Look at blocks, and hand them on."""
        for block in blocks:
            self.summary.add(block)
            if self._validation is not None:
                self._validation.add(block, self.plan.index)
            for watcher in (self.tally, self.candidates):
                if watcher is not None:
                    watcher.add(block)
            yield block

    def suggest(self, path: Path, used: UsedLabels | None) -> int:
        """Write places to label next, and return how many."""
        if self.candidates is None:
            return 0
        places = self.candidates.choose(used.examples if used else Examples.none())
        self.candidates.write(path, places)
        return len(places)


def _predict_all(
    plan: MapPlan, engine: Engine, checkpoint: Checkpoint, finished: FinishedGroups, progress: Progress | None
) -> None:
    """Predict the groups that are not finished yet; each is kept, and said to be finished."""
    show = progress or (lambda done, total: None)
    show(len(finished), len(plan.layout))

    def save(group: int, parts: Parts) -> None:
        checkpoint.save(group, parts)
        finished.add(group)
        show(len(finished), len(plan.layout))

    engine(plan, [group for group in range(len(plan.layout)) if group not in finished], save)


def _write_map(watching: _Watching, card: Card, blocks: Iterator[Block], made: Outputs, title: str) -> Summary:
    """Write rasters, names, style and picture, and look at the blocks meanwhile."""
    prepare_drawing()
    plan, summary = watching.plan, watching.summary

    def draw() -> None:
        if not summary.pixels.sum():
            raise RasterError(f"{plan.scene.info.path} has no pixel with data, so there is nothing to map")
        draw_map(made.picture, summary, plan, title, outside=watching.tally.picture if watching.tally else None)

    styles = raster_styles(made, plan, map_tags(plan, card))
    write_rasters(watching.seen(blocks), made, plan, styles, draw)
    write_names(made.names, plan.model.classes)
    write_style(made.style, plan.model.classes)
    return summary
