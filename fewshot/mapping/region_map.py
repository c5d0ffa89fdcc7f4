"""The mapping job, top to bottom: a scene and a few labels in, a land-cover map out."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot.errors import ArtifactError, FewshotError, RasterError, RecipeError
from fewshot.geo.labels import LabelSummary, require_georeference
from fewshot.geo.landcover import ClassTable, read_class_table
from fewshot.mapping.accuracy import Accuracy, assess
from fewshot.mapping.blocks import Block, Job, Parts, assemble
from fewshot.mapping.classes import find_classes, number_classes, with_classes, with_colours
from fewshot.mapping.examples import Examples, LabelPlan, Split, Support, find_examples, read_support, split_apart
from fewshot.mapping.layout import Layout, WindowPlan, plan_windows
from fewshot.mapping.model import AdaptedModel, Card, Predictor
from fewshot.mapping.outputs import (
    Outputs,
    Summary,
    publish,
    raster_styles,
    require_data,
    start_summary,
    summarise,
    write_names,
    write_rasters,
    write_style,
)
from fewshot.mapping.picture import draw_map, pixel_sides
from fewshot.mapping.pipeline import Engine
from fewshot.mapping.scene import Scene, open_scene
from fewshot.mapping.validation import Validation, open_validation
from fewshot.mapping.work import WorkFolder

Progress = Callable[[int, int], None]


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


@dataclass(frozen=True, eq=False)
class MapReport:
    """What became of a map.

    Attributes:
        files: Written, the map last.
        table: Its classes.
        shares: Of the mapped pixels, by class.
        support_loss: Before the first inner step and after the last.
        accuracy: Where there were labels to validate with.
        notes: Remarks on the labels and the scene.
        seconds: It took.
    """

    files: tuple[Path, ...]
    table: ClassTable
    shares: Mapping[str, float]
    support_loss: tuple[float, float]
    accuracy: Accuracy | None
    notes: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class Learned:
    """The adapted model, and what it was adapted to.

    Attributes:
        model: Adapted.
        examples: In the support.
        split: Where examples were kept back.
        summary: What became of the labels.
        notes: Remarks.
    """

    model: AdaptedModel
    examples: Examples | None = None
    split: Split | None = None
    summary: LabelSummary | None = None
    notes: list[str] = field(default_factory=list)


def map_region(
    predictor: Predictor, engine: Engine, request: MapRequest, *, progress: Progress | None = None
) -> MapReport:
    """Adapt a model to the labels of a region, and map all of it.

    An interrupted map leaves no file under its final name; what is finished is kept beside it, in `.NAME.work`, and
    the same request with `resume` goes on there. The result is the same to the bit.

    Args:
        predictor: The model, to adapt.
        engine: Predicts, in this process or others: `pipeline.run_here` or `cluster.run_on`.
        request: What to map.
        progress: Called with the blocks that are finished and all there are.

    Raises:
        RasterError: if the scene or the labels cannot be used; the message says why.
        ArtifactError: if the model does not fit, or something cannot be written.
        RecipeError: if what was asked for does not fit together.
        FewshotError: what the model raises; finished blocks are kept.
    """
    began = time.monotonic()
    card = predictor.card()
    require_usable(card)
    scene = open_scene(request.scenes, card, bands=request.bands, scale=request.scale)
    names, work = Outputs(request.to), WorkFolder(request.to)
    work.open(resume=request.resume)
    try:
        # A few labels become a support set, and the model adapts to it.
        learned = learn(predictor, scene, request, work)
        model = learned.model
        layout = plan_windows(card, (scene.grid.height, scene.grid.width), request.windows, classes=model.classes)
        job = make_job(scene, layout, model, request)
        work.claim(describe_job(job, model))

        # Every window is predicted once; finished groups are kept on the disk.
        predict_all(job, engine, work, progress)

        # Groups are put together to rasters, and compared with the labels that were kept back.
        validation = make_validation(scene, request, learned)
        made = names.in_folder(work.path)
        summary = write_map(job, made, work, (learned, validation, card))
        require_data(summary, scene.info.path)
        accuracy, notes = judge(validation, summary, model.table)
        notes = (*learned.notes, *band_notes(scene), *notes)
        report = MapReport(
            tuple(path for path in names.all() if made.in_folder(work.path) and _is_made(path, made)),
            model.table,
            dict(zip(model.table.names, (summary.pixels / summary.pixels.sum()).tolist(), strict=True)),
            model.support_loss,
            accuracy,
            notes,
            time.monotonic() - began,
        )
        write_report(made.report, report, (request, scene, job, learned, card, summary))
        if request.save_adapted is not None:
            model.save(request.save_adapted)
        files = publish(made, names)
    except FewshotError as error:
        done = len(work.finished())
        if done and "--resume" not in str(error):
            error.args = (f"{error} {done} blocks are finished and kept; go on with --resume.",)
        raise
    work.remove()
    return MapReport(tuple(files), report.table, report.shares, report.support_loss, accuracy, notes, report.seconds)


def require_usable(card: Card) -> None:
    """Refuse a model that cannot map.

    Raises:
        ArtifactError: if its answers depend on the other queries of a call.
    """
    if card.transductive:
        raise ArtifactError(
            f"{card.title!r} is transductive: what it says of a window depends on the windows that happen to be asked "
            "with it, so its map would show seams. Train and export a model with support normalisation."
        )


def learn(predictor: Predictor, scene: Scene, request: MapRequest, work: WorkFolder) -> Learned:
    """Adapt the model to the labels, or take one that was adapted before.

    Raises:
        FewshotError: if the labels or the model cannot be used.
    """
    card = predictor.card()
    if request.labels is None:
        path = request.adapted or work.adapted
        model = AdaptedModel.load(path)
        model.require_model(card, where=str(path))
        scene.check_units()
        return Learned(model)
    learned, support = gather_support(card, scene, request, request.labels)
    if request.resume and work.adapted.exists():
        learned.model = AdaptedModel.load(work.adapted)
        learned.model.require_model(card, where=str(work.adapted))
        return learned
    adapted = predictor.adapt(support.x, support.y, steps=request.steps)
    before, after = (float(value) for value in adapted.support_loss)
    vector = np.asarray(adapted.vector, np.float32)
    model = learned.model
    learned.model = AdaptedModel(vector, model.table, model.values, (before, after), model.fingerprint)
    learned.model.save(work.adapted)
    return learned


def gather_support(card: Card, scene: Scene, request: MapRequest, plan: LabelPlan) -> tuple[Learned, Support]:
    """Read the labels, keep some back where that is asked for, and read the pictures around the others.

    Raises:
        FewshotError: if no labels are left, or they show a single class.
    """
    require_georeference(scene.info, "scene")
    own = read_class_table(request.classes) if request.classes else None
    table = find_classes(card, plan.path, field=plan.field, table=own)
    size = card.size.rows
    spacing = max(1, size // 2) if card.output == "patch" else 2 * plan.radius + 1
    found = find_examples(scene, plan, table, spacing=spacing)
    scene.check_units([(int(found.examples.rows[0]), int(found.examples.columns[0]))])
    split = None
    examples = found.examples
    if plan.holdout:
        split = split_apart(examples, plan.holdout, plan.apart or size, seed=plan.seed)
        examples = split.support
    support, examples = read_support(scene, card, examples, plan)
    notes = list(found.summary.lines())
    counts = examples.counts(len(table.names))
    if card.label_space == "task":
        # The model tells apart the classes it is shown: those without an example are not in the map.
        shown = [index for index, count in enumerate(counts) if count]
        notes += [f"no example of {name} is left; it is not in the map." for name in table.names if name not in
                  [table.names[index] for index in shown]]
        renumber = np.full(len(counts) + 1, -1, np.int32)
        renumber[shown] = np.arange(len(shown))
        support = Support(support.x, renumber[support.y])
        examples = Examples(examples.rows, examples.columns, renumber[examples.labels])
        split = split and Split(split.support, _renumbered(split.validation, renumber), split.near, split.apart)
        table = with_classes(table, shown)
    else:
        table = with_classes(table, range(len(table.names)))
    require_classes(card, table, counts, plan.path)
    if len(examples) < len(found.examples) and not split:
        notes.append(f"{len(examples)} of {len(found.examples)} labelled pixels are shown to the model, which takes "
                     f"{card.limits.examples} pictures.")
    table = with_colours(table)
    values, _ = number_classes(table)
    blank = AdaptedModel(np.zeros(0, np.float32), table, values, (np.nan, np.nan), card.adapted.fingerprint)
    return Learned(blank, examples, split, found.summary, notes), support


def _renumbered(examples: Examples, renumber: npt.NDArray[np.int32]) -> Examples:
    labels = renumber[examples.labels]
    return Examples(examples.rows, examples.columns, labels).keep(labels >= 0)


def require_classes(card: Card, table: ClassTable, counts: Sequence[int], path: Path) -> None:
    """Refuse a support set that the model cannot adapt to.

    Raises:
        RasterError: if it shows one class alone, or more than the model takes.
    """
    shown = sum(count > 0 for count in counts)
    if shown < 2:
        raise RasterError(f"{path} shows one class alone; expected labels of at least two to tell apart")
    if card.label_space == "task" and len(table.names) > card.limits.classes:
        raise RasterError(f"{path} shows {len(table.names)} classes; the model takes {card.limits.classes}")


def make_job(scene: Scene, layout: Layout, model: AdaptedModel, request: MapRequest) -> Job:
    """Put together what the prediction of a group depends on."""
    nodata = 255 if 0 in model.values else 0
    return Job(scene, layout, model.vector, model.values, nodata, request.probabilities)


def describe_job(job: Job, model: AdaptedModel) -> dict[str, Any]:
    """Return what the pixels of the map depend on, to know it again."""
    return {
        "scene": job.scene.files(),
        "bands": list(job.scene.match.numbers),
        "scales": [[band.scale, band.offset] for band in job.scene.match.bands],
        "windows": job.layout.describe(),
        "adapted": hashlib.sha256(job.vector.tobytes()).hexdigest(),
        "model": model.fingerprint,
        "classes": dict(zip(model.table.names, job.values, strict=True)),
        "nodata": job.nodata,
        "probabilities": job.all_probabilities,
    }


def predict_all(job: Job, engine: Engine, work: WorkFolder, progress: Progress | None) -> None:
    """Predict the groups that are not finished yet."""
    finished = work.finished()
    show = progress or (lambda done, total: None)
    count = len(finished)
    show(count, len(job.layout))

    def save(group: int, parts: Parts) -> None:
        nonlocal count
        work.save(group, parts)
        count += 1
        show(count, len(job.layout))

    engine(job, [group for group in range(len(job.layout)) if group not in finished], save)


def make_validation(scene: Scene, request: MapRequest, learned: Learned) -> Validation | None:
    """Return the labels to compare the map with, if there are any."""
    plan, support = request.labels, learned.examples
    if plan is None or support is None:
        return None
    table = learned.model.table
    if learned.split is not None:
        split = learned.split
        return Validation(len(table.names), support, split.apart, examples=split.validation)
    return open_validation(scene, plan, table, support, apart=plan.apart or 1)


def write_map(
    job: Job, made: Outputs, work: WorkFolder, about: tuple[Learned, Validation | None, Card]
) -> Summary:
    """Put the groups together, and write the rasters, the style and the quick-look to the work folder."""
    learned, validation, card = about
    table, grid = learned.model.table, job.scene.grid
    index = np.full(256, -1, np.int16)
    index[list(job.values)] = np.arange(len(job.values))
    summary = start_summary(grid, len(job.values), job.nodata)
    load = lru_cache(maxsize=2 * len(job.layout.columns) + 2 if len(job.layout.columns) < 16 else 8)(work.load)

    def finished() -> Iterator[Block]:
        for group in range(len(job.layout)):
            yield assemble(job, group, load)

    def look(block: Block) -> None:
        summarise(summary, block, index, grid)
        if validation is not None:
            validation.add(block, index)

    styles = raster_styles(made, table, job.values, job.nodata, map_tags(job, card))
    if not job.all_probabilities:
        del styles[made.probabilities]
    write_rasters(finished(), made, grid, styles, look)
    write_names(made.names, table, job.values)
    write_style(made.style, table, job.values)
    title = "Land cover" if not learned.summary else f"Land cover from {len(learned.examples or ())} labels"
    draw_map(made.picture, summary, grid, table, job.values, title=title)
    return summary
