"""How well does a model tell real pictures apart from a few labelled ones, beside plain classifiers of their colours?

    python benchmarks/real_pictures.py [--model NAME] [--size 64] [--places 122 135] [--steps 0] [--json FILE]

The fixed 4-way 2-shot tasks of the SEN12MS archives (`sen12ms_rgb64` of the data folder): red, green and blue, 64
pixels of 20 m. A model of the simulated Earth has seen none of them, nor any place of them. On the same pictures

    means       nearest class mean of the bands' means over the picture, standardised by the support
    textures    the same of the bands' means and standard deviations
    logistic    logistic regression on the bands' means, standardised by the support

The program's own classes fit these, as `fewshot map --method prototypes` and `logistic` do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
Array = npt.NDArray[Any]

PLAIN = ("means", "textures", "logistic")


class Pictures(NamedTuple):
    """One task.

    Attributes:
        place: Where it is.
        support_x: [n, H, W, 3] red, green, blue.
        support_y: [n] class.
        query_x: [m, H, W, 3].
        query_y: [m] class.
    """

    place: str
    support_x: Array
    support_y: Array
    query_x: Array
    query_y: Array


def main() -> None:
    """Measure every method on every task, and print the table."""
    from fewshot.exported import open_predictor
    from fewshot.terminal import print_table

    options = read_options()
    tasks = list(read_tasks(options.data, options.size, options.places))
    with open_predictor(options.model) as predictor:
        scores = {options.model: model_scores(predictor, tasks, steps=options.steps)}
    scores |= {name: np.array([plain_score(name, task) for task in tasks]) for name in PLAIN}
    rows = table(scores, np.array([task.place for task in tasks]))
    print_table(f"Accuracy % on {len(tasks)} tasks, {options.size} pixels a side", rows)
    if options.json:
        options.json.write_text(json.dumps({name: own.tolist() for name, own in scores.items()}) + "\n")


def read_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    data = Path(os.environ.get("FEWSHOT_DATA", ROOT.parent / "shared" / "data")) / "sen12ms_rgb64"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="earth-patches", help="a model, as for `fewshot predict` (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, default=data, help="folder of the archives (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=64, help="pixels of a side; averaged if fewer than 64 (default: 64)"
    )
    parser.add_argument("--places", nargs="*", default=[], help="of SEN12MS, such as 122 135 (default: all)")
    parser.add_argument("--steps", type=int, help="inner steps (default: the model's own)")
    parser.add_argument("--json", type=Path, help="write the accuracy on every task to this file")
    return parser.parse_args()


def read_tasks(data: Path, size: int, places: list[str]) -> Iterator[Pictures]:
    """Read the fixed tasks of the places, or of all where none is named."""
    from fewshot.data.sources.task_archives import read_task_archives

    if not data.is_dir():
        raise SystemExit(f"there is no folder {data}; name that of the archives with --data")
    regions = read_task_archives([data], size=size, on_damaged="skip")
    place_of = {region.name: region.place for region in regions.regions}
    for task in regions.fixed_tasks:
        if not places or place_of[task.region] in places:
            support, query = regions.store.read(task.support), regions.store.read(task.query)
            yield Pictures(place_of[task.region], support, task.support_y, query, task.query_y)


def model_scores(predictor: Any, tasks: list[Pictures], *, steps: int | None) -> Array:
    """Return the accuracy [tasks] of a model that reads bands by wavelength; those the pictures lack are 0."""
    from fewshot.data.bands import red_green_blue

    card = predictor.card()
    colours = red_green_blue(card.bands)
    if colours is None or not card.missing_bands:
        raise SystemExit(f"{card.title!r} does not read pictures of red, green and blue alone")

    def sent(pictures: Array) -> Array:
        bands = np.zeros((*pictures.shape[:-1], len(card.bands)), np.float32)
        bands[..., list(colours)] = pictures
        return bands

    found = []
    for task in tasks:
        answer = predictor.adapt_and_predict(sent(task.support_x), task.support_y, sent(task.query_x), steps=steps)
        found.append(np.mean(answer.class_index == task.query_y))
    return np.array(found)


def plain_score(name: str, task: Pictures) -> float:
    """Return the accuracy of a plain classifier on one task."""
    from fewshot.mapping.plain.methods import fit_plain

    def seen(pictures: Array) -> Array:
        means = pictures.mean(axis=(1, 2))
        return np.concatenate([means, pictures.std(axis=(1, 2))], axis=1) if name == "textures" else means

    fitted = fit_plain("logistic" if name == "logistic" else "prototypes", seen(task.support_x), task.support_y)
    return float(np.mean(fitted.predict_proba(seen(task.query_x)).argmax(axis=1) == task.query_y))


def table(scores: dict[str, Array], places: Array) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows: the mean over tasks with its 95 % interval, the first method minus each, and by place."""
    names = sorted(set(places.tolist()))
    first = next(iter(scores.values()))
    rows = []
    for name, own in scores.items():
        minus = "" if own is first else shown(first - own, "+")
        rows.append([name, shown(own), minus, *(f"{100 * own[places == place].mean():.1f}" for place in names)])
    return ["method", "accuracy %", "the model minus it", *names], rows


def shown(values: Array, sign: str = "") -> str:
    """Return a mean and its interval in percent."""
    from fewshot.training.kinds.figures import mean_and_interval

    found = asdict(mean_and_interval(values))
    return f"{100 * found['mean']:{sign}.1f} ± {100 * found['ci95']:.1f}"


if __name__ == "__main__":
    main()
