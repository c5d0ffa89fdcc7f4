"""What all contenders share: one problem, one set of numbers to start from, one way of being timed.

A contender is a process of its own, so that each has its own threads and libraries. It is given the problem as an
.npz file, says what loss and gradient it finds there, and then waits: each line it reads is a number of seconds to
train for, each line it writes is a JSON object. Only NumPy is needed here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

WAYS, SHOTS, QUERIES, TASKS = 5, 1, 15, 4
SIZE, BANDS, FILTERS, BLOCKS = 28, 1, 64, 4
INNER_RATE, META_RATE = 0.4, 1e-3
NORM_EPSILON, ADAM_EPSILON = 1e-3, 1e-7
WARM_UP = 3

Arrays = dict[str, NDArray[Any]]


class Contender(Protocol):
    """One implementation of the meta-update."""

    version: str

    def measure(self) -> tuple[float, float]:
        """Return the mean query loss after adaptation and the global norm of its gradient, at the present weights."""
        ...

    def update(self) -> None:
        """Make one meta-update with Adam, and return when it is done."""
        ...


def threads(*, intra: int, inter: int) -> dict[str, str]:
    """Return the variables that say how many threads TensorFlow has within an operation, and for operations."""
    return {"TF_NUM_INTRAOP_THREADS": str(intra), "TF_NUM_INTEROP_THREADS": str(inter), "OMP_NUM_THREADS": str(intra)}


def parameter_names() -> list[str]:
    """Names of the parameters, in the order that every contender keeps them."""
    blocks = [f"{kind}{i}" for i in range(1, BLOCKS + 1) for kind in ("kernel", "gamma", "beta")]
    return [*blocks, "head_kernel", "head_bias"]


def make_problem(seed: int = 0) -> Arrays:
    """Draw weights and one meta-batch.

    Returns:
        The parameters by name, kernels as [3, 3, in, out] and the head's as [features, ways], and `support_x`
        [tasks, ways*shots, H, W, bands], `support_y` [tasks, ways*shots], `query_x`, `query_y`; float32 and int32.
        Images are noise around a pattern of their class: no two pixels tie in a pooling window, where frameworks
        may differ in what they call the derivative.
    """
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}
    for i in range(1, BLOCKS + 1):
        inputs = BANDS if i == 1 else FILTERS
        arrays[f"kernel{i}"] = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (3, 3, inputs, FILTERS))
        arrays[f"gamma{i}"] = rng.normal(1, 0.1, FILTERS)
        arrays[f"beta{i}"] = rng.normal(0, 0.1, FILTERS)
    arrays["head_kernel"] = rng.normal(0, 0.1, (FILTERS, WAYS))
    arrays["head_bias"] = rng.normal(0, 0.01, WAYS)
    patterns = rng.normal(0, 1, (TASKS, WAYS, 1, SIZE, SIZE, BANDS))
    for name, count in (("support", SHOTS), ("query", QUERIES)):
        noise = rng.normal(0, 1, (TASKS, WAYS, count, SIZE, SIZE, BANDS))
        arrays[f"{name}_x"] = (patterns + noise).reshape(TASKS, WAYS * count, SIZE, SIZE, BANDS)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    for name, count in (("support", SHOTS), ("query", QUERIES)):
        labels = np.repeat(np.arange(WAYS, dtype=np.int32), count)
        arrays[f"{name}_y"] = np.broadcast_to(labels, (TASKS, WAYS * count)).copy()
    return arrays


def write_problem(path: Path) -> None:
    """Write a problem to an .npz file."""
    arrays: Any = make_problem()  # NumPy's own types take keyword arrays for its options
    np.savez(path, **arrays)


def flops_per_task() -> int:
    """Floating-point operations that one task's share of a meta-update needs, counted from the formulas.

    Convolutions and matrix products only, two operations a multiply-add, zeros of the padding left out;
    normalisation, ReLU, pooling and Adam are left out too (XLA's own count of the JAX step, with them, is 4 %
    higher). With F the products of a layer's forward pass:

    * A query passes forward (F), and backward to the adapted weights (F) and to the layer's input (F): 3 F.
    * A support example passes forward (F) and backward in the inner loop (2 F). The outer gradient then goes back
      through all three products, and each of them has two factors: 6 F more. In all 9 F.
    * The first layer's input is data, which has no gradient: its inner backward pass is one product, and the outer one
      needs one factor of the forward and one of that product. In all 4 F for support, 2 F for queries.
    """
    total, size = 0, SIZE
    for i in range(1, BLOCKS + 1):
        inputs = BANDS if i == 1 else FILTERS
        taps = (3 * size - 2) ** 2  # pairs of a kernel's and an image's pixel that meet, over all positions
        forward = 2 * taps * inputs * FILTERS
        support, query = (4, 2) if i == 1 else (9, 3)
        total += WAYS * (SHOTS * support + QUERIES * query) * forward
        size //= 2
    return total + WAYS * (SHOTS * 9 + QUERIES * 3) * 2 * FILTERS * WAYS


def serve(make: Callable[[str, Arrays], Contender]) -> None:
    """Be a contender: `python -m MODULE VARIANT PROBLEM.npz`.

    Writes a line with the version, the loss and gradient norm at the start and the loss after one update; then, for
    each line of seconds read, a line with the number of updates made and the seconds they took.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not mix with the answers
    variant, path = sys.argv[1:3]
    with np.load(path) as problem:
        contender = make(variant, dict(problem))

    def answer(**fields: object) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    loss, norm = contender.measure()
    contender.update()
    after, _ = contender.measure()
    for _ in range(WARM_UP):
        contender.update()
    answer(version=contender.version, loss=loss, gradient_norm=norm, loss_after_update=after)
    for line in sys.stdin:
        updates, begin, end = 0, time.perf_counter(), time.perf_counter()
        while end - begin < float(line):
            contender.update()
            updates, end = updates + 1, time.perf_counter()
        answer(updates=updates, seconds=end - begin)
