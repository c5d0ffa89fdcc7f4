"""How much does mapping cost beside the bare network, beside the plain loop a user would write, and on two workers?

Run it with `python benchmarks/mapping.py`, fifty minutes on two cores, or `--help`. Every contender is a process of its
own, so that its peak memory is its own; rounds are interleaved (A B C, A B C, ...), so that a slow minute of the
machine slows all, and what is compared is the median of the ratios within rounds. The network computes with one
thread, everywhere.

    bare     the network alone, on the very windows and calls of the map, already in memory
    plain    read the whole scene, loop over windows side by side, write the map: no blending, no confidence
    map      `fewshot map`, model loaded and adapted before the clock starts; blending, confidence, COGs and all
    1, 2     the same on one and on two worker processes, started and warm before the clock starts
    1 core   one worker, it and all the rest on one core: what a second core and worker add to that
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CONTENDERS = ("bare", "plain", "map", "1 core", "workers 1", "workers 2")
BANDS = ("B2", "B3", "B4", "B8")
THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def main() -> None:
    """Prepare a scene and a model, let each contender map it in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192, help="rows and columns of the scene, a multiple of 256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=("pixel", "patch"), default="pixel", help="of the model")
    parser.add_argument(
        "--like",
        choices=("sen12ms-segmentation", "synthetic-segmentation"),
        default="sen12ms-segmentation",
        help="recipe whose network and windows a model of pixels has",
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measure(options.contender, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.side, options.kind, options.like)
        rounds = [run_round(Path(folder)) for _ in range(options.rounds)]
    figures = summarise(rounds, options.side, options.like if options.kind == "pixel" else options.kind)
    print_figures(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def prepare(folder: Path, side: int, kind: str, like: str) -> None:
    """Write a simulated scene, train a model for a moment and export it, and adapt it to some labels."""
    import numpy as np
    from rasterio import Affine
    from rasterio.crs import CRS

    from fewshot.data.earth.files import write_earth
    from fewshot.data.earth.region import simulate_region
    from fewshot.exported.predictor import LocalPredictor
    from fewshot.geo.grid import Grid
    from fewshot.geo.writing import write_raster
    from fewshot.training.recipe import read_recipe
    from fewshot.training.train import train
    from serving.graph.export import export

    write_earth(folder / "earth", regions=4, patches_per_region=2)
    common = [f"data.bands={list(BANDS)}", "data.train=2", "data.validation=1", "data.test=0", "training.updates=20"]
    common += ["tasks.disjoint_sources=false", "training.validation_tasks=2", "training.validate_every=20"]
    name = {"pixel": "synthetic-segmentation", "patch": "synthetic-patch"}[kind]
    wanted = read_recipe(like)
    settings = [f"network.widths={list(wanted.network.widths)}", f"data.window={wanted.as_tables()['data']['window']}"]
    settings += ["tasks.queries=2", "tasks.validation_queries=2"]
    settings = [*common, "tasks.shots=1", *(["tasks.ways=3"] if kind == "patch" else settings)]
    train(read_recipe(name, learner="proto-maml", settings=settings), [folder / "earth"], folder / "run", verbose=0)
    model = export(folder / "run", folder / "models")
    tile = simulate_region(5, size=min(side, 1024), bands=BANDS, radar=False)
    times = -(-side // tile.optical.shape[0])
    pixels = np.tile(tile.optical, (times, times, 1))[:side, :side]
    grid = Grid(side, side, Affine(*tile.grid.transform), CRS.from_string(tile.grid.crs))
    write_raster(folder / "scene.tif", pixels, grid, names=BANDS)
    # Labels as a sparse class raster: ten pixels a class.
    sparse = np.zeros((side, side), np.uint8)
    rng = np.random.default_rng(0)
    inside = tile.classes[: side - 64, : side - 64]
    for value in np.unique(inside):
        rows, columns = rng.permutation(np.argwhere(inside == value))[:10].T
        sparse[rows, columns] = value
    write_raster(folder / "labels.tif", sparse, grid, nodata=0)
    adapt(LocalPredictor(model), folder)
    (folder / "model.txt").write_text(str(model), encoding="utf-8")


def adapt(predictor: Any, folder: Path) -> None:
    """Adapt once, on a corner of the scene."""
    from fewshot.mapping.scene import open_scene
    from fewshot.mapping.support.adaptation import adapt_to, read_labels
    from fewshot.mapping.support.examples import LabelPlan

    card = predictor.card()
    scene = open_scene([folder / "scene.tif"], card)
    support, table, _ = read_labels(scene, card, LabelPlan(folder / "labels.tif"), None)
    adapt_to(predictor, support, table, steps=None).save(folder / "adapted.npz")


def run_round(folder: Path) -> dict[str, dict[str, float]]:
    """Let each contender run once, alone."""
    found = {}
    for contender in CONTENDERS:
        command = [sys.executable, __file__, "--contender", contender, "--folder", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **THREADS})
        if result.returncode:
            raise SystemExit(f"{contender} failed:\n{result.stderr}")
        found[contender] = json.loads(result.stdout.splitlines()[-1])
        print(f"{contender}: {found[contender]['seconds']:.2f} s", file=sys.stderr)
    return found


def measure(contender: str, folder: Path) -> dict[str, float]:
    """Run one contender; return its seconds, the windows it predicted and its peak memory in MB."""
    if contender == "1 core":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from fewshot.exported.predictor import LocalPredictor

    predictor = LocalPredictor(Path((folder / "model.txt").read_text(encoding="utf-8")))
    plan = make_plan(predictor, folder)
    warm_up(predictor, plan)
    if contender == "bare":
        seconds = time_bare(predictor, plan)
    elif contender == "plain":
        seconds = time_plain(predictor, plan, folder)
    else:
        workers = {"map": 0, "1 core": 1, "workers 1": 1, "workers 2": 2}[contender]
        seconds = time_map(predictor, folder, workers)
    return {"seconds": seconds, "peak_mb": peak_memory(), "windows": len(plan.layout.grid)}


def peak_memory() -> float:
    """Return the peak memory of this process in MB (that of `getrusage` counts the parent's before the start too)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def make_request(folder: Path, to: Path) -> Any:
    """Return the request of a map with the model adapted before."""
    from fewshot.mapping.request import MapRequest

    return MapRequest((str(folder / "scene.tif"),), to, adapted=folder / "adapted.npz")


def make_plan(predictor: Any, folder: Path) -> Any:
    """Return what the map predicts."""
    from fewshot.exported.adapted import AdaptedModel
    from fewshot.mapping.predict.groups import MapPlan
    from fewshot.mapping.predict.layout import plan_windows
    from fewshot.mapping.scene import open_scene

    request, card = make_request(folder, folder / "map.tif"), predictor.card()
    scene, model = open_scene(request.scenes, card), AdaptedModel.load(folder / "adapted.npz", card)
    size = (scene.grid.height, scene.grid.width)
    layout = plan_windows(card, size, request.windows, classes=len(model.values))
    return MapPlan(scene, layout, model, request.probabilities)


def warm_up(predictor: Any, plan: Any) -> None:
    """Let TensorFlow choose its kernels before the clock starts."""
    import numpy as np

    side, bands = plan.layout.picture, len(predictor.card().bands)
    for count in (1, 4):
        predictor.predict(plan.model.adapted, np.ones((count, side, side, bands), np.float32))


class Recorder:
    """Keeps the pictures of each call, and answers as a model that knows nothing."""

    def __init__(self, classes: int, *, per_pixel: bool) -> None:
        """Know what answers look like."""
        self.calls: list[Any] = []
        self._classes, self._per_pixel = classes, per_pixel

    def predict(self, adapted: Any, query_x: Any) -> Any:
        """Keep the pictures."""
        from types import SimpleNamespace

        import numpy as np

        self.calls.append(query_x)
        shape = query_x.shape[:3] if self._per_pixel else query_x.shape[:1]
        equal = np.full((*shape, self._classes), 1 / self._classes, np.float32)
        return SimpleNamespace(probabilities=equal, class_index=np.zeros(shape, np.int32))


def time_bare(predictor: Any, plan: Any) -> float:
    """Time the network on the calls of every group, one group's in memory at a time."""
    from fewshot.mapping.predict.blend import predict_group

    seconds, adapted = 0.0, plan.model.adapted
    for group in range(len(plan.layout)):
        recorder = Recorder(len(plan.values), per_pixel=plan.layout.per_pixel)
        predict_group(plan, group, recorder)  # type: ignore[arg-type]
        began = time.perf_counter()
        for pictures in recorder.calls:
            predictor.predict(adapted, pictures)
        seconds += time.perf_counter() - began
    return seconds


def time_plain(predictor: Any, plan: Any, folder: Path) -> float:
    """Time what a user would write: everything in memory, windows side by side, one call each."""
    import numpy as np
    import rasterio

    began, adapted = time.perf_counter(), plan.model.adapted
    with rasterio.open(folder / "scene.tif") as raster:
        pixels, profile = np.moveaxis(raster.read(), 0, -1).astype(np.float32), raster.profile
    side = plan.layout.picture
    step = side if plan.layout.per_pixel else plan.layout.stride
    around = (side - step) // 2
    padded = np.pad(pixels, ((around, side), (around, side), (0, 0)), mode="symmetric")
    found = np.zeros(pixels.shape[:2], np.uint8)
    for row in range(0, pixels.shape[0], step):
        lefts = range(0, pixels.shape[1], step)
        if plan.layout.per_pixel:
            for left in lefts:
                answer = predictor.predict(adapted, padded[None, row : row + side, left : left + side]).probabilities
                here = found[row : row + side, left : left + side]
                here[:] = answer[0].argmax(axis=-1)[: here.shape[0], : here.shape[1]]
        else:
            pictures = np.stack([padded[row : row + side, left : left + side] for left in lefts])
            line = predictor.predict(adapted, pictures).probabilities.argmax(axis=-1).astype(np.uint8)
            found[row : row + step] = line.repeat(step)[: pixels.shape[1]]
    profile |= {"count": 1, "dtype": "uint8", "nodata": None}
    profile.pop("predictor", None)
    with rasterio.open(folder / "plain.tif", "w", **profile) as raster:
        raster.write(found, 1)
    return time.perf_counter() - began


def time_map(predictor: Any, folder: Path, workers: int) -> float:
    """Time a map, in this process or on warm workers."""
    from contextlib import nullcontext

    from fewshot.mapping.predict.cluster import local_workers, run_on
    from fewshot.mapping.predict.pipeline import run_here
    from fewshot.mapping.region_map import map_scene

    request = make_request(folder, folder / f"map{workers}.tif")
    with local_workers(workers) if workers else nullcontext() as client:
        engine = run_on(client, predictor) if client else run_here(predictor)
        if client:
            map_scene(predictor, engine, request)  # each worker loads the model
        began = time.perf_counter()
        map_scene(predictor, engine, request)
        return time.perf_counter() - began


def summarise(rounds: list[dict[str, dict[str, float]]], side: int, kind: str) -> dict[str, Any]:
    """Return the median ratios and the peak memory."""

    def ratio(one: str, two: str) -> float:
        return statistics.median(found[one]["seconds"] / found[two]["seconds"] for found in rounds)

    return {
        "scene": [side, side, len(BANDS)],
        "model": kind,
        "cores": os.cpu_count(),
        "map / bare network": ratio("map", "bare"),
        "map / plain loop": ratio("map", "plain"),
        "1 worker / 2 workers": ratio("workers 1", "workers 2"),
        "1 core / 2 workers": ratio("1 core", "workers 2"),
        "peak_mb": {name: max(found[name]["peak_mb"] for found in rounds) for name in CONTENDERS},
        "seconds": {name: [found[name]["seconds"] for found in rounds] for name in CONTENDERS},
    }


def print_figures(figures: dict[str, Any]) -> None:
    """Print the ratios beside what is asked for."""
    asked = {"map / bare network": "<= 1.2", "1 worker / 2 workers": ">= 1.6 with two free cores"}
    print(f"{figures['model']} model, scene of {figures['scene'][0]}x{figures['scene'][1]}, {figures['cores']} cores")
    for name in ("map / bare network", "map / plain loop", "1 worker / 2 workers", "1 core / 2 workers"):
        print(f"  {name:24} {figures[name]:.2f}  {asked.get(name, '')}")
    for name, peak in figures["peak_mb"].items():
        print(f"  peak memory, {name:12} {peak:.0f} MB")


if __name__ == "__main__":
    main()
