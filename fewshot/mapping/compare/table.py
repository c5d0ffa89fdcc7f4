"""What a comparison found: figures with intervals, paired differences to the best method, and which one maps.

Whole blocks are resampled, the same ones for every method (Efron's bootstrap): labels of one block are alike, and two
methods err on the same labels, so that their difference is known better than either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from fewshot.geo.landcover import Labels
from fewshot.mapping.compare.calibration import Calibration
from fewshot.mapping.compare.folds import Folds
from fewshot.mapping.methods import AUTO, METHODS, Entry

_DRAWS = 2000
_SEED = 0

Figures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranged:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def percent(self) -> str:
        """Write it in percent."""
        return f"{100 * self.value:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True)
class MethodFigures:
    """One method.

    Attributes:
        name: As `--method` takes it.
        title: What it is.
        accuracy: Share of the tested labels that is right.
        macro_f1: Mean F1 of the tested classes.
        behind: Macro F1 of the best method minus that of this one, label by label paired.
        model: Name of the model that it asks, where there are several.
    """

    name: str
    title: str
    accuracy: Ranged
    macro_f1: Ranged
    behind: Ranged
    model: str = ""

    @property
    def entry(self) -> Entry:
        """What can map."""
        return Entry(self.name, self.model)


@dataclass(frozen=True)
class Comparison:
    """Methods compared by spatial cross-validation on the region's own labels.

    Attributes:
        methods: From the greatest macro F1 to the least.
        chosen: The method that maps.
        reason: Why, in a sentence.
        labels: Tested.
        folds: That they were dealt into.
        blocks: That are held out together and resampled.
        block_pixels: Side of a block.
        notes: Which methods could not be compared, and why.
        calibration: Of the method that maps.
        seconds: It took.
        model: Name of the model that maps, where there are several.
        confusion: Of the method that maps: [classes][classes] how often labels of a class were taken for each.
    """

    methods: tuple[MethodFigures, ...]
    chosen: str
    reason: str
    labels: int
    folds: int
    blocks: int
    block_pixels: int
    notes: tuple[str, ...]
    calibration: Calibration
    seconds: float = field(default=0.0, compare=False)
    model: str = ""
    confusion: tuple[tuple[int, ...], ...] = ()

    def json(self) -> str:
        """Return it as JSON, as an interrupted map keeps it."""
        return json.dumps(asdict(self), indent=1)

    def lines(self) -> tuple[str, ...]:
        """Say what was found in words."""
        return (*self.notes, self.reason, self.calibration.sentence())

    def table(self) -> tuple[str, tuple[Sequence[str], Sequence[Sequence[str]]]]:
        """Return title and cells of a table."""
        squares = f"{self.folds} folds, {self.blocks} squares of {self.block_pixels} pixels"
        title = f"{self.labels} labels held out in turn ({squares}), in percent"
        rows = [
            (str(one.entry), one.accuracy.percent(), one.macro_f1.percent(), one.behind.percent() if number else "")
            for number, one in enumerate(self.methods)
        ]
        return title, (("method", "accuracy", "macro F1", "behind the best"), rows)


def measure(
    answers: Mapping[Entry, npt.NDArray[np.float32]], labels: Labels, folds: Folds, titles: Mapping[Entry, str]
) -> tuple[MethodFigures, ...]:
    """Measure methods on the labels that are tested, and rank them.

    Args:
        answers: Probabilities [n, classes] of each method, by what was not shown the label.
        labels: [n] class.
        folds: Which labels are tested, and their blocks.
        titles: What the methods are.
    """
    block, truth = folds.block[folds.tested], labels[folds.tested]
    _, block = np.unique(block, return_inverse=True)
    count = int(block.max()) + 1
    # The first row counts every block once; the others are draws of as many blocks.
    draws = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), _DRAWS)
    weights = np.concatenate([np.ones((1, count)), draws])
    scores = {
        entry: _scores(weights, block, truth, found[folds.tested].argmax(axis=1), found.shape[1])
        for entry, found in answers.items()
    }
    order = sorted(scores, key=lambda entry: (-scores[entry][1][0], METHODS.index(entry.method)))
    best = scores[order[0]][1]

    def figures(entry: Entry) -> MethodFigures:
        accuracy, f1 = scores[entry]
        ranged = _ranged(accuracy), _ranged(f1), _ranged(best - f1)
        return MethodFigures(entry.method, titles[entry], *ranged, entry.model)

    return tuple(map(figures, order))


def _scores(
    weights: Figures, block: npt.NDArray[np.int64], truth: Labels, said: npt.NDArray[np.int64], classes: int
) -> tuple[Figures, Figures]:
    """Return accuracy and macro F1 of each row of weights [draws, blocks]."""

    def counted(labels: npt.NDArray[np.integer], where: npt.NDArray[np.bool_]) -> Figures:
        pairs = (block * classes + labels)[where]
        return weights @ np.bincount(pairs, minlength=weights.shape[1] * classes).reshape(-1, classes)

    every = np.ones(len(truth), np.bool_)
    right, there, given = counted(truth, truth == said), counted(truth, every), counted(said, every)
    f1 = 2 * right / np.maximum(there + given, 1)
    known = there > 0
    return right.sum(axis=1) / there.sum(axis=1), np.sum(f1 * known, axis=1) / known.sum(axis=1)


def _ranged(values: Figures) -> Ranged:
    """Return the first value, with the middle 95 % of the others."""
    low, high = np.quantile(values[1:], (0.025, 0.975)).tolist()
    return Ranged(float(values[0]), low, high)


def choose(methods: Sequence[MethodFigures], asked: Entry) -> tuple[Entry, str]:
    """Return what maps, and why.

    Args:
        methods: Ranked.
        asked: What was asked for; or with the method `AUTO` the simplest one whose distance to the best is within its
            interval.
    """
    best = methods[0]
    if asked.method != AUTO:
        own = next(one for one in methods if one.entry == asked)
        if own.behind.value <= 0:
            return asked, f"{asked} maps; none was better in the comparison."
        sure = "more than chance" if own.behind.low > 0 else "within the interval"
        return asked, (
            f"{asked} maps; {best.entry} was better by {own.behind.percent()} points of macro F1, which is {sure}. "
            f"--method {AUTO} maps with the best."
        )
    equal = sorted((one for one in methods if one.behind.low <= 0), key=lambda one: METHODS.index(one.name))
    chosen = equal[0]
    if chosen is best:
        tied = ", ".join(str(one.entry) for one in equal[1:])
        more = f" (the difference to {tied} is within the interval, and it is simpler)" if tied else ""
        return best.entry, f"{best.entry} maps: the best in the comparison{more}."
    return chosen.entry, (
        f"{chosen.entry} maps: {best.entry} was better by {chosen.behind.percent()} points of macro F1, which is "
        "within the interval, and it is simpler."
    )
