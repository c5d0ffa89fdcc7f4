"""Would a rate chosen beside the number of inner steps gain anything over the number of steps alone?

    python benchmarks/rate_factors.py RUN [--factors 0.5 1 2 4] [--tasks 100] [--seed 0]

The run's own rates, learned or not, times each factor; the score of its kind after each number of steps, on the same
test tasks for all. A column ends where a task diverges.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fewshot.training.evaluation.measure import measure_curve
from fewshot.training.kinds.figures import mean_and_interval
from fewshot.training.kinds.under_test import Request
from fewshot.training.run import Run

STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)


def main() -> None:
    """Measure every factor and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--factors", type=float, nargs="+", default=[0.5, 1, 2, 4], help="default: 0.5 1 2 4")
    parser.add_argument("--tasks", type=int, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, default=0, help="of the tasks (default: 0)")
    options = parser.parse_args()

    run = Run.open(options.run)
    learner = run.learner()
    rates = learner.inner_rates.weights
    if not rates:
        raise SystemExit(f"{options.run} has constant rates, which no weight holds; name a run that learned its rates.")
    learned = [rate.numpy() for rate in rates]
    chosen = run.kind.choose(run.regions("test"), Request(tasks=options.tasks, seed=options.seed), None)
    columns = []
    for factor in options.factors:
        for rate, value in zip(rates, learned, strict=True):
            rate.assign(factor * value)
        scores = measure_curve(learner, run.kind, chosen, STEPS).scores
        columns.append([mean_and_interval(each) for each in scores])
    print("| steps |", " | ".join(f"rates x {factor:g}" for factor in options.factors), "|")
    print("|---|" + "---|" * len(columns))
    for row, steps in enumerate(STEPS):
        shown = (f"{c[row].mean:.3f} ± {c[row].ci95:.3f}" if row < len(c) else "diverged" for c in columns)
        print(f"| {steps} |", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
