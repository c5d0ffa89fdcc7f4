"""How long does the first meta-update take, and each one after it, by what TensorFlow rewrites of its graph?

    python benchmarks/first_update.py [--rounds 2] [--later 10] [--only WORD ...]

Of each network, four tasks of five classes with a support and five query examples each (the U-Net: five and eight
windows of 32 pixels): seconds of the first update, tracing included, and the median of those after it. `all` is what
TensorFlow does by itself, `pruned` the least of it, `none` the graph as it was traced; `threads` is pruned with a
thread a task, which is what `fewshot train` asks for. Every figure is of a process of its own, all of them in turn; the
machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

NETWORKS = ("Conv-4/64, pooling, 1 step", "Conv-4/64, strides, 1 step", "U-Net 16-32-64, 3 steps")
MODES = ("all", "none", "pruned", "threads")
WAYS, TASKS = 5, 4


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="processes of each, in turn (2)")
    parser.add_argument("--later", type=int, default=10, help="updates after the first (10)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="networks whose name has one of these words")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, later=options.later)))
        return
    networks = [name for name in NETWORKS if not options.only or any(word in name for word in options.only)]
    found: dict[tuple[str, str], list[dict[str, float]]] = {(n, mode): [] for n in networks for mode in MODES}
    for _ in range(options.rounds):
        for key, rows in found.items():
            rows.append(run(*key, later=options.later))
    print("| network | " + " | ".join(f"{when}, {mode}" for when in ("first", "later") for mode in MODES) + " |")
    print("|---" * (1 + 2 * len(MODES)) + "|")
    for name in networks:
        cells = [
            ", ".join(f"{row[when]:.3g}" for row in found[name, mode]) for when in ("first", "later") for mode in MODES
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def run(network: str, mode: str, *, later: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--later", str(later), "--one", network, mode]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(network: str, mode: str, *, later: int) -> dict[str, float]:
    """Return the seconds of the first update and the median of those after it."""
    import tensorflow as tf

    from fewshot.training.graphs import only_pruned
    from fewshot.training.threads import a_thread_a_task

    if mode == "threads":
        a_thread_a_task(TASKS)
    if mode == "none":
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    with only_pruned() if mode in {"pruned", "threads"} else nullcontext():
        learner, batch = make(network)
        step, times = tf.function(learner.train_step), []
        for _ in range(later + 1):
            began = time.perf_counter()
            step(batch)
            times.append(time.perf_counter() - began)
    return {"first": times[0], "later": statistics.median(times[1:])}


def make(network: str) -> tuple[Any, Any]:
    """Return a compiled learner and a meta-batch for it."""
    import keras
    import numpy as np
    import tensorflow as tf

    from fewshot.meta import InnerLoop, InnerRates, MetaLearner
    from fewshot.models import conv4, make_head, unet

    rng, pixels = np.random.default_rng(0), network.startswith("U-Net")
    shape, counts = ((32, 32, 4), (5, 8)) if pixels else ((28, 28, 1), (WAYS, 5 * WAYS))
    if pixels:
        body = unet(shape, filters=(16, 32, 64), normalization="support")
    else:
        body = conv4(shape, filters=64, downsample="stride" if "strides" in network else "pool")
    head = make_head("fixed", outputs=WAYS)
    steps = int(network.split(", ")[-1].split()[0])
    learner = MetaLearner(body, head, InnerRates("constant", initial=0.05), InnerLoop(steps=steps))
    learner.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    learner.optimizer.build(learner.trainable_variables)
    pictures = [rng.random((TASKS, n, *shape), np.float32) for n in counts]
    labels = [rng.integers(0, WAYS, (TASKS, n, *(shape[:2] if pixels else ()))).astype(np.int32) for n in counts]
    return learner, tf.nest.map_structure(tf.constant, ((pictures[0], labels[0], pictures[1]), labels[1]))


if __name__ == "__main__":
    main()
