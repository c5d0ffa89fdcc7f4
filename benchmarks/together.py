"""How far the confidence of runs holds, and what several of them answer together, by their mean probability.

    python benchmarks/together.py RUN [RUN ...] [--split validation] [--tasks 200] [--steps 3] [--ways 20] [--shots 5]

All answer the same tasks, those of the first run's recipe. Error and logarithmic loss are means over tasks with 95 %
intervals; the calibration error is the mean difference of confidence and accuracy in ten bins of as many answers each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

from fewshot.mapping.compare.calibration import expected_error, reliability
from fewshot.training.evaluation.measure import learner_predict
from fewshot.training.graphs import only_pruned
from fewshot.training.kinds.figures import mean_and_interval
from fewshot.training.kinds.images import Images
from fewshot.training.kinds.under_test import Request, TestTasks
from fewshot.training.run import Run


def answers(run: Run, chosen: TestTasks, steps: int | None) -> np.ndarray:
    """Return a run's probabilities [tasks, queries, classes] after `steps` inner steps, its own if None."""
    learner = run.learner(chosen.region_set)
    predict = learner_predict(learner, [int(learner.evaluation_steps) if steps is None else steps])
    found: dict[int, np.ndarray] = {}
    for numbers, batch in chosen.batches():
        logits = predict((batch.support_x, batch.support_y, batch.query_x))[0]
        found |= zip(numbers, tf.nn.softmax(logits).numpy(), strict=True)
    return np.stack([found[number] for number in range(len(chosen))])


def row(name: str, probabilities: np.ndarray, labels: np.ndarray) -> str:
    """Return a line of the table.

    Args:
        name: What answered.
        probabilities: [tasks, queries, classes].
        labels: [tasks, queries].
    """
    given = np.take_along_axis(probabilities, labels[..., None], axis=2)[..., 0]
    wrong = mean_and_interval(100 * (probabilities.argmax(axis=2) != labels).mean(axis=1))
    loss = mean_and_interval(-np.log(np.maximum(given, 1e-12)).mean(axis=1))
    flat = probabilities.reshape(-1, probabilities.shape[-1]).astype(float)
    bins = 100 * expected_error(reliability(flat, labels.reshape(-1)))
    return f"| {name} | {wrong.mean:.2f} ± {wrong.ci95:.2f} | {loss.mean:.4f} ± {loss.ci95:.4f} | {bins:.2f} |"


def main() -> None:
    """Answer the tasks with every run and with all together, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--tasks", type=int, default=600, help="default: 600")
    parser.add_argument("--seed", type=int, default=0, help="of the tasks (default: 0)")
    parser.add_argument("--ways", type=int, help="default: the recipe's")
    parser.add_argument("--shots", type=int, help="default: the recipe's")
    parser.add_argument("--steps", type=int, help="inner steps; default: each run's own")
    options = parser.parse_args()

    runs = [Run.open(path) for path in options.runs]
    first = runs[0]
    for path, run in zip(options.runs, runs, strict=True):
        if not isinstance(run.kind, Images) or run.recipe.tasks.labels != first.recipe.tasks.labels:
            raise SystemExit(f"{path}: runs that answer together are of pictures with one class each, numbered alike.")
        head = run.learner().head
        run.kind.require_ways(head.outputs if head else None, options.ways)
    asked = Request(split=options.split, tasks=options.tasks, seed=options.seed, ways=options.ways)
    chosen = first.kind.choose(first.regions(options.split), asked, options.shots)
    ordered: dict[int, np.ndarray] = {}
    for numbers, batch in chosen.batches():
        ordered |= zip(numbers, np.asarray(batch.query_y), strict=True)
    labels = np.stack([ordered[number] for number in range(len(chosen))])
    print("| run | error, % | logarithmic loss | calibration error, % |\n|---|---|---|---|")
    found = []
    with only_pruned():
        for path, run in zip(options.runs, runs, strict=True):
            found.append(answers(run, chosen, options.steps))
            print(row(path.name, found[-1], labels), flush=True)
    if len(found) > 1:
        print(row(f"{len(found)} together", np.mean(found, axis=0), labels))


if __name__ == "__main__":
    main()
