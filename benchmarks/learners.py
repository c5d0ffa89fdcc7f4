"""What an update of each learner costs, as a multiple of MAML's, on the same 5-way 1-shot tasks.

    python benchmarks/learners.py [--rounds 5] [--seconds 2] [--only maml++ cavia] [--json docs/learners.json]
    python benchmarks/learners.py --json docs/learners.json --figures maml=maml.json r2d2=r2d2.json

Conv-4/64 at 28x28, 15 queries a class, 4 tasks an update. Each learner runs in a process of its own beside MAML, a
round of one after a round of the other, so that a slow minute of the machine slows both. `docs/learners.md` is then
written anew: python -m fewshot.training.family docs/learners.json > docs/learners.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fewshot.training.family import FAMILY, Member

TASKS, QUERIES = 4, 15
YARDSTICK = "maml"


def updates_of(member: Member) -> Callable[[float], float]:
    """Return what makes updates for some seconds, after the first ones, and says how long each took.

    Args:
        member: The learner.
    """
    import numpy as np
    import tensorflow as tf

    from fewshot.training.build import build_learner, compile_learner, seed_everything
    from fewshot.training.kinds import kind_of
    from fewshot.training.kinds.kind import Problem
    from fewshot.training.recipe import read_recipe

    recipe = read_recipe(member.recipe, learner=member.learner)
    ways = recipe.tasks.ways
    seed_everything(recipe.training)
    learner = build_learner(recipe.network, recipe.learner, Problem((28, 28, 1), ways), training=recipe.training)
    compile_learner(learner, recipe.training, kind_of(recipe))
    rng = np.random.default_rng(0)
    pictures = [tf.constant(rng.random((TASKS, ways * each, 28, 28, 1)), tf.float32) for each in (1, QUERIES)]
    labels = [tf.constant(np.tile(np.repeat(np.arange(ways), each), (TASKS, 1)), tf.int32) for each in (1, QUERIES)]
    inputs = (pictures[0], labels[0], pictures[1])
    for _ in range(3):
        learner.train_on_batch(inputs, labels[1])

    def update(seconds: float) -> float:
        began, made = time.perf_counter(), 0
        while made < 2 or time.perf_counter() - began < seconds:
            learner.train_on_batch(inputs, labels[1])
            made += 1
        return (time.perf_counter() - began) / made

    return update


def ratios(name: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Time a learner and MAML in turn, in this process.

    Args:
        name: Of the learner.
        rounds: How often.
        seconds: Of each, each time.

    Returns:
        Seconds of an update of MAML, and the multiple of it that one of the learner took, round by round.
    """
    from fewshot.training.graphs import only_pruned

    members = {member.learner: member for member in FAMILY}
    found: dict[str, list[float]] = {"maml_seconds": [], "ratios": []}
    with only_pruned():  # as `fewshot train` does
        plain, other = updates_of(members[YARDSTICK]), updates_of(members[name])
        for number in range(rounds + 1):
            spent = plain(seconds), other(seconds)
            if number:  # the first warms up
                found["maml_seconds"].append(spent[0])
                found["ratios"].append(spent[1] / spent[0])
    return found


def processor() -> str:
    """Return the name of the machine's processor, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def add_figures(to: Path, named: list[str]) -> None:
    """Put the accuracies by shots of evaluations, each `LEARNER=FILE`, into the page's file of costs."""
    page = json.loads(to.read_text(encoding="utf-8"))
    for learner, _, file in (pair.partition("=") for pair in named):
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        by_shots = found.get("by_shots", {str(found["shots"]): found["accuracy"]})
        figures = {shots: {key: row[key] for key in ("mean", "ci95")} for shots, row in by_shots.items()}
        page.setdefault("figures", {})[learner] = figures
    to.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure every learner, print a table, and write it for the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each learner and of MAML in turn (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (2)")
    parser.add_argument("--only", nargs="+", metavar="LEARNER", help="these learners alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the costs here")
    parser.add_argument(
        "--figures", nargs="+", metavar="LEARNER=FILE", help="put what `evaluate --json` wrote there too"
    )
    parser.add_argument("--one", metavar="LEARNER", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(ratios(asked.one, asked.rounds, asked.seconds)))
        return
    if asked.figures:
        add_figures(asked.json, asked.figures)
        return
    costs: dict[str, list[float]] = {}
    for name in asked.only or [member.learner for member in FAMILY]:
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            "--rounds",
            str(asked.rounds),
            "--seconds",
            str(asked.seconds),
        ]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        costs[name] = sorted(json.loads(found)["ratios"])
        print(
            f"{name:20} {statistics.median(costs[name]):6.2f} ({costs[name][0]:.2f}-{costs[name][-1]:.2f})", flush=True
        )
        if asked.json:
            machine = f"{processor()}, {os.cpu_count()} cores"
            page = json.loads(asked.json.read_text(encoding="utf-8")) if asked.json.exists() else {}
            if asked.only and page.get("machine"):  # what was not measured now stays, with where that was
                before = page["machine"].partition("; on ")[0]
                machine = f"{before}; on {machine}: {', '.join(asked.only)}"
            page |= {"machine": machine, "costs": page.get("costs", {}) | costs}
            asked.json.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
