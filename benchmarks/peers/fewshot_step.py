"""The meta-update as `MetaLearner.fit` makes it: Keras's own train function, fed from `tf.data`."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.peers import protocol
from benchmarks.peers.protocol import Arrays
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_head
from fewshot.training.graphs import only_pruned
from fewshot.training.threads import a_thread_a_task


def make_learner(inner_steps: int = 1, *, jit_compile: bool = False) -> MetaLearner:
    """Second-order MAML on Conv-4 with a fixed head, compiled with Adam."""
    body = conv4((protocol.SIZE, protocol.SIZE, protocol.BANDS), filters=protocol.FILTERS, blocks=protocol.BLOCKS)
    learner = MetaLearner(
        body,
        make_head("fixed", outputs=protocol.WAYS),
        InnerRates("constant", initial=protocol.INNER_RATE),
        InnerLoop(steps=inner_steps),
    )
    adam = keras.optimizers.Adam(protocol.META_RATE, epsilon=protocol.ADAM_EPSILON)
    learner.compile(adam, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=jit_compile)
    return learner


class FewshotContender:
    """Keras's own train function over an endless stream of the problem's meta-batch."""

    version = f"fewshot, TensorFlow {tf.__version__}, Keras {keras.__version__}"

    def __init__(self, arrays: Arrays, *, jit_compile: bool) -> None:
        """Take over weights and data."""
        self.learner = make_learner(jit_compile=jit_compile)
        self.variables = self.learner.trainable_variables  # the body's, then the head's
        for variable, name in zip(self.variables, protocol.parameter_names(), strict=True):
            variable.assign(arrays[name])
        self.inputs = tuple(tf.constant(arrays[name]) for name in ("support_x", "support_y", "query_x"))
        self.query_y = tf.constant(arrays["query_y"])
        stream = tf.data.Dataset.from_tensors((self.inputs, self.query_y)).repeat().prefetch(2)
        self.stream = iter(stream)
        self.learner.make_train_function()

    @tf.function
    def gradients(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss and its gradient's norm."""
        with tf.GradientTape() as tape:
            loss = self.learner.compute_loss(self.inputs, self.query_y, [])
        gradients = tape.gradient(loss, [variable.value for variable in self.variables])
        return loss, tf.linalg.global_norm(gradients)

    def measure(self) -> tuple[float, float]:
        """Return loss and gradient norm."""
        loss, norm = self.gradients()
        return float(loss), float(norm)

    def update(self) -> None:
        """One meta-update."""
        self.learner.train_function(self.stream)


def make(variant: str, arrays: Arrays) -> FewshotContender:
    """Make the contender: as users run it, compiled by XLA, or with convolutions and maps in bfloat16."""
    if variant == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    return FewshotContender(arrays, jit_compile=variant == "xla")


def trace(tasks: int, inner_steps: int) -> None:
    """Write how long the train step takes to trace, the first update (with the graph's optimisation), the next."""
    rng = np.random.default_rng(0)
    counts = (protocol.WAYS * protocol.SHOTS, protocol.WAYS * protocol.QUERIES)
    images = [rng.random((tasks, n, protocol.SIZE, protocol.SIZE, protocol.BANDS), np.float32) for n in counts]
    labels = [rng.integers(0, protocol.WAYS, (tasks, n)).astype(np.int32) for n in counts]
    batch = ((images[0], labels[0], images[1]), labels[1])
    learner = make_learner(inner_steps)
    learner.optimizer.build(learner.trainable_variables)
    batch = tf.nest.map_structure(tf.constant, batch)
    step = tf.function(learner.train_step)  # as Keras makes of it
    begin = time.perf_counter()
    step.get_concrete_function(batch)
    traced = time.perf_counter()
    step(batch)
    first = time.perf_counter()
    step(batch)
    last = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = {"trace_s": traced - begin, "first_update_s": first - traced, "next_update_s": last - first}
    print(json.dumps({**times, "peak_mb": peak}))


if __name__ == "__main__":
    a_thread_a_task(protocol.TASKS)
    with contextlib.nullcontext() if sys.argv[1] == "rewritten" else only_pruned():  # as `fewshot train` does
        if sys.argv[1] == "trace":
            trace(int(sys.argv[2]), int(sys.argv[3]))
        else:
            protocol.serve(make)
