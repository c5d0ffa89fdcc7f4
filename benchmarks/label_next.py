"""What are ten more labels worth where `fewshot map --suggest 10` asks for them, and where chance does?

    python benchmarks/label_next.py [--scenes maryland simulated] [--method combined] [--steps 4] [--draws 20]
                                    [--rounds 3] [--json FILE] [--picture FILE]

A draw starts with a few labelled pixels of each class. Then ten labels are added at a time, whose class is looked up in
the reference, as a person would say it:

    random      ten pixels of the map, each as likely as any other
    balanced    ten pixels at random, as many of each class that the map shows
    suggested   the ten places of `--suggest 10`

and the scene is mapped anew. Every labelled pixel of the reference that the map was not made from is tested. All three
begin with the same labels. The simulated scene is made by this program; nothing found on it holds for the Earth.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import real_figures, real_scenes  # noqa: E402  which is found now

Array = npt.NDArray[Any]

ARMS = ("random", "balanced", "suggested")
EACH, MORE = 3, 10
SIDE = 256
COLOURS = {"random": "#999999", "balanced": "#0072b2", "suggested": "#d55e00"}


def main() -> None:
    """Run the draws, and print a table of each scene."""
    options = read_options()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.scenes:
            truth = simulated(Path(folder)) if name == "simulated" else read_scene(options.data, name, Path(folder))
            maps = Labeller(options.model, options.method, truth, Path(folder) / name, steps=options.steps)
            found[name] = []
            for seed in range(options.draws):
                found[name].append(maps.draw(seed, options.rounds))
                print(f"{name}: draw {seed + 1} of {options.draws}", file=sys.stderr, flush=True)
                if options.json:
                    said = {"method": options.method, "model": options.model, "steps": options.steps}
                    said |= {"each": EACH, "more": MORE}
                    options.json.write_text(json.dumps({**said, "scores": found}, indent=1) + "\n", encoding="utf-8")
            print("\n".join(table(name, found[name])), flush=True)
    if options.picture:
        draw(options.picture, found)


def read_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=["maryland", "simulated"], help="default: both")
    parser.add_argument("--model", default="earth-points", help="as for `fewshot map` (default: %(default)s)")
    parser.add_argument("--method", default="combined", help="of `fewshot map` (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="inner steps (default: what the labels ask for, which takes long)")
    parser.add_argument("--data", type=Path, default=real_scenes.ROOT.parent / "shared" / "data", help="of the scenes")
    parser.add_argument("--draws", type=int, default=20, help="draw i has seed i (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of ten labels more (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures of every draw to this file")
    parser.add_argument("--picture", type=Path, help="draw accuracy by labels to this file")
    return parser.parse_args()


def read_scene(data: Path, name: str, folder: Path) -> real_scenes.Truth:
    """Read a real scene and its reference."""
    return real_scenes.read_truth(data, real_scenes.PLACES[name], folder)


def simulated(folder: Path) -> real_scenes.Truth:
    """Simulate the region of the demo, and write its scene to the folder."""
    from rasterio import Affine

    from fewshot.data import simulate_region
    from fewshot.demo.mapping import REGION, simplified
    from fewshot.geo import Grid, write_raster

    bands = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B11", "B12")
    region = simulate_region(REGION, size=SIDE, bands=bands, radar=False)
    grid = Grid(SIDE, SIDE, Affine(*region.grid.transform), region.grid.crs)
    write_raster(folder / "simulated.tif", region.optical, grid, names=bands)
    labels = simplified(region.classes).astype(np.int64)
    place = real_scenes.Place("", "", bands=bands)
    return real_scenes.Truth(place, folder / "simulated.tif", region.optical.astype(np.float32), labels, None, grid)


class Labeller:
    """Maps a scene again and again, each time from ten labels more."""

    def __init__(
        self, model: str, method: str, truth: real_scenes.Truth, folder: Path, *, steps: int | None = None
    ) -> None:
        """Open the model, if the method asks one.

        Args:
            model: As `fewshot map` takes it.
            method: That maps.
            truth: The scene and its reference.
            folder: For labels and maps.
            steps: Inner steps; what the labels ask for if None.
        """
        from fewshot.exported import open_predictor
        from fewshot.mapping.plain.predictor import TITLES

        self.truth, self.method, self.folder, self.steps = truth, method, folder, steps
        self.predictor = None if method in TITLES else open_predictor(model)
        folder.mkdir()

    def draw(self, seed: int, count: int) -> dict[str, list[dict[str, float]]]:
        """Return the scores of each arm, with the first labels, the same for all, and with ten more each time.

        Args:
            seed: Of the draw.
            count: Of rounds.
        """
        first = real_scenes.draw_points(self.truth, EACH, seed=seed)
        places = np.stack([first.rows, first.columns], axis=1)
        mapped = self.map(places, suggest=MORE)
        return {
            arm: list(self.rounds(arm, np.random.default_rng([seed, n]), (places, mapped), count))
            for n, arm in enumerate(ARMS)
        }

    def rounds(
        self, arm: str, rng: np.random.Generator, start: tuple[Array, tuple[Array, Array]], count: int
    ) -> Iterator[dict[str, float]]:
        """Yield the scores with the first labels, and with ten more each time.

        Args:
            arm: One of `ARMS`.
            rng: Draws places.
            start: The first labels, and what `map` returns of them.
            count: Of rounds.
        """
        places, (said, suggested) = start
        for number in range(count + 1):
            tested = self.truth.labels > 0
            tested[tuple(places.T)] = False
            scores = real_scenes.score(said[tested], self.truth.labels[tested])
            yield {"labels": float(len(places)), **scores}
            if number == count:
                return
            more = suggested if arm == "suggested" else at_random(said, tested, rng, balanced=arm == "balanced")
            places = np.unique(np.concatenate([places, more]), axis=0)
            places = places[self.truth.labels[tuple(places.T)] > 0]
            said, suggested = self.map(places, suggest=MORE if arm == "suggested" and number + 1 < count else 0)

    def map(self, places: Array, *, suggest: int) -> tuple[Array, Array]:
        """Map the scene from labelled pixels [n, 2]; return classes [H, W] and, if wanted, the places to label next."""
        import geopandas
        import rasterio

        from fewshot.mapping import LabelPlan, MapRequest, choose_method, map_scene, run_here
        from fewshot.mapping.support.classes import number_classes

        labels, to, asked = (self.folder / name for name in ("points.gpkg", "map.tif", "map_label_next.gpkg"))
        values = self.truth.labels[tuple(places.T)]
        points = real_scenes.Draw(places[:, 0], places[:, 1], values, places)
        real_scenes.write_points(labels, points, self.truth.grid)
        asked.unlink(missing_ok=True)
        place, plan = self.truth.place, LabelPlan(labels, field="class", radius=0)
        scenes = (str(self.truth.scene),)
        request = MapRequest(
            scenes, to, plan, bands=place.bands, sensor=place.sensor, method=self.method, steps=self.steps
        )
        choice = choose_method(self.predictor, replace(request, suggest=suggest))
        report = map_scene(choice.predictor, run_here(choice.predictor), choice.request)
        numbers = np.zeros(256, np.int64)
        for value, name in zip(number_classes(report.table), report.table.names, strict=True):
            numbers[value] = int(name.removeprefix("class "))
        with rasterio.open(to) as raster:
            found = np.asarray(numbers[raster.read(1)])
        if not suggest:
            return found, np.zeros((0, 2), np.int64)
        frame = geopandas.read_file(asked)
        rows, columns = self.truth.grid.to_pixels(frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
        return found, np.stack([np.floor(rows), np.floor(columns)], axis=1).astype(np.int64)


def at_random(said: Array, free: Array, rng: np.random.Generator, *, balanced: bool) -> Array:
    """Draw ten pixels [10, 2].

    Args:
        said: [H, W] class that the map says.
        free: [H, W] that may be drawn.
        rng: Draws them.
        balanced: Whether as many of each class of the map, or of all pixels alike.
    """
    if not balanced:
        places = np.argwhere(free)
        return np.asarray(places[rng.choice(len(places), MORE, replace=False)])
    parts = [rng.permutation(np.argwhere(free & (said == value))) for value in np.unique(said[free])]
    turns = [part[turn] for turn in range(MORE) for part in parts if turn < len(part)]
    return np.stack(turns[:MORE])


def gains(draws: list[dict[str, Any]], arm: str, metric: str) -> Array:
    """Return what an arm is better than random places [draws, rounds]."""
    own, chance = ([[one[metric] for one in draw[name]] for draw in draws] for name in (arm, "random"))
    return np.array(own) - np.array(chance)


def table(name: str, draws: list[dict[str, Any]]) -> list[str]:
    """Return a scene's figures as a Markdown table, in percent: means over draws with 95 % intervals."""
    lines = ["", f"### {name}, {len(draws)} draws", "", "| figure | labels more | random | balanced - random | "]
    lines[-1] += "suggested - random |"
    lines.append("|---" * 5 + "|")
    rounds = len(draws[0]["random"])
    for metric in real_figures.METRICS:
        for number in range(rounds):
            chance = np.array([draw["random"][number][metric] for draw in draws])
            cells = [real_figures.shown(real_figures.mean_and_interval(chance))]
            for arm in ("balanced", "suggested"):
                gain = gains(draws, arm, metric)[:, number]
                cells.append(real_figures.shown(real_figures.mean_and_interval(gain), "+") if number else "same labels")
            lines.append(f"| {metric} | {MORE * number} | {' | '.join(cells)} |")
    return lines


def draw(path: Path, found: dict[str, Any]) -> None:
    """Draw accuracy and macro F1 by labels, a scene a column."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(found), 6.4), layout="constrained", dpi=110)
    grid = figure.subplots(len(real_figures.METRICS), len(found), squeeze=False)
    for column, (name, draws) in enumerate(found.items()):
        for row, metric in enumerate(real_figures.METRICS):
            axes = grid[row, column]
            for arm in ARMS:
                scores = 100 * np.array([[one[metric] for one in draw[arm]] for draw in draws])
                more = MORE * np.arange(scores.shape[1])
                half = 1.96 * scores.std(axis=0, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else 0 * more
                axes.errorbar(
                    more + ARMS.index(arm) * 0.4, scores.mean(axis=0), half, color=COLOURS[arm], label=arm, capsize=3
                )
            axes.set(xlabel="labels more", ylabel=f"{metric.replace('_', ' ')}, %")
            axes.set_title(f"{name}, {len(draws)} draws" if row == 0 else "", loc="left", fontsize=10)
            axes.grid(alpha=0.3)
    grid[0, 0].legend(frameon=False, fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    main()
