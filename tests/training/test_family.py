"""The learners that have names: each can be built from its recipe, and the page of them is what the program says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fewshot.models import HEADS
from fewshot.training.build import build_learner, build_optimizer
from fewshot.training.family import FAMILY, Member, page
from fewshot.training.kinds.kind import Problem
from fewshot.training.recipe import read_recipe
from fewshot.training.shipped import recipe_names, recipe_tables

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("member", FAMILY, ids=lambda member: member.learner)
def test_every_named_learner_can_be_built(member: Member) -> None:
    recipe = read_recipe(member.recipe, learner=member.learner, settings=["network.filters=4"])
    learner = build_learner(recipe.network, recipe.learner, Problem((28, 28, 1), 5), training=recipe.training)
    build_optimizer(recipe.training).build(learner.trainable_variables)
    assert learner.inner.steps == recipe.learner.steps
    assert any(learner.moving) == HEADS[recipe.learner.head].adapts


def test_every_learner_of_the_papers_has_a_name() -> None:
    papers = [name for name in recipe_names() if name.startswith("papers/")]
    written = {(name, learner) for name in papers for learner in recipe_tables(name)["learners"]}
    named = {(member.recipe, member.learner) for member in FAMILY}
    assert named <= written
    assert {learner for _, learner in written} == {learner for _, learner in named}


def test_the_page_is_written_from_the_recipes() -> None:
    measured = json.loads((ROOT / "docs" / "learners.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "learners.md").read_text(encoding="utf-8") == page(measured), (
        "write it anew: python -m fewshot.training.family docs/learners.json > docs/learners.md"
    )
