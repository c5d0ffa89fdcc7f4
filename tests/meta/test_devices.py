"""Two devices give what one gives: MirroredStrategy over two logical CPUs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from fewshot.meta import InnerLoop, InnerRates, MetaLearner
from fewshot.models import conv4, make_head

def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        learner = MetaLearner(conv4((8, 8, 1), filters=4, blocks=2, normalization="support"), make_head("prototype"),
                              InnerRates("per_parameter", initial=0.1), InnerLoop(steps=2))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        learner.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    rng = np.random.default_rng(0)
    y = np.tile(np.arange(3, dtype="int32"), (12, 2))
    x = (rng.random((12, 6, 8, 8, 1)).astype("float32"), y, rng.random((12, 6, 8, 8, 1)).astype("float32"))
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4, drop_remainder=True)
    learner.fit(data, epochs=2, verbose=0)
    return [np.asarray(v) for v in learner.trainable_variables]

one, two = train(tf.distribute.get_strategy()), train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
worst = max(np.abs(a - b).max() for a, b in zip(one, two))
moved = max(np.abs(a).max() for a in one)
print("worst difference", worst, "largest weight", moved)
assert worst < 1e-5, worst
"""


@pytest.mark.slow
def test_two_devices_train_the_same_weights_as_one() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "worst difference" in done.stdout
