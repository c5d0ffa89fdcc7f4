"""What a model is shown of a region: which labels are asked for, the pictures around them, what became of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot.errors import RecipeError
from fewshot.exported.card import Card, InputSize
from fewshot.geo.dated import DatedPlaces
from fewshot.geo.labels import LabelFiles, LabelSummary
from fewshot.geo.landcover import Labels
from fewshot.geo.points import Examples, Split
from fewshot.geo.scene import Scene
from fewshot.geo.windows import Window

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LabelPlan(LabelFiles):
    """Labels, and what is done with them.

    Attributes:
        radius: Segmentation models: pixels on each side of a point that it labels too, once examples are chosen.
        holdout: Share of the examples that are kept to validate with.
        validation: Labels to validate with.
        apart: Least pixels between support and validation; the side of a picture if None.
        seed: Decides which examples are kept.
        spacing: Pixels between the examples of a line or polygon; what suits the model if None.
    """

    radius: int = 1
    holdout: float = 0.0
    validation: Path | None = None
    apart: int | None = None
    seed: int = 0
    spacing: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.holdout < 1 or (self.holdout and self.validation is not None):
            raise RecipeError(
                f"--holdout is a share from 0 to less than 1, and goes without --validation; received {self.holdout}"
            )
        if self.seed < 0:
            raise RecipeError(f"--seed is 0 or more; received {self.seed}")
        if self.radius < 0 or (self.apart is not None and self.apart < 1):
            raise RecipeError(
                f"--radius is 0 or more and --apart 1 or more pixels; received {self.radius} and {self.apart}"
            )


@dataclass(frozen=True, eq=False)
class SupportSet:
    """What the model is adapted to.

    Attributes:
        x: [n, H, W, bands] float32, as sent.
        y: [n] or [n, H, W] int32, index of the class, -1 where there is no label.
        windows: Of the scene, one a picture.
        valid: [n, H, W] where they have data.
        margin: Pixels at each edge of a picture that are there to be seen and carry no label.
    """

    x: FloatArray
    y: Labels
    windows: tuple[Window, ...]
    valid: BoolArray
    margin: int = 0


@dataclass(frozen=True, eq=False)
class UsedLabels:
    """Which labels a model was adapted to, and what became of the others.

    Attributes:
        plan: What was asked for.
        examples: In the support.
        split: Where examples were kept back.
        summary: What became of the labels.
        notes: Remarks on them.
        places: Where labels have a date: a scene of several is read from the nearest there.
    """

    plan: LabelPlan
    examples: Examples
    split: Split | None
    summary: LabelSummary
    notes: tuple[str, ...]
    places: DatedPlaces | None = None


def read_support(scene: Scene, card: Card, examples: Examples, plan: LabelPlan) -> tuple[SupportSet, Examples]:
    """Read the pictures that the model is adapted to, as many as it takes.

    Args:
        scene: To read.
        card: Of the model.
        examples: Labelled pixels.
        plan: How far a point labels its neighbours too, and the seed.

    Returns:
        The pictures with their labels, and the examples in them.
    """
    examples, windows = choose_pictures(card, examples, plan)
    margin = (windows[0].height - card.size.rows) // 2
    read = [scene.read(window) for window in windows]
    valid = np.stack([valid for _, valid in read])
    support = SupportSet(np.stack([values for values, _ in read]), examples.labels, tuple(windows), valid, margin)
    return support if card.output == "patch" else label_pixels(support, examples, plan.radius), examples


def choose_pictures(card: Card, examples: Examples, plan: LabelPlan) -> tuple[Examples, list[Window]]:
    """Return as many examples as the pictures that a model takes may show, and these pictures.

    Args:
        card: Of the model.
        examples: Labelled pixels.
        plan: With the seed that draws, where there are too many.
    """
    size, most = card.size.rows, card.limits.examples
    if card.output == "pixel" and size > 1:
        margin = margin_around(card.size)
        examples, squares = _squares(examples, size, most, plan.seed)
        side = size + 2 * margin
        return examples, [Window(square.row - margin, square.column - margin, side, side) for square in squares]
    examples, half = examples.at_most(most, np.random.default_rng(plan.seed)), size // 2
    places = zip(examples.rows.tolist(), examples.columns.tolist(), strict=True)
    return examples, [Window(row - half, column - half, size, size) for row, column in places]


def margin_around(size: InputSize) -> int:
    """Return how many pixels are read around a labelled square, so that its edge is seen as a map sees it.

    0 where the model does not read pictures so large.
    """
    least = max(size.rows // 8, size.around)
    fits = (margin for margin in range(least, least + size.multiple_of) if not 2 * margin % size.multiple_of)
    margin = next(fits, 0)
    return margin if size.free and size.rows + 2 * margin <= size.largest else 0


def label_pixels(support: SupportSet, examples: Examples, radius: int) -> SupportSet:
    """Label the pixels of pictures around examples, -1 where there is no label or no data.

    Args:
        support: The pictures.
        examples: Labelled pixels.
        radius: Pixels on each side of an example that it labels too.
    """
    labels = np.stack([_around(examples, window, radius) for window in support.windows])
    inside = np.zeros(labels.shape, np.bool_)
    inner = slice(support.margin, labels.shape[1] - support.margin)
    inside[:, inner, inner] = True
    return replace(support, y=np.where(support.valid & inside, labels, -1).astype(np.int32))


def _squares(examples: Examples, size: int, most: int, seed: int) -> tuple[Examples, list[Window]]:
    """Windows that share no pixel, and the examples in them: all, unless there are too many windows."""
    square = (examples.rows // size << 32) + examples.columns // size
    numbers = np.unique(square)
    if len(numbers) > most:
        numbers = np.sort(np.random.default_rng(seed).permutation(numbers)[:most])
    windows = [Window((number >> 32) * size, (number & 0xFFFFFFFF) * size, size, size) for number in numbers.tolist()]
    return examples.keep(np.isin(square, numbers)), windows


def _around(examples: Examples, window: Window, radius: int) -> Labels:
    """Label the pixels around examples [H, W]; nearer ones count, and where two classes are as near, none does."""
    labels = np.full((window.height, window.width), -1, np.int32)
    near = examples.keep(
        examples.within(
            Window(window.row - radius, window.column - radius, window.height + 2 * radius, window.width + 2 * radius)
        )
    )
    down = np.arange(window.height)[:, np.newaxis] + window.row
    across = np.arange(window.width) + window.column
    closest = np.full(labels.shape, radius + 1)
    for row, column, label in zip(near.rows.tolist(), near.columns.tolist(), near.labels.tolist(), strict=True):
        distance = np.maximum(np.abs(down - row), np.abs(across - column))
        labels[(distance == closest) & (labels != label)] = -1
        nearer = distance < closest
        labels[nearer], closest[nearer] = label, distance[nearer]
    return labels
