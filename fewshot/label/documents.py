"""The project as plain data for the page: classes, labels, model, panel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot.exported import models_table
from fewshot.label.edits import PALETTE
from fewshot.label.jobs import Job
from fewshot.label.live import LiveLabels
from fewshot.label.plan import ProjectPlan
from fewshot.label.state import ProjectState
from fewshot.mapping import PreviewLabels, kept_comparison


def describe_state(state: ProjectState, contradicting: Sequence[str]) -> dict[str, Any]:
    """Return classes and labels, and which of these contradict others."""
    classes, labels = state.classes.values(), state.labels.values()
    return {
        "classes": [{"id": own.id, "name": own.name, "colour": own.colour, "key": own.key} for own in classes],
        "labels": [
            {"id": own.id, "class": own.of, "kind": own.kind, "coordinates": own.coordinates, "width": own.width}
            for own in labels
        ],
        "palette": PALETTE,
        "counts": state.counts,
        "contradictions": contradicting,
    }


def describe_model(plan: ProjectPlan) -> dict[str, str] | None:
    """Return what maps, and how good a model in the box was measured; None where nothing maps."""
    if not plan.maps:
        return None
    figures = {row[0]: row[-1] for row in models_table()[1]}
    return {"name": plan.model or plan.method or "", "figure": figures.get(plan.model, "")}


def panel(
    state: ProjectState, contradicting: Sequence[str], known: LiveLabels | None, jobs: Sequence[Job]
) -> dict[str, Any]:
    """Return how well the labels are learned, and what is wrong with them.

    Args:
        state: Of the project.
        contradicting: Labels that contradict others.
        known: What the map that follows them was last adapted to, where there is one.
        jobs: Some of which may have compared methods.
    """
    model = known and known.best
    compared = [kept_comparison(Path(job.result)) for job in jobs if job.kind in ("map", "compare")]
    found = [text for text in compared if text]
    return {
        "support_loss": list(model.adapted.support_loss) if model else None,
        "steps": model.adapted.steps if model else None,
        "accuracy": known.accuracy if known else None,
        "warnings": [
            *warnings(state, contradicting),
            *(_remarks(known.labels) if known else ()),
            *filter(None, [known and known.note]),
        ],
        "compare": json.loads(found[-1]) if found else None,
    }


def _remarks(labels: PreviewLabels) -> list[str]:
    """Return what became of labels on their way to the model, but for what `warnings` says of them."""
    of = labels.used.summary
    said = set(of.lines()) - set(replace(of, examples={}, contradicting=0).lines())
    return [note.removeprefix(f"{of.path}: ") for note in labels.used.notes if note not in said]


def warnings(state: ProjectState, contradicting: Sequence[str]) -> list[str]:
    """Return what is wrong with the labels, as far as they themselves tell."""
    said, counts = [], state.counts
    without = [own.name for own in state.classes.values() if not counts[own.id]]
    alone = [own.name for own in state.classes.values() if counts[own.id] == 1]
    if without and state.labels:
        said.append(f"no label of {', '.join(without)}: the map will not show it")
    if alone:
        said.append(f"only one label of {', '.join(alone)}")
    if contradicting:
        said.append(f"{len(contradicting)} labels claim pixels of another class's; these pixels do not count")
    return said
