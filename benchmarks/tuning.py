"""Does the evolution strategy of `fewshot tune` find better values than drawing at random, with as many trainings?

    python benchmarks/tuning.py [--seeds 8] [--out FOLDER] [--json FILE] [--picture FILE]

Inner rate and rate of the outer loop of MAML on sine waves (`sine-10shot`), each from 1e-4 to 1 by ratios: 24 trainings
of 200 updates of one task, for evolution four generations of six. The figure is the validation loss of the best
training so far, on the same waves for all. A folder that holds searches of the same kind is gone on with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fewshot.training.kinds.figures import mean_and_interval
from fewshot.training.recipe import read_recipe
from fewshot.training.tuning import Search, TuneRequest, read_varied, tune
from fewshot.training.tuning.search import Method

RECIPE, LEARNER = "sine-10shot", "maml"
VARIED = ("learner.rate=1e-4..1:log", "training.meta_rate=1e-4..1:log")
UPDATES, GENERATIONS, PARTICLES, ELITES = 200, 4, 6, 2
SETTINGS = (f"training.validate_every={UPDATES}", "training.meta_batch_size=1")
"""One task an update: most of so short a training is the tracing of its graph."""
METHODS: tuple[Method, ...] = ("evolution", "random")
COLOURS = {"evolution": "#d55e00", "random": "#0072b2"}


def best_so_far(method: Method, seed: int, out: Path) -> list[float]:
    """Return the best validation loss after each training of a search.

    Args:
        method: Of the search.
        seed: Of the search.
        out: Its folder.
    """
    request = TuneRequest(
        recipe=lambda more: read_recipe(RECIPE, learner=LEARNER, settings=(*SETTINGS, *more)),
        varied=[read_varied(text) for text in VARIED],
        updates=UPDATES,
        generations=GENERATIONS,
        search=Search(method, PARTICLES, ELITES, seed),
    )
    found = tune(request, out / f"{method}-{seed}", resume=True)
    reached = [np.inf if trial.figure is None else trial.figure for trial in found.trials]
    return np.minimum.accumulate(reached).tolist()


def draw(path: Path, curves: dict[str, npt.NDArray[Any]]) -> None:
    """Draw the median over seeds of the best loss so far, and the quarter of seeds to either side.

    Args:
        path: The file.
        curves: [seeds, trainings], by method.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained", dpi=130)
    axes = figure.add_subplot()
    for method, curve in curves.items():
        trainings = np.arange(1, curve.shape[1] + 1)
        low, middle, high = np.quantile(curve, (0.25, 0.5, 0.75), axis=0)
        axes.fill_between(trainings, low, high, step="post", color=COLOURS[method], alpha=0.15, linewidth=0)
        axes.step(trainings, middle, where="post", color=COLOURS[method], label=method)
    axes.set(xlabel="trainings", ylabel="best validation loss so far", yscale="log")
    for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        ticks("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Search with every method and seed, print what was reached and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8, help="searches of each method (8)")
    parser.add_argument("--out", type=Path, help="folder of the searches; a temporary one if not given")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    asked = parser.parse_args()
    found: dict[str, list[list[float]]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(asked.seeds):
            for method in METHODS:
                found[method].append(best_so_far(method, seed, asked.out or Path(temporary)))
                print(f"seed {seed}, {method}: {found[method][-1][-1]:.4f}", flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    curves = {method: np.array(curve) for method, curve in found.items()}
    for trainings in range(PARTICLES, PARTICLES * GENERATIONS + 1, PARTICLES):
        reached = {method: mean_and_interval(curve[:, trainings - 1]) for method, curve in curves.items()}
        ahead = mean_and_interval(curves["random"][:, trainings - 1] - curves["evolution"][:, trainings - 1])
        line = ", ".join(f"{method} {value.mean:.3f} ± {value.ci95:.3f}" for method, value in reached.items())
        print(f"after {trainings} trainings: {line}, random minus evolution {ahead.mean:+.3f} ± {ahead.ci95:.3f}")
    if asked.picture:
        draw(asked.picture, curves)


if __name__ == "__main__":
    main()
