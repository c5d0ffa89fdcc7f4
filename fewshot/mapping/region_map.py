"""The mapping job, top to bottom: a scene and a few labels in, a land-cover map out."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.errors import ArtifactError, FewshotError
from fewshot.exported.adapted import AdaptedModel, Card, Predictor
from fewshot.geo.points import Examples
from fewshot.geo.scene import Scene
from fewshot.mapping.predict.arrivals import Arrivals
from fewshot.mapping.predict.blend import Block, Parts, assemble
from fewshot.mapping.predict.groups import Job
from fewshot.mapping.predict.layout import plan_windows
from fewshot.mapping.predict.pipeline import Engine
from fewshot.mapping.predict.work import WorkFolder
from fewshot.mapping.product.accuracy import Accuracy, assess
from fewshot.mapping.product.drawing import draw_map, prepare_drawing
from fewshot.mapping.product.outputs import (
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
from fewshot.mapping.product.report import MapReport, describe_map, map_tags, scene_notes
from fewshot.mapping.product.validation import Validation, open_validation
from fewshot.mapping.request import MapRequest
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.adaptation import Learned, learn

Progress = Callable[[int, int], None]


def map_region(
    predictor: Predictor, engine: Engine, request: MapRequest, *, progress: Progress | None = None
) -> MapReport:
    """Adapt a model to the labels of a region, and map all of it.

    An interrupted map leaves no file under its final name; what is finished is kept beside it, in `.NAME.work`, and
    the same request with `resume` goes on there. The map is then the same to the bit.

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
    require_inductive(card)
    scene = open_scene(request.scenes, card, bands=request.bands, scale=request.scale)
    names, work = Outputs(request.to), WorkFolder(request.to)
    work.open(resume=request.resume)
    try:
        # The labels become a support set, and the model adapts to it.
        learned = learn(predictor, scene, request, work)
        job = make_job(scene, card, learned.model, request)
        work.claim(describe_job(job, learned.model))
        validation = make_validation(scene, card, request, learned)

        made = names.in_folder(work.path)
        labels = "" if learned.examples is None else f" from {len(learned.examples)} labelled places"
        title = request.title or f"Land cover{labels}"

        # Every window is predicted once; finished groups of windows are kept on the disk. Behind, another thread puts
        # them together to rasters, and compares these with labels that the model was not shown.
        arrivals = Arrivals(work.finished())

        def assembled() -> Iterator[Block]:
            return (assemble(job, group, work.load) for group in arrivals.in_order(len(job.layout)))

        def write() -> Summary:
            return write_map(job, assembled(), made, learned, validation, map_tags(job, card), title)

        with arrivals.followed_by(write) as writing:
            predict_all(job, engine, work, arrivals, progress)
        summary = writing.result()
        accuracy, notes = judge(validation, summary, learned)
        notes = (*learned.notes, *scene_notes(scene), *notes)

        # The report, then all files get their names, the map last.
        seconds = time.monotonic() - began
        said = describe_map(request, card, job, learned, summary)
        said |= {"accuracy": accuracy.plain() if accuracy else None, "notes": list(notes), "seconds": round(seconds, 2)}
        write_json(made.report, said)
        if request.save_adapted is not None:
            learned.model.save(request.save_adapted)
        files = publish(made, names)
    except FewshotError as error:
        say_what_is_kept(error, work)
        raise
    except OSError as error:
        raise work.cannot_write(error) from error
    work.remove()
    table, total = learned.model.table, summary.pixels.sum()
    shares = dict(zip(table.names, (summary.pixels / total).tolist(), strict=True))
    return MapReport(tuple(files), table, shares, learned.model.support_loss, accuracy, notes, seconds)


def require_inductive(card: Card) -> None:
    """Refuse a model whose answers depend on the other queries of a call.

    Raises:
        ArtifactError: if this one's do.
    """
    if card.transductive:
        raise ArtifactError(
            f"{card.title!r} is transductive: what it says of a window depends on the windows that happen to be asked "
            "with it, so its map would show seams. Train and export a model with support normalisation."
        )


def make_job(scene: Scene, card: Card, model: AdaptedModel, request: MapRequest) -> Job:
    """Put together what the prediction of a group depends on."""
    size = (scene.grid.height, scene.grid.width)
    layout = plan_windows(card, size, request.windows, classes=model.classes)
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


def predict_all(job: Job, engine: Engine, work: WorkFolder, arrivals: Arrivals, progress: Progress | None) -> None:
    """Predict the groups that are not finished yet."""
    show = progress or (lambda done, total: None)
    show(len(arrivals), len(job.layout))

    def save(group: int, parts: Parts) -> None:
        work.save(group, parts)
        arrivals.add(group)
        show(len(arrivals), len(job.layout))

    engine(job, [group for group in range(len(job.layout)) if group not in arrivals], save)


def make_validation(scene: Scene, card: Card, request: MapRequest, learned: Learned) -> Validation | None:
    """Return the labels to compare the map with, if there are any."""
    table = learned.model.table
    if request.check is not None:
        return open_validation(scene, request.check, table, Examples.none(), apart=1)
    plan, support = request.labels, learned.examples
    if plan is None or support is None:
        return None
    if learned.split is not None:
        kept = learned.split
        return Validation(len(table.names), support, kept.apart, examples=kept.validation)
    shown = plan.radius + 1 if card.output == "pixel" else 1
    return open_validation(scene, plan, table, support, apart=plan.apart or shown)


def write_map(  # noqa: PLR0913  what the files of a map are made of
    job: Job,
    blocks: Iterator[Block],
    made: Outputs,
    learned: Learned,
    validation: Validation | None,
    tags: dict[str, str],
    title: str,
) -> Summary:
    """Write rasters, names, style and picture to the work folder.

    Raises:
        RasterError: if a file cannot be written, or the map has no pixel with data.
    """
    prepare_drawing()
    table, grid = learned.model.table, job.scene.grid
    index = np.full(256, -1, np.int16)
    index[list(job.values)] = np.arange(len(job.values))
    summary = start_summary(grid, len(job.values), job.nodata)

    def look(block: Block) -> None:
        summarise(summary, block, index, grid)
        if validation is not None:
            validation.add(block, index)

    def draw() -> None:
        require_data(summary, job.scene.info.path)
        draw_map(made.picture, summary, grid, table, job.values, title=title)

    styles = raster_styles(made, table, job.values, job.nodata, tags)
    if not job.all_probabilities:
        del styles[made.probabilities]
    write_rasters(blocks, made, grid, styles, look, draw)
    write_names(made.names, table, job.values)
    write_style(made.style, table, job.values)
    return summary


def judge(validation: Validation | None, summary: Summary, learned: Learned) -> tuple[Accuracy | None, tuple[str, ...]]:
    """Say how good the map is, where there are labels to compare it with."""
    if validation is None:
        return None, ()
    near = f"{validation.near} validation labels lie too near to the support and do not count."
    notes = (near,) if validation.near else ()
    if not validation.confusion.sum():
        return None, (*notes, "No validation label is left, so the accuracy is not known.")
    accuracy = assess(validation.confusion, summary.areas, learned.model.table.names)
    return accuracy, (*notes, *accuracy.notes)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a report.

    Raises:
        ArtifactError: if it cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written: {error}") from error


def say_what_is_kept(error: FewshotError, work: WorkFolder) -> None:
    """Add to an error's message how to go on where blocks are finished; where none are, nothing is kept."""
    done = len(work.finished())
    if not done:
        work.remove()
    elif "--resume" not in str(error):
        error.args = (f"{str(error).rstrip('. ')}. {done} finished blocks are kept; go on with --resume.",)
