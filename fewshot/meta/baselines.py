"""The plain methods that must stand beside every meta-learner, in the same interface.

Random initialisation and pre-training differ from a meta-learner only in where the body comes from: both are fitted to
the support set by the same `adapt`, from a head of zeros. A prototypical network is a `MetaLearner` with a prototype
head and no inner steps. Only the nearest neighbour needs code of its own (`fewshot.meta.nearest`).
"""

from __future__ import annotations

import keras

from fewshot.meta.descent import InnerLoop
from fewshot.meta.learner import MetaLearner
from fewshot.meta.rates import InnerRates
from fewshot.meta.views import Views
from fewshot.models.heads import FixedHead, Head, SharedHead
from fewshot.models.pretrained import Constant

FINE_TUNING_STEPS = 20
FINE_TUNING_RATES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Rates to choose from, on validation tasks."""


def fine_tuner(  # noqa: PLR0913  the parts of a learner
    body: keras.Model,
    *,
    rate: float,
    steps: int = FINE_TUNING_STEPS,
    regression_outputs: int = 0,
    head: Head | None = None,
    views: Views | None = None,
    frozen: Constant | None = None,
) -> MetaLearner:
    """Return a learner that fine-tunes `body` on the support set, all parameters at one rate.

    Args:
        body: From one example to features; fresh for random initialisation, or trained on all classes.
        rate: Of gradient descent.
        steps: Of gradient descent.
        regression_outputs: Number of targets where numbers are predicted; 0 for classes.
        head: Where the output layer starts; a common start for every class if None.
        views: Of each example, as the learner has them that this is compared with.
        frozen: What examples go through before.
    """
    if head is None:
        head = FixedHead(regression_outputs, name="head") if regression_outputs else SharedHead(name="head")
    inner = InnerLoop(steps=steps, loss="squared_error" if regression_outputs else "cross_entropy")
    return MetaLearner(body, head, InnerRates("constant", initial=rate), inner, views=views, frozen=frozen)
