"""Which labels are held out together: blocks of the scene, dealt into folds, because neighbours look alike."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fewshot.errors import RasterError
from fewshot.geo.points import BoolArray, Examples
from fewshot.geo.windows import IntArray

_FOLDS = 5
_BLOCKS = 20
"""As many blocks with labels are wanted at least, so that intervals over them mean something."""
_SIDES = (8, 4, 2, 1)  # of a block, in pictures of the model


@dataclass(frozen=True, eq=False)
class Folds:
    """Labels dealt into folds.

    Attributes:
        side: Rows and columns of a block, in pixels.
        block: [n] number of each label's block, 0, 1, ...
        fold: [n] number of its fold.
        tested: [n] whether its class has labels in other folds too, so that it can be told when it is held out.
    """

    side: int
    block: IntArray
    fold: IntArray
    tested: BoolArray

    @property
    def count(self) -> int:
        """The number of folds."""
        return int(self.fold.max()) + 1


def deal(examples: Examples, picture: int, *, seed: int) -> Folds:
    """Deal labels into up to five folds of whole blocks, each class into as many as it can be.

    Blocks are as large as the labels allow: up to eight pictures wide, and smaller where fewer than twenty would hold
    labels, or a class would lie in a single one that lies in several smaller ones.

    Args:
        examples: The labels.
        picture: Pixels of the side of what the model reads.
        seed: Decides which blocks are dealt together.

    Raises:
        RasterError: if all lie in one block, or no class lies in two.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import, and only comparisons need it

    side, block = _choose_blocks(examples, picture)
    most = int(_blocks_a_class(examples, block).max())
    if most < 2:
        raise RasterError(
            f"the {len(examples)} labels of each class lie in one square of {side} pixels, so none can be held out to "
            "test on. Label more places apart from each other, or leave --compare and --method auto out."
        )
    folds = StratifiedGroupKFold(min(_FOLDS, most), shuffle=True, random_state=seed)
    fold = np.zeros(len(examples), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # it is in as many folds as it can be
        for number, (_, held) in enumerate(folds.split(block, examples.labels, block)):
            fold[held] = number
    _, fold = np.unique(fold, return_inverse=True)  # a fold may have got no block
    pairs = np.unique(np.stack([examples.labels, fold]), axis=1)
    tested = np.bincount(pairs[0])[examples.labels] > 1
    return Folds(side, block, np.asarray(fold, np.int64), tested)


def _choose_blocks(examples: Examples, picture: int) -> tuple[int, IntArray]:
    """Return the side of the blocks, and the block [n] of each label."""
    finest = _numbered(examples, picture)
    split = _blocks_a_class(examples, finest) > 1
    for side in (picture * times for times in _SIDES):
        block = _numbered(examples, side)
        if block.max() + 1 >= _BLOCKS and np.all(_blocks_a_class(examples, block)[split] > 1):
            return side, block
    return picture, finest


def _numbered(examples: Examples, side: int) -> IntArray:
    squares = np.stack([examples.rows, examples.columns], axis=1) // side
    _, block = np.unique(squares, axis=0, return_inverse=True)
    return np.asarray(block.ravel(), np.int64)


def _blocks_a_class(examples: Examples, block: IntArray) -> npt.NDArray[np.int64]:
    """Return in how many blocks each class lies."""
    pairs = np.unique(np.stack([examples.labels, block]), axis=1)
    return np.bincount(pairs[0], minlength=int(examples.labels.max()) + 1)
