"""What do places lose that neither trained a model nor chose its checkpoint?

    python benchmarks/leave_places_out.py sen12ms-tasks-4w2s-pretrained --data sen12ms_rgb64 \
        --set network.file=efficientnet_lite0.keras --learner meta-sgd --learner proto-maml --learner protonet --out OUT

The places of the data are dealt into folds, in order of their names. Each fold is tested in turn: the next one chooses
the checkpoint, the others train. Every fixed task of the data is so tested once, by a model that saw nothing of its
place, and validates once. Features of a frozen network are computed once for all. Runs and figures are kept in OUT; a
finished one is not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fewshot import read_recipe, train  # noqa: E402 (the root must be on the path first)
from fewshot.data.region import RegionSet  # noqa: E402
from fewshot.tasks.augment import Augmentation  # noqa: E402
from fewshot.training import features  # noqa: E402
from fewshot.training.evaluation.measure import measure_curve  # noqa: E402
from fewshot.training.graphs import only_pruned  # noqa: E402
from fewshot.training.kinds import kind_of  # noqa: E402
from fewshot.training.kinds.figures import mean_and_interval  # noqa: E402
from fewshot.training.kinds.kind import Kind  # noqa: E402
from fewshot.training.kinds.under_test import Request  # noqa: E402
from fewshot.training.recipe_tables import NetworkTable  # noqa: E402
from fewshot.training.run import Run  # noqa: E402

Array = npt.NDArray[Any]
SEEN = features._seen


def main() -> None:
    """Train every learner on every fold, and print what was found."""
    asked = arguments()
    rows = []
    for learner in asked.learner:
        recipe = read_recipe(asked.recipe, learner=learner, settings=asked.set)
        whole = recipe.data.source.open(asked.data)
        folds = dealt(whole, asked.folds)
        share_features(whole, asked.out / "features")
        found = [one_fold(asked, learner, folds, each) for each in range(len(folds))]
        rows.append(row(learner, found))
        for places, figures in zip(folds, found, strict=True):
            print(f"{learner}: {', '.join(places)}: {figures['tested']}, validated {figures['validated']:.4f}")
    print("\n".join(table(rows, sorted({int(step) for each in rows for step in each["steps"]}))))


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Leave places out: a figure that chose nothing.")
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--learner", action="append", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--steps", default="0,1,3,5,10,20")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def dealt(whole: RegionSet, count: int) -> list[list[str]]:
    """Deal the places into `count` folds of neighbours in the order of their names."""
    places = sorted({region.place for region in whole.regions})
    return [list(fold) for fold in np.array_split(np.array(places), count)]


def share_features(whole: RegionSet, kept: Path) -> None:
    """Let every fold see the features of all pictures, in place of its own part's."""

    def seen(part: RegionSet, kind: Kind, network: NetworkTable, augmentation: Augmentation, folder: Path) -> RegionSet:
        found = SEEN(replace(whole, name="all places"), kind, network, augmentation, kept)
        return part if found.store is whole.store else replace(part, store=found.store)

    features._seen = seen


@only_pruned()
def one_fold(asked: argparse.Namespace, learner: str, folds: Sequence[Sequence[str]], tested: int) -> dict[str, Any]:
    """Train without one fold and return the scores of its tasks after each number of steps; from a file if there."""
    out = asked.out / f"{learner}-{'-'.join(folds[tested])}"
    file = out / "left_out.json"
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    chosen = (tested + 1) % len(folds)
    parts = [f"data.validation={json.dumps(list(folds[chosen]))}", f"data.test={json.dumps(list(folds[tested]))}"]
    recipe = read_recipe(asked.recipe, learner=learner, settings=[*asked.set, *parts])
    state = train(recipe, asked.data, out, resume=out.exists(), verbose=2)
    run = Run.open(out)
    part = features.seen_part(run.regions("test"), kind_of(recipe), run.recipe.network, out / "features")
    steps = tuple(int(step) for step in asked.steps.split(","))
    outcome = measure_curve(run.learner(part), run.kind, run.kind.choose(part, Request(), None), steps)
    scores = {str(step): found.tolist() for step, found in zip(outcome.steps, outcome.scores, strict=True)}
    own = str(outcome.steps[outcome.at])
    figures = {"tested": float(np.mean(scores[own])), "validated": state.best, "own": own, "scores": scores}
    file.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def row(learner: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a learner's figures over all tasks of all folds.

    The checkpoint's own figure is that of the fold that chose it, each fold weighted by its own tasks.
    """
    steps = sorted(found[0]["scores"], key=int)
    pooled = {step: np.concatenate([fold["scores"][step] for fold in found]) for step in steps}
    sizes = [len(fold["scores"][found[0]["own"]]) for fold in found]
    validated = np.average([fold["validated"] for fold in found], weights=[*sizes[1:], sizes[0]])
    return {"learner": learner, "own": found[0]["own"], "steps": pooled, "validated": float(validated)}


def table(rows: Sequence[dict[str, Any]], steps: Sequence[int]) -> list[str]:
    """Return the figures as a Markdown table, in percent; in bold at the learner's own number of steps."""
    lines = ["| learner | " + " | ".join(map(str, steps)) + " | tasks | the places that chose |"]
    lines.append("|---" * (len(steps) + 3) + "|")
    for each in rows:
        cells = []
        for step in map(str, steps):
            found = mean_and_interval(each["steps"][step])
            cell = f"{100 * found.mean:.1f} ± {100 * found.ci95:.1f}"
            cells.append(f"**{cell}**" if step == each["own"] else cell)
        count = len(each["steps"][each["own"]])
        lines.append(f"| {each['learner']} | {' | '.join(cells)} | {count} | {100 * each['validated']:.1f} |")
    return lines


if __name__ == "__main__":
    main()
