"""Learning to learn: the inner loop, its rates, and the Keras model that adapts in its call."""

from fewshot.meta.adapt import Adapted, InnerLoop, Support, adapt, support_loss
from fewshot.meta.learner import MetaLearner
from fewshot.meta.rates import InnerRates

__all__ = ["Adapted", "InnerLoop", "InnerRates", "MetaLearner", "Support", "adapt", "support_loss"]
