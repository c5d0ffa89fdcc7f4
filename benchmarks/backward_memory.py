"""Peak memory of one meta-update of a U-Net, by the way the meta-gradient passes through 1, 5, 20 and 50 inner steps.

    python benchmarks/backward_memory.py [--only WAY ...]

Each figure is of a process of its own: the peak of resident memory over what was resident before the update. It is the
first one, preparing its graph included: TensorFlow keeps what it was given, so that later updates show nothing.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

STEPS = (1, 5, 20, 50)
WAYS_BACK = ("exact", "checkpointed", "first_order", "truncated", "implicit")


def peak_of(backward: str, steps: int, side: int) -> float:
    """Return the peak of one update, in MB, measured in this process.

    Args:
        backward: How the meta-gradient passes.
        steps: Inner steps.
        side: Of a picture, pixels.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from fewshot.meta import InnerLoop, InnerRates, MetaLearner
    from fewshot.models import make_head, unet
    from fewshot.training.graphs import only_pruned

    pull = 2.0 if backward == "implicit" else 0.0
    inner = InnerLoop(steps=steps, backward=backward, proximity=pull)
    body = unet((side, side, 4), filters=(16, 32, 64), normalization="group")
    learner = MetaLearner(body, make_head("fixed", outputs=5), InnerRates(initial=0.01), inner)
    learner.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    pictures = tf.constant(rng.random((1, 5, side, side, 4)), tf.float32)
    labels = tf.constant(rng.integers(0, 5, (1, 5, side, side)), tf.int32)

    @tf.function
    def update() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = learner.compute_loss((pictures, labels, pictures), labels, [])
        return tape.gradient(loss, learner.body.trainable_variables)

    update.get_concrete_function()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with only_pruned():  # as `fewshot train` does
        update()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Measure every way back after every number of steps, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("BACKWARD", "STEPS"), help="measure this one, in this process")
    parser.add_argument("--side", type=int, default=64, help="pixels of a picture's side")
    parser.add_argument("--only", nargs="+", default=WAYS_BACK, choices=WAYS_BACK, help="ways back (all)")
    asked = parser.parse_args()
    if asked.one:
        print(peak_of(asked.one[0], int(asked.one[1]), asked.side))
        return
    print(f"{'MB':14}" + "".join(f"{steps:>8}" for steps in STEPS))
    for backward in asked.only:
        row = f"{backward:14}"
        for steps in STEPS:
            if backward == "implicit" and steps < 10:
                row += f"{'-':>8}"
                continue
            command = [sys.executable, __file__, "--one", backward, str(steps), "--side", str(asked.side)]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            row += f"{float(found.stdout.split()[-1]):8.0f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
