"""Does the server's count of what a request takes agree with what it takes?

    python benchmarks/cost.py [--only NAME ...] [--json FILE]

Networks of several kinds are exported with the weights they start with, and adapt and predict in this process. The
count is the server's own, from the card and the shapes. Time is the processor's, all threads together, so that other
work on the machine matters little; memory is how far the peak rises above what the process holds before the call.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fewshot.data.earth.files import write_earth  # noqa: E402 (the root must be on the path first)
from fewshot.exported.predictor import LocalPredictor  # noqa: E402
from fewshot.training.recipe import read_recipe  # noqa: E402
from fewshot.training.train import train  # noqa: E402
from serving.graph.export import export  # noqa: E402
from serving.server.cost import Work, work_of  # noqa: E402

MEGABYTE = 1e6
ONE_UPDATE = ["training.updates=1", "training.validate_every=1", "training.validation_tasks=1"]
PATCHES = ["network.filters=64", "network.blocks=4", 'network.readout="average"']
PIXELS = ["data.split=random", "data.train=2", "data.validation=1", "data.test=0", "tasks.disjoint_sources=false"]
NETWORKS = {
    "Conv-4/64": ("demo", PATCHES),
    "U-Net 32": ("synthetic-segmentation", [*PIXELS, "network.widths=[32]"]),
    "U-Net 16-32-64": ("synthetic-segmentation", [*PIXELS, "network.widths=[16, 32, 64]"]),
    "U-Net 32-64-128-256": ("synthetic-segmentation", [*PIXELS, "network.widths=[32, 64, 128, 256]"]),
}
REQUESTS = [(8, 32, 5), (8, 64, 5), (8, 64, 20), (8, 128, 5), (32, 64, 5), (32, 64, None)]
"""Pictures, their side and inner steps; None for a prediction."""


@dataclass(frozen=True)
class Row:
    """One request, what was counted and what it took.

    Attributes:
        steps: None for a prediction.
        seconds: Of the processor.
        megabytes: That the peak rose by.
    """

    network: str
    pictures: int
    side: int
    steps: int | None
    counted: Work
    seconds: float
    megabytes: float


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*NETWORKS], default=[*NETWORKS], help="some of the networks")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        earth = Path(name) / "earth"
        write_earth(earth, regions=4, seed=3, patches_per_region=1)
        for number, network in enumerate(options.only):
            recipe, settings = NETWORKS[network]
            run = Path(name) / str(number)
            data = [] if recipe == "demo" else [earth]
            learner = None if recipe == "demo" else "proto-maml"
            train(read_recipe(recipe, learner=learner, settings=[*settings, *ONE_UPDATE]), data, run, verbose=0)
            model = LocalPredictor(export(run, Path(name) / "models"))
            rows += [measured(network, model, *request) for request in REQUESTS]
            for row in rows[-len(REQUESTS) :]:
                print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def measured(network: str, model: LocalPredictor, pictures: int, side: int, steps: int | None) -> Row:
    """Ask once to warm up, and then to measure."""
    card, rng = model.card(), np.random.default_rng(0)
    x = rng.random((pictures, side, side, len(card.bands)), np.float32)
    labels = np.arange(pictures, dtype=np.int32) % 4
    y = np.broadcast_to(labels[:, None, None], x.shape[:3]) if card.output == "pixel" else labels
    adapted = model.adapt(x[:4], y[:4], steps=0)
    if steps is None:
        inputs = {"adapted": adapted.vector, "query_x": x}
        counted = work_of(card, "predict", inputs)
        seconds, megabytes = taken(lambda: model.call("predict", inputs))
    else:
        counted = work_of(card, "adapt", {"support_x": x, "support_y": y, "steps": np.array(steps, np.int32)})
        seconds, megabytes = taken(lambda: model.adapt(x, y, steps=steps))
    return Row(network, pictures, side, steps, counted, seconds, megabytes)


def taken(call: Callable[[], object]) -> tuple[float, float]:
    """Return the processor's seconds of a call, and the megabytes that its peak rises by."""
    call()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    held, begun = memory("VmRSS"), time.process_time()
    call()
    return time.process_time() - begun, memory("VmHWM") - held


def memory(key: str) -> float:
    """Return megabytes that this process holds, or held at its peak."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / MEGABYTE for line in lines if line.startswith(key))


def line(row: Row) -> str:
    """Return a row of the table."""
    what = "predict" if row.steps is None else f"{row.steps} steps"
    request = f"{row.network} | {row.pictures} of {row.side}x{row.side} | {what}"
    time_taken = f"{row.counted.gflop:.1f} | {row.seconds:.2f} | {row.counted.gflop / row.seconds:.0f}"
    return f"| {request} | {time_taken} | {row.counted.megabytes:.0f} | {row.megabytes:.0f} |"


if __name__ == "__main__":
    main()
