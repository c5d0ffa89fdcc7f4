"""Learning to learn: the inner loop, its rates, and the Keras model that adapts in its call."""

from fewshot.meta.adapt import adapt
from fewshot.meta.descent import Adapted, InnerLoop, Support, support_loss
from fewshot.meta.learner import MetaLearner
from fewshot.meta.outer import Outer
from fewshot.meta.rates import InnerRates
from fewshot.meta.rules import make_rule
from fewshot.meta.spread import Spread
from fewshot.meta.views import Views

__all__ = [
    "Adapted",
    "InnerLoop",
    "InnerRates",
    "MetaLearner",
    "Outer",
    "Spread",
    "Support",
    "Views",
    "adapt",
    "make_rule",
    "support_loss",
]
