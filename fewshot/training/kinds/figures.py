"""What is measured of tasks, and the report of it: each figure with its 95 % interval over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Plain = dict[str, Any]
"""What JSON can hold."""


@dataclass(frozen=True)
class Interval:
    """A mean over tasks, and half the width of its 95 % interval."""

    mean: float
    ci95: float


def mean_and_interval(values: Array) -> Interval:
    """Return the mean and half the width of its 95 % interval, normal approximation over tasks."""
    half = 1.96 * float(np.std(values, ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return Interval(float(np.mean(values)), half)


@dataclass(frozen=True)
class Column:
    """How a figure is written.

    Attributes:
        title: Its name with its unit.
        key: Of the figure.
        percent: Whether it is a share, written as a percentage.
    """

    title: str
    key: str
    percent: bool = True

    def write(self, value: Interval) -> str:
        """Write a figure with its interval."""
        if self.percent:
            return f"{100 * value.mean:.1f} ± {100 * value.ci95:.1f}"
        return f"{value.mean:.3f} ± {value.ci95:.3f}"


ACCURACY = Column("accuracy %", "accuracy")


@dataclass(frozen=True)
class Yardstick:
    """What the tasks of a kind are measured by.

    Attributes:
        columns: The figures of a method; the first is the one that a report is about.
        score: Key of the figure that `Outcome.scores` holds.
        smaller_is_better: Of scores and main figure.
        counted: What has a class, in tables by class.
    """

    columns: tuple[Column, ...] = (ACCURACY,)
    score: str = "accuracy"
    smaller_is_better: bool = False
    counted: str = "queries"

    @property
    def main(self) -> Column:
        """The figure that a report is about."""
        return self.columns[0]

    @property
    def compared(self) -> tuple[str, ...]:
        """Keys of the figures that have a curve, and in which methods are compared task by task."""
        return tuple(dict.fromkeys((self.score, self.main.key)))


@dataclass(frozen=True)
class Outcome:
    """What one method made of the tasks.

    Attributes:
        steps: The numbers of inner steps measured.
        scores: [steps, tasks] float, the accuracy of each task, or its mean squared error.
        at: Index in `steps` of the method's own number of steps.
        predictions: For each task its predicted labels `[m]` at `at`; empty for regression and labelled pixels.
        counts: With labelled pixels: [steps, tasks, true class, predicted class], classes as in the set.
    """

    steps: tuple[int, ...]
    scores: Array
    at: int
    predictions: list[Array] = field(default_factory=list)
    counts: Array | None = None

    @property
    def per_task(self) -> Array:
        """Scores [tasks] at the method's own number of steps."""
        return self.scores[self.at]


@dataclass(frozen=True)
class Compared:
    """A baseline beside the run.

    Attributes:
        figures: Of the baseline, by key.
        steps: Inner steps it took.
        leads: By how much the run's figures are above it, task by task.
        per_task: Its score of each task.
    """

    figures: Mapping[str, Interval]
    steps: int
    leads: Mapping[str, Interval]
    per_task: list[float]

    def plain(self, score: str) -> Plain:
        """Return it as JSON holds it, but for `per_task`; `score` is the key of the scores."""
        leads = {f"ours_minus_it{'' if key == score else f'_{key}'}": lead for key, lead in self.leads.items()}
        return {key: asdict(value) for key, value in {**self.figures, **leads}.items()} | {"steps": self.steps}


@dataclass(frozen=True)
class ShotsRow:
    """The run, and its baselines where they are compared, with one number of shots."""

    figures: Mapping[str, Interval]
    baselines: Mapping[str, Compared] | None = None

    def plain(self, score: str) -> Plain:
        """Return it as JSON holds it: mean and interval of the score at the top."""
        row: Plain = asdict(self.figures[score])
        row |= {key: asdict(value) for key, value in self.figures.items() if key != score}
        if self.baselines is not None:
            row["baselines"] = {name: other.plain(score) for name, other in self.baselines.items()}
        return row


@dataclass(frozen=True)
class ClassRow:
    """How well one class is found; `iou` and `tasks` (where it is somewhere true) only of labelled pixels."""

    recall: float
    precision: float
    queries: int
    iou: Interval | None = None
    tasks: int | None = None


@dataclass(frozen=True)
class RegionFigures:
    """What tasks of regions have beside the figures of every task.

    Attributes:
        fixed_tasks: Whether the tasks are the data's own, or a frozen list.
        skipped: Remarks on the data.
        by_region: For each region the score and its number of tasks.
        classes: Names of the classes that `counts` counts.
        counts: [true class, predicted class]; None where the classes are too many to show.
        by_class: Of each class that occurs.
        points: With labelled pixels: those of each class in each support window, 0 for all.
    """

    fixed_tasks: bool
    skipped: tuple[str, ...]
    by_region: Mapping[str, tuple[Interval, int]]
    classes: tuple[str, ...] = ()
    counts: Array | None = None
    by_class: Mapping[str, ClassRow] = field(default_factory=dict)
    points: int | None = None

    def plain(self) -> Plain:
        """Return it as JSON holds it."""
        found: Plain = {"fixed_tasks": self.fixed_tasks, "skipped": list(self.skipped)}
        found["by_region"] = {name: asdict(score) | {"tasks": tasks} for name, (score, tasks) in self.by_region.items()}
        if self.counts is not None:
            found["confusion"] = {"classes": list(self.classes), "counts": self.counts.tolist()}
            rows = {name: asdict(row) for name, row in self.by_class.items()}
            found["by_class"] = {
                name: {key: value for key, value in row.items() if value is not None} for name, row in rows.items()
            }
        return found if self.points is None else found | {"target": "pixels", "points": self.points}


@dataclass(frozen=True)
class Report:
    """What `fewshot evaluate` found. `plain` gives the JSON that `--json` writes, whose keys are listed here.

    Every figure is `{"mean", "ci95"}`: the mean over tasks and half the width of its 95 % interval.

    - `recipe`, `learner`, `data`: names. `transductive`: whether a prediction used the task's other queries.
      `views`: in how many each example was seen; `draws`: from how many starts. `skipped`: remarks on the data.
    - `tasks`: how many; `ways`, `shots` (a list where classes differ): of the first. `fixed_tasks`: whether they are
      the data's own, or a frozen list. `target` ("pixels") and `points`: only where pixels are labelled; `shots` are
      then support windows, `points` labelled pixels of each class in each, 0 for all.
    - `steps`: the learner's own inner steps, at which all figures but the curve are taken.
    - `accuracy` and `error` (1 - accuracy); `mean_iou` and `kappa` of labelled pixels; of waves `loss`, the mean
      squared error, alone. `per_task`: the accuracy, or loss, of each task.
    - `curve`: `steps`, and after each the mean `accuracy` (or `loss`) with `ci95`, and `mean_iou` with `mean_iou_ci95`.
    - `by_region`: of each region the accuracy's `mean` and `ci95`, and its `tasks`.
    - `confusion`: `classes` and `counts` [true class][predicted class], unless the classes are too many to show.
      `by_class`: `recall`, `precision` and `queries` (or pixels) of each class; of labelled pixels also `iou`, over
      the `tasks` where it occurs.
    - `baselines`: of each its figures, `steps`, `per_task`, and `ours_minus_it` (`ours_minus_it_mean_iou`): the mean
      difference of the run to it, task by task.
    - `by_shots`: for each number of shots `mean` and `ci95` of the accuracy or loss, `mean_iou` and `kappa`, and the
      `baselines` again, without `per_task`. Written where several were asked for, and always for waves.

    Of waves there is nothing that tells regions, classes, views or draws apart, and `ways` is null.
    `RUN/evaluation.json` holds the same, and under `evaluated` what was asked for: `split`, `data`, `seed` and
    `settings`.

    Attributes:
        asked: The tasks in words.
        curve: For each key of `yardstick.compared`, the figure after each of `curve_steps`.
        regions: What tasks of regions have beside; None for waves. The other attributes are the keys above.
    """

    recipe: str
    learner: str
    transductive: bool
    views: int
    draws: int
    yardstick: Yardstick
    data: str
    asked: str
    tasks: int
    ways: int | None
    shots: int | list[int]
    steps: int
    figures: Mapping[str, Interval]
    per_task: list[float]
    curve_steps: list[int]
    curve: Mapping[str, Sequence[Interval]]
    regions: RegionFigures | None = None
    baselines: Mapping[str, Compared] = field(default_factory=dict)
    by_shots: Mapping[str, ShotsRow] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        return f"{self.learner} ({self.recipe}), {self.data}: {self.tasks} {self.asked}"

    def plain(self) -> Plain:
        """Return the report as JSON holds it."""
        score = self.yardstick.score
        found: Plain = {"recipe": self.recipe, "learner": self.learner, "data": self.data}
        found |= {"tasks": self.tasks, "ways": self.ways, "shots": self.shots, "steps": self.steps}
        found |= {key: asdict(figure) for key, figure in self.figures.items()}
        if "accuracy" in self.figures:
            accuracy = self.figures["accuracy"]
            found["error"] = asdict(Interval(1 - accuracy.mean, accuracy.ci95))
        found |= {"per_task": self.per_task, "curve": self._plain_curve(), "transductive": self.transductive}
        if self.regions is not None:
            found |= {"views": self.views, "draws": self.draws, **self.regions.plain()}
        found["baselines"] = {
            name: other.plain(score) | {"per_task": other.per_task} for name, other in self.baselines.items()
        }
        if self.by_shots:
            found["by_shots"] = {number: row.plain(score) for number, row in self.by_shots.items()}
        return found

    def _plain_curve(self) -> Plain:
        curve: Plain = {"steps": self.curve_steps}
        for key, points in self.curve.items():
            curve[key] = [point.mean for point in points]
            curve["ci95" if key == self.yardstick.score else f"{key}_ci95"] = [point.ci95 for point in points]
        return curve
