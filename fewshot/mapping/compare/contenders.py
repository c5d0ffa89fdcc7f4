"""The methods that are compared, and what each says of labels that it was not shown."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fewshot.exported.predictor import AdaptedVector, Predictor, Steps
from fewshot.geo.landcover import Labels
from fewshot.geo.points import BoolArray, Examples
from fewshot.mapping.compare.folds import Folds
from fewshot.mapping.support.examples import SupportSet, label_pixels

FloatArray = npt.NDArray[np.float32]

_AT_ONCE = 64  # pictures asked for at a time where each of their pixels has an answer: what bounds the memory


@dataclass(frozen=True, eq=False)
class Contender(ABC):
    """A method, and the pictures that it reads around the labels.

    Attributes:
        predictor: Adapts and answers.
        support: Pictures of all labels.
        steps: Inner steps; the model's own number if None.
        fixed: Whether the model's classes are fixed, so that one without labels is no gap.
    """

    predictor: Predictor
    support: SupportSet
    steps: Steps = None
    fixed: bool = False

    @abstractmethod
    def label(self, examples: Examples, shown: BoolArray) -> Labels:
        """Return the labels of the pictures that only the `shown` [n] of the labels give, -1 elsewhere."""

    @abstractmethod
    def answer(self, adapted: AdaptedVector, examples: Examples, wanted: BoolArray) -> FloatArray:
        """Return probabilities [wanted, classes] at labels.

        Args:
            adapted: To answer with.
            examples: All labels.
            wanted: [n] which of them.
        """

    def held_out(self, examples: Examples, folds: Folds, classes: int) -> FloatArray:
        """Return probabilities [n, classes] of each label, by what was adapted to the other folds.

        Args:
            examples: All labels.
            folds: They are dealt into.
            classes: How many there are.

        Raises:
            FewshotError: what the model raises.
        """
        found = np.zeros((len(examples), classes), np.float32)
        for number in range(folds.count):
            held = folds.fold == number
            found[held] = self._one_fold(examples, held, classes)
        return found

    def _one_fold(self, examples: Examples, held: BoolArray, classes: int) -> FloatArray:
        """Return probabilities [held, classes] by what was adapted to all others."""
        shown = np.arange(classes) if self.fixed else np.unique(examples.labels[~held])
        found = np.zeros((int(held.sum()), classes), np.float32)
        if len(shown) < 2:
            found[:, shown] = 1
            return found
        index = np.full(classes + 1, -1, np.int32)  # the last is that of label -1
        index[shown] = np.arange(len(shown))
        y = index[self.label(examples, ~held)]
        labelled = (y >= 0).reshape(len(y), -1).any(axis=1)
        adapted = self.predictor.adapt(self.support.x[labelled], y[labelled], steps=self.steps)
        found[:, shown] = self.answer(adapted, examples, held)
        return found


class OnePictureEach(Contender):
    """Reads a picture for each label, and answers for its middle: patches, or single pixels."""

    @property
    def has_data(self) -> BoolArray:
        """Which of the labels [n] lie where their picture has data."""
        middle = self.support.valid.shape[1] // 2
        return self.support.valid[:, middle, middle]

    def label(self, examples: Examples, shown: BoolArray) -> Labels:
        """Label the pictures of the labels that are shown."""
        return np.where(shown & self.has_data, examples.labels, -1).astype(np.int32)

    def answer(self, adapted: AdaptedVector, examples: Examples, wanted: BoolArray) -> FloatArray:
        """Answer for the pictures of labels.

        Args:
            adapted: To answer with.
            examples: All labels.
            wanted: [n] which of them.
        """
        found = self.predictor.predict(adapted, self.support.x[wanted]).probabilities
        return found.reshape(len(found), -1)


@dataclass(frozen=True, eq=False)
class ManyInAPicture(Contender):
    """Reads pictures side by side, each with one label or more, and answers for every pixel.

    Attributes:
        radius: Pixels on each side of a label that it labels too; what is tested is the label's own.
    """

    radius: int = 0

    def label(self, examples: Examples, shown: BoolArray) -> Labels:
        """Label the pixels around the labels that are shown."""
        return label_pixels(self.support, examples.keep(shown), self.radius).y

    def answer(self, adapted: AdaptedVector, examples: Examples, wanted: BoolArray) -> FloatArray:
        """Answer at the pixels of labels.

        Args:
            adapted: To answer with.
            examples: All labels.
            wanted: [n] which of them.
        """
        size, margin = self._side, self.support.margin
        rows, columns = examples.rows[wanted], examples.columns[wanted]
        picture = np.array([self._pictures[corner] for corner in zip(rows // size, columns // size, strict=True)])
        found = np.zeros((len(rows), adapted.classes), np.float32)
        asked = np.unique(picture)
        for first in range(0, len(asked), _AT_ONCE):
            some = asked[first : first + _AT_ONCE]
            answers = self.predictor.predict(adapted, self.support.x[some]).probabilities
            here = np.isin(picture, some)
            at = rows[here] % size + margin, columns[here] % size + margin
            found[here] = answers[np.searchsorted(some, picture[here]), *at]
        return found

    @property
    def _side(self) -> int:
        """Pixels of the side of the squares that pictures show, without the margin around them."""
        return self.support.windows[0].height - 2 * self.support.margin

    @cached_property
    def _pictures(self) -> dict[tuple[int, int], int]:
        """Number of each picture, by its place among the squares of the scene."""
        corners = ((one.row + self.support.margin, one.column + self.support.margin) for one in self.support.windows)
        return {(row // self._side, column // self._side): number for number, (row, column) in enumerate(corners)}
