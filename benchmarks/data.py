"""Reading land cover: is a meta-update kept fed, and how far is reading from raw `rasterio`?

    python benchmarks/data.py [--rounds 5] [--folder DIR]

Everything is measured side by side in one run, on a simulated Earth in SEN12MS's layout, and given as ratios:

- waiting: share of a Conv-4 meta-update (2-way 2-shot, 128 pixels, 13 bands, from records) that is spent waiting for
  data, from the time of updates fed by the stream and of updates on one meta-batch held in memory;
- reading: windows a second of the store over those of bare rasterio window reads of the same files in as many threads;
- opening: seconds to open the index of a region of 10,000 patches;
- memory: growth of the process when such an index is opened.
"""

from __future__ import annotations

import argparse
import functools
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import rasterio
import tensorflow as tf
from rasterio.windows import Window

from fewshot.data.earth.files import write_earth
from fewshot.data.sources.prepared import PREPARED, Prepared, RegionIndex
from fewshot.data.sources.sen12ms import Cut, read_sen12ms
from fewshot.data.sources.sen12ms_index import IMAGE, THREADS, prepare
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_head
from fewshot.tasks.sources import RegionTasks
from fewshot.tasks.stream import stream
from fewshot.tasks.task import TaskSpec

WINDOW = 128
OPTICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
UPDATES = 10
"""Meta-updates timed at a time."""
READS = 256
"""Windows read at a time."""


def make_tree(folder: Path) -> Path:
    """Write and prepare a simulated tree, if it is not there."""
    tree = folder / "earth"
    write_earth(tree, regions=6, patches_per_region=36)
    prepare(tree, tree / PREPARED.format(window=WINDOW), window=WINDOW, records=True)
    return tree


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_waiting(tree: Path, rounds: int) -> list[float]:
    """Return, for each round, the share of an update fed by the stream that a held meta-batch does not need."""
    data = read_sen12ms(tree, Cut(WINDOW, bands=OPTICAL))
    learner = MetaLearner(
        conv4(data.store.shape, filters=64, blocks=6, normalization="support"),
        make_head("fixed", outputs=len(data.classes), restrict=True),
        InnerRates("per_parameter", initial=0.05),
        InnerLoop(steps=1),
    )
    learner.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    source = RegionTasks(data, TaskSpec(2, 2, 2, labels="global"))
    fed = stream(source, meta_batch_size=4, seed=0)
    held = fed.take(1).cache().repeat()
    learner.make_train_function()
    step = learner.train_function
    shares = []
    for number in range(rounds + 1):
        times = {}
        for name, batches in (("fed", fed), ("held", held)):
            iterator = iter(batches)
            step(iterator)
            start = time.perf_counter()
            for _ in range(UPDATES):
                float(step(iterator)["loss"])
            times[name] = time.perf_counter() - start
        if number:  # the first round traces
            shares.append(1 - times["held"] / times["fed"])
    return shares


def measure_reading(tree: Path, rounds: int, *, records: bool) -> list[float]:
    """Return, for each round, the store's speed over that of bare rasterio on the same windows and threads."""
    root = tree / PREPARED.format(window=WINDOW) if records else tree
    if not records:
        (tree / PREPARED.format(window=WINDOW)).rename(tree / "aside")
    try:
        store = read_sen12ms(root, Cut(WINDOW, bands=OPTICAL)).store
    finally:
        if not records:
            (tree / "aside").rename(tree / PREPARED.format(window=WINDOW))
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(rounds):
        chosen = rng.integers(len(store.names), size=READS)
        places = [_place(tree, store.names[int(number)]) for number in chosen]
        ours = timed(functools.partial(store.read, chosen))
        raw = timed(functools.partial(_read_raw, places))
        ratios.append(raw / ours)
    return ratios


def _place(tree: Path, name: str) -> tuple[Path, Window]:
    """Return the file and window that a window's name stands for."""
    region, _, rest = name.partition("/p")
    season, place = region.split("_")
    patch, square = (int(part) for part in rest.split("_"))
    (path,) = tree.glob(f"ROIs*_{season}/s2_{place}/*_p{patch}.tif")
    row, column = divmod(square, IMAGE // WINDOW)
    return path, Window(column * WINDOW, row * WINDOW, WINDOW, WINDOW)


def _read_raw(places: list[tuple[Path, Window]]) -> None:
    """Read windows with nothing but rasterio, each thread keeping its files open."""
    local = threading.local()

    def read(place: tuple[Path, Window]) -> np.ndarray:
        path, window = place
        files = getattr(local, "files", None)
        if files is None:
            files = local.files = {}
        if path not in files:
            files[path] = rasterio.open(path)
        return files[path].read(window=window)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, places))


def measure_opening(folder: Path, rounds: int) -> tuple[list[float], float]:
    """Return the seconds to open a region of 10,000 patches, and the growth of memory in MB."""
    windows = 10_000 * (IMAGE // WINDOW) ** 2
    rng = np.random.default_rng(0)
    index = RegionIndex(
        name="spring_1",
        place="1",
        folder="ROIs1158_spring",
        patches=np.repeat(np.arange(10_000, dtype=np.int32), windows // 10_000),
        squares=np.tile(np.arange(windows // 10_000, dtype=np.int16), 10_000),
        counts=rng.integers(0, 9000, (windows, 10)).astype(np.uint32),
        blocks=rng.integers(0, 600, windows).astype(np.int32),
    )
    made = folder / "large"
    index.save(made / "spring_1.npz")
    Prepared(made, folder, WINDOW, (index,)).finish()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = [timed(lambda: read_sen12ms(made, Cut(WINDOW))) for _ in range(rounds)]
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def summary(values: list[float], unit: str = "") -> str:
    """Write the median and range of a figure."""
    return f"{statistics.median(values):.3f}{unit} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="Keep the simulated tree here, to measure again.")
    asked = parser.parse_args()
    tf.config.set_soft_device_placement(True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        tree = make_tree(folder)
        seconds, grown = measure_opening(folder, asked.rounds)
        print(f"opening a region of 10,000 patches: {summary(seconds, ' s')}, {grown:.0f} MB")
        print(f"store / rasterio, GeoTIFFs: {summary(measure_reading(tree, asked.rounds, records=False))}")
        print(f"store / rasterio, records:  {summary(measure_reading(tree, asked.rounds, records=True))}")
        print(f"share of an update spent waiting for data: {summary(measure_waiting(tree, asked.rounds))}")


if __name__ == "__main__":
    main()
