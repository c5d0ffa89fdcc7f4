"""The demo's learning: what its recipes change, the data of its map, and a picture of what was learned."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from fewshot.data import prepare, write_earth
from fewshot.data.sources.prepared import PREPARED
from fewshot.meta import MetaLearner
from fewshot.progress import progress_bar
from fewshot.tasks import SineTasks, gather, sample_tasks
from fewshot.training import Images, Report, Run
from fewshot.training.kinds.figures import ACCURACY

SINE_SETTINGS = ("training.updates=3000", "training.validate_every=1500", "training.meta_rate=5e-3")

MAPPER_SETTINGS = (
    'data.bands=["B2", "B3", "B4", "B8", "B11"]',
    "data.train=8",
    "data.validation=1",
    "data.test=0",
    "tasks.shots=4",
    "tasks.points=10",
    "learner.steps=2",
    "training.updates=160",
    "training.validate_every=80",
    "training.validation_tasks=16",
)
"""What the demo changes of `synthetic-segmentation`, for a minute: five bands, and ten labelled points of each class in
each support window, which is what users have to map with."""


def write_small_earth(earth: Path) -> Path:
    """Write a small simulated Earth, ready to train on, and return its folder."""
    with progress_bar("Simulating 12 regions", "files") as show:
        write_earth(earth, regions=12, patches_per_region=4, progress=show)
    prepare(earth, earth / PREPARED.format(window=32), window=32, records=True)
    return earth


def draw_demo(sine: Path, land: Path, cover: Report, path: Path) -> Path:
    """Draw a wave before and after adaptation, one task with its predictions, and the methods side by side.

    Args:
        sine: The run on waves.
        land: The run on land cover.
        cover: What an evaluation of the latter measured.
        path: The picture to write; returned.
    """
    figure = plt.figure(figsize=(11, 7.2), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(1, 1.15))
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    wave_axes, method_axes = top.subplots(1, 2)
    draw_wave(sine, wave_axes)
    draw_methods(cover, method_axes)
    draw_task(land, bottom)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def draw_wave(run: Path, axes: Axes) -> None:
    """Draw one wave, its ten support points, and the network before and after one step."""
    learner = Run.open(run).learner()
    batch = SineTasks(10, 200).draw(np.random.default_rng(4), 1)
    order = np.argsort(batch.query_x[0, :, 0])
    x, truth = batch.query_x[0, order, 0], batch.query_y[0, order, 0]
    outputs = learner.predict_after(tuple(tf.constant(part) for part in batch[:3]), [0, 1]).numpy()[:, 0, order, 0]
    axes.plot(x, truth, color="0.6", linewidth=4, label="the wave", alpha=0.6)
    axes.plot(x, outputs[0], linestyle=":", color="C0", label="before adaptation")
    axes.plot(x, outputs[1], color="C0", label="after one step")
    axes.scatter(
        batch.support_x[0, :, 0], batch.support_y[0, :, 0], color="black", zorder=3, label="ten support points"
    )
    axes.set_title("A wave never seen", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)


def draw_methods(cover: Report, axes: Axes) -> None:
    """Draw the accuracy of the run and its baselines with their intervals."""
    rows = {"this run": cover.figures["accuracy"]}
    rows |= {name: row.figures["accuracy"] for name, row in cover.baselines.items()}
    means, half = ([100 * getattr(row, part) for row in rows.values()] for part in ("mean", "ci95"))
    axes.barh(list(rows), means, xerr=half, color=["C0"] + ["0.75"] * (len(rows) - 1), capsize=3)
    for position, row in enumerate(rows.values()):
        axes.text(
            2, position, ACCURACY.write(row), va="center", fontsize=8, color="white" if position == 0 else "black"
        )
    axes.invert_yaxis()
    axes.axvline(100 / (cover.ways or 1), color="black", linestyle=":", linewidth=1)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"accuracy %, {cover.tasks} tasks; dotted: chance")
    axes.set_title("Simulated regions never seen", loc="left")


def draw_task(run: Path, figure: SubFigure) -> None:
    """Draw one task: the labelled patches, and the queries with what the adapted network says of them."""
    opened = Run.open(run)
    region_set = opened.regions("test")
    learner = opened.learner(region_set)
    (task,) = sample_tasks(region_set, Images(opened.recipe.tasks).evaluation_spec(), 1, seed=5)
    batch = gather(region_set, [task])
    answers = predicted_labels(learner, batch[:3])
    shots = len(task.support) // len(task.classes)
    queries = len(task.query) // len(task.classes)
    brightness = 1 / np.percentile(batch.support_x[0][..., :3], 97)
    grid = figure.subplots(len(task.classes), shots + queries)
    for row, name in enumerate(task.classes):
        for column, image in enumerate(batch.support_x[0][batch.support_y[0] == row]):
            _show_patch(grid[row, column], brightness * image, "support" if row == 0 else "", "black")
        for column, (image, answer) in enumerate(
            zip(batch.query_x[0][batch.query_y[0] == row], answers[batch.query_y[0] == row], strict=True), start=shots
        ):
            right = answer == row
            _show_patch(grid[row, column], brightness * image, task.classes[answer], "green" if right else "red")
        grid[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(
        f"One task in {task.region}: support on the left, then queries with the class predicted", fontsize=10
    )


def predicted_labels(learner: MetaLearner, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the labels [m] predicted for one task's queries."""
    logits = learner.predict_after(tuple(tf.constant(part) for part in inputs), [int(learner.evaluation_steps)])
    return np.asarray(tf.argmax(logits[0, 0], axis=-1))


def _show_patch(axes: Axes, image: np.ndarray, title: str, colour: str) -> None:
    """Draw a patch [H, W, bands] 0-1 (blue, green, red and near infrared) in natural colours, with a coloured title."""
    axes.imshow(np.clip(image[..., [2, 1, 0]], 0, 1), interpolation="nearest")
    axes.set_title(title, fontsize=7, color=colour, pad=2)
    axes.set(xticks=[], yticks=[])
