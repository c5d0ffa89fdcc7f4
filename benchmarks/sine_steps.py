"""How the error of sine waves falls step by step: MAML, one network for all waves, and the oracle, on the same waves.

    fewshot train sine-maml --learner maml --out runs/sine-maml
    fewshot train sine-maml --learner pretrained --out runs/sine-pretrained
    fewshot train sine-maml --learner oracle --out runs/sine-oracle
    python benchmarks/sine_steps.py runs/sine-maml runs/sine-pretrained runs/sine-oracle [--picture FILE] [--json FILE]

The pre-trained network takes its steps at the rate that does best after the last of them, on other waves than these.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fewshot.meta import MetaLearner
from fewshot.meta.baselines import FINE_TUNING_RATES, fine_tuner
from fewshot.training.evaluation.measure import measure_curve
from fewshot.training.kinds.figures import Interval, mean_and_interval
from fewshot.training.kinds.under_test import Request
from fewshot.training.run import Run

STEPS = tuple(range(11))
COLOURS = {"MAML": "#d55e00", "pre-trained": "#0072b2", "oracle": "#333333"}


def errors(run: Run, learner: MetaLearner, *, waves: int, seed: int) -> list[Interval]:
    """Return the mean squared error after each of `STEPS`, as far as no wave diverges.

    Args:
        run: Whose waves they are.
        learner: Of the run, or made of it.
        waves: How many.
        seed: Of their drawing.
    """
    chosen = run.kind.choose(run.regions("test"), Request(tasks=waves, seed=seed), None)
    return [mean_and_interval(scores) for scores in measure_curve(learner, run.kind, chosen, STEPS).scores]


def fine_tuned(run: Run, *, waves: int) -> tuple[float, MetaLearner]:
    """Return the best rate of a pre-trained network's steps, and the learner that takes them.

    Args:
        run: Trained with no step.
        waves: To choose on.
    """
    trained = run.learner()
    learners = {
        rate: fine_tuner(trained.body, rate=rate, steps=0, head=trained.head, regression_outputs=1)
        for rate in FINE_TUNING_RATES
    }
    last = {rate: errors(run, learner, waves=waves, seed=1) for rate, learner in learners.items()}
    whole = {rate: curve[-1].mean for rate, curve in last.items() if len(curve) == len(STEPS)}
    best = min(whole, key=lambda rate: whole[rate])
    return best, learners[best]


def draw(path: Path, curves: dict[str, list[Interval]]) -> None:
    """Draw the errors, each with its interval; the oracle, which takes no steps, as a line.

    Args:
        path: The file.
        curves: By name.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    for name, curve in curves.items():
        steps = STEPS if len(curve) == 1 else STEPS[: len(curve)]
        mean, half = (np.array([getattr(point, part) for point in curve]) for part in ("mean", "ci95"))
        mean, half = np.broadcast_to(mean, len(steps)), np.broadcast_to(half, len(steps))
        axes.fill_between(steps, mean - half, mean + half, color=COLOURS[name], alpha=0.15, linewidth=0)
        axes.plot(
            steps,
            mean,
            color=COLOURS[name],
            linestyle="--" if len(curve) == 1 else "-",
            marker="" if len(curve) == 1 else "o",
            label=name,
        )
    axes.set(xlabel="inner steps", ylabel="mean squared error", yscale="log", xticks=STEPS)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Measure the three runs, print their errors and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("maml", "pretrained", "oracle"):
        parser.add_argument(name, type=Path, help="run folder")
    parser.add_argument("--waves", type=int, default=600)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    maml, pretrained, oracle = (Run.open(path) for path in (asked.maml, asked.pretrained, asked.oracle))
    rate, tuned = fine_tuned(pretrained, waves=asked.waves)
    curves = {
        "MAML": errors(maml, maml.learner(), waves=asked.waves, seed=0),
        "pre-trained": errors(pretrained, tuned, waves=asked.waves, seed=0),
        "oracle": errors(oracle, oracle.learner(), waves=asked.waves, seed=0)[:1],
    }
    for name, curve in curves.items():
        print(f"{name:12}" + " ".join(f"{point.mean:.3f} ± {point.ci95:.3f}" for point in curve))
    print(f"The pre-trained network's rate: {rate}")
    if asked.json:
        plain = {name: [asdict(point) for point in curve] for name, curve in curves.items()}
        asked.json.write_text(json.dumps({"rate": rate, "curves": plain}, indent=1) + "\n", encoding="utf-8")
    if asked.picture:
        draw(asked.picture, curves)


if __name__ == "__main__":
    main()
