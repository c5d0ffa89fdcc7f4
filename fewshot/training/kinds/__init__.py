"""The kinds of task: labelled images, labelled pixels, waves. A new kind is one file and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping

from fewshot.training.kinds.images import Images
from fewshot.training.kinds.kind import Kind
from fewshot.training.kinds.pixels import Pixels
from fewshot.training.kinds.waves import Waves
from fewshot.training.recipe import Recipe

KINDS: Mapping[str, type[Kind]] = {"images": Images, "pixels": Pixels, "waves": Waves}


def kind_of(recipe: Recipe) -> Kind:
    """Return the kind of a recipe's tasks: that of its source where that knows one kind alone, or of its table."""
    source = recipe.data.source
    return KINDS["waves" if source.draws_waves else recipe.tasks.target].of(recipe.tasks, source)
