"""What a method makes of tasks: a learner as a method, after one number of inner steps or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import tensorflow as tf

from fewshot.errors import DivergedError, RecipeError
from fewshot.meta import MetaLearner
from fewshot.meta.adapt import divergence_as_error
from fewshot.tasks.task import Labels
from fewshot.training.kinds.figures import Outcome
from fewshot.training.kinds.kind import Kind
from fewshot.training.kinds.under_test import Predict, TestTasks


class Method(NamedTuple):
    """A method that predicts.

    Attributes:
        predict: From support_x, support_y, query_x to logits `[1, tasks, m, ..., classes]`.
        labels: "task" or "global": the labels it knows.
        steps: Inner steps it takes.
    """

    predict: Predict
    labels: Labels
    steps: int

    def measure(self, kind: Kind, chosen: TestTasks) -> Outcome:
        """Let the method predict the tasks, with the labels it knows."""
        return kind.measure(self.predict, replace(chosen, labels=self.labels), [self.steps], 0)


def of_learner(learner: MetaLearner, labels: Labels) -> Method:
    """Return the method that a learner is, at its own number of steps."""
    steps = int(learner.evaluation_steps)
    return Method(learner_predict(learner, [steps]), labels, steps)


def learner_predict(learner: MetaLearner, steps: Sequence[int]) -> Predict:
    """Return a compiled prediction after each of `steps`; it raises DivergedError where adaptation diverges."""
    compiled = tf.function(lambda inputs: learner.predict_after(inputs, tuple(steps)), autograph=False)

    def predict(inputs: Sequence[Any]) -> tf.Tensor:
        with divergence_as_error("Evaluate with fewer --steps, or train with clipped inner gradients."):
            return compiled(tuple(inputs))

    return predict


def measure_curve(learner: MetaLearner, kind: Kind, chosen: TestTasks, asked: Sequence[int]) -> Outcome:
    """Measure a learner after its own number of steps and after those asked for.

    Steps past its own are left out, from the last, as long as one diverges.

    Args:
        learner: To be measured.
        kind: Of the tasks.
        chosen: The tasks.
        asked: Numbers of inner steps.

    Raises:
        RecipeError: if a number is negative.
        DivergedError: if the learner diverges within its own steps.
    """
    own = int(learner.evaluation_steps)
    steps = sorted({*asked, own})
    if steps[0] < 0:
        raise RecipeError(f"--steps are numbers of inner steps, 0 or more; received {steps[0]}.")
    at = steps.index(own)
    while True:
        try:
            return kind.measure(learner_predict(learner, steps), chosen, steps, at)
        except DivergedError:
            if len(steps) == at + 1:
                raise
            steps.pop()
