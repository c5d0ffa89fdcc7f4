"""At what share of the machine's matrix rate do the convolutions of a meta-update run, and would others be faster?

    python benchmarks/update_parts.py [--rounds 15] [--json FILE]

The four 3x3 convolutions of Conv-4/64 at 28x28, for the five support pictures of a 5-way 1-shot task and for its 75
queries, one thread. Of each the forward pass, the gradient of its input and that of its kernel as TensorFlow has them,
and what could take their place:

    patches     a matrix product with every pixel's 3x3 neighbourhood laid out
    forward     the gradient of the input as a forward convolution with the kernel turned; the gradient of the kernel
                as one of the pictures with the gradient, channels in place of pictures
    shifted     the gradient of the kernel as nine matrix products, one of each shift

Milliseconds are the least over the rounds, all ways in turn; the share is of the rate of a float32 matrix product of
1024x1024 in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 (threads are set before)
import tensorflow as tf  # noqa: E402

LAYERS = ((28, 1), (14, 64), (7, 64), (3, 64))
"""Side of the picture and channels that go in; 64 come out."""
FILTERS, SIDE = 64, 1024
COUNTS = {"support": 5, "queries": 75}
Way = tuple[Callable[..., Any], tuple[Any, ...]]
"""How something is computed, and from what."""


def patches(x: tf.Tensor) -> tf.Tensor:
    """Lay out the 3x3 neighbourhood of every pixel [n, s, s, c]; return [n s s, 9 c]."""
    laid = tf.image.extract_patches(x, [1, 3, 3, 1], [1, 1, 1, 1], [1, 1, 1, 1], "SAME")
    return tf.reshape(laid, [-1, laid.shape[-1]])


def shifted(x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Return the kernel's gradient [9, c, k] from nine matrix products."""
    side, channels = x.shape[1], x.shape[3]
    wide, flat = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), tf.reshape(gradient, [-1, gradient.shape[-1]])
    moved = [tf.reshape(wide[:, i : i + side, j : j + side], [-1, channels]) for i in range(3) for j in range(3)]
    return tf.stack([tf.matmul(one, flat, transpose_a=True) for one in moved])


def turned(x: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Return the kernel's gradient [c, 3, 3, k] as a forward convolution, pictures in place of channels."""
    by_channel = tf.transpose(x, [3, 1, 2, 0])
    return tf.nn.conv2d(by_channel, tf.transpose(gradient, [1, 2, 0, 3]), 1, [[0, 0], [1, 1], [1, 1], [0, 0]])


def ways_of(x: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor) -> dict[str, Way]:
    """Return every way to compute each of the three, and what it takes.

    Args:
        x: Pictures [n, s, s, c].
        kernel: [3, 3, c, k].
        gradient: Of the result [n, s, s, k].
    """
    across = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
    options: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    matrix, flat = tf.reshape(kernel, [-1, kernel.shape[-1]]), tf.reshape(gradient, [-1, gradient.shape[-1]])
    back_input, back_kernel = tf.raw_ops.Conv2DBackpropInput, tf.raw_ops.Conv2DBackpropFilter
    made: dict[str, Way] = {
        "result": (lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), (x, kernel)),
        "result, patches": (lambda x, w: tf.matmul(patches(x), w), (x, matrix)),
        "input": (
            lambda w, g: back_input(input_sizes=x.shape, filter=w, out_backprop=g, **options),
            (kernel, gradient),
        ),
        "input, forward": (lambda w, g: tf.nn.conv2d(g, w, 1, "SAME"), (across, gradient)),
        "kernel": (
            lambda x, g: back_kernel(input=x, filter_sizes=kernel.shape, out_backprop=g, **options),
            (x, gradient),
        ),
        "kernel, patches": (lambda x, g: tf.matmul(patches(x), g, transpose_a=True), (x, flat)),
        "kernel, shifted": (shifted, (x, gradient)),
        "kernel, forward": (turned, (x, gradient)),
    }
    return {name: (tf.function(way), given) for name, (way, given) in made.items()}


def least(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Return the least seconds of each way, all of them in turn."""
    found = dict.fromkeys(ways, float("inf"))
    for number in range(rounds + 2):
        for name, (way, given) in ways.items():
            began = time.perf_counter()
            way(*given)
            if number > 1:  # the first trace, and choose their primitives
                found[name] = min(found[name], time.perf_counter() - began)
    return found


def main() -> None:
    """Measure every layer and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="of all ways in turn (15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    square = tf.constant(rng.random((SIDE, SIDE)), tf.float32)
    product = least({"product": (tf.function(tf.matmul), (square, square))}, options.rounds)["product"]
    rate = 2 * SIDE**3 / product
    found: dict[str, Any] = {"gflops": rate / 1e9}
    print(f"Matrix product: {rate / 1e9:.0f} GFLOP/s. Milliseconds, and the share of that rate:\n")
    for part, count in COUNTS.items():
        for side, channels in LAYERS:
            shapes = (count, side, side, channels), (3, 3, channels, FILTERS), (count, side, side, FILTERS)
            times = least(ways_of(*(tf.constant(rng.random(shape), tf.float32) for shape in shapes)), options.rounds)
            work = 2 * count * side * side * 9 * channels * FILTERS
            found[f"{part} {side}x{side}x{channels}"] = times
            if (part, side) == ("support", LAYERS[0][0]):
                print(f"| pictures | {' | '.join(times)} |\n|{'---|' * (len(times) + 1)}")
            cells = [f"{1e3 * seconds:.2f} ({work / seconds / rate:.0%})" for seconds in times.values()]
            print(f"| {count} of {side}x{side}x{channels} | {' | '.join(cells)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
