"""Few-shot land-cover mapping: meta-train on many regions, adapt to a new one with a few labelled examples.

The rooms, in the order the data passes through them: `geo` and `data` read rasters and regions, `tasks` draws tasks
from them, `models` and `meta` learn to adapt, `training` runs the whole from a recipe. Names below are loaded when
they are first used, so that `import fewshot` does not wait for TensorFlow.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "DivergedError": "fewshot.errors",
    "FewshotError": "fewshot.errors",
    "InnerLoop": "fewshot.meta",
    "InnerRates": "fewshot.meta",
    "MetaLearner": "fewshot.meta",
    "RecipeError": "fewshot.errors",
    "RegionSet": "fewshot.data.region",
    "Support": "fewshot.meta",
    "Task": "fewshot.tasks.task",
    "TaskError": "fewshot.errors",
    "TaskSpec": "fewshot.tasks.task",
    "Views": "fewshot.meta",
    "adapt": "fewshot.meta",
    "conv4": "fewshot.models",
    "evaluate": "fewshot.training.evaluation.evaluate",
    "make_head": "fewshot.models",
    "mlp": "fewshot.models",
    "read_class_folders": "fewshot.data.sources.class_folders",
    "read_omniglot": "fewshot.data.sources.omniglot",
    "read_recipe": "fewshot.training.recipe",
    "read_task_archives": "fewshot.data.sources.task_archives",
    "resnet12": "fewshot.models",
    "sample_tasks": "fewshot.tasks.sampler",
    "stream": "fewshot.tasks.stream",
    "train": "fewshot.training.train",
    "unet": "fewshot.models",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 (a list of names, made once above)


def __getattr__(name: str) -> object:
    """Load a public name from its room."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fewshot' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
