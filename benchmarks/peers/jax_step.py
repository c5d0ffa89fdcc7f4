"""The meta-update in JAX: gradient of gradient under `jit`, over the tasks by `vmap` or by a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.peers import protocol
from benchmarks.peers.protocol import Arrays

Tree = dict[str, jax.Array]


def forward(parameters: Tree, x: jax.Array) -> jax.Array:
    """Conv-4 and a linear layer: images [n, H, W, bands] to logits [n, ways]."""
    for i in range(1, protocol.BLOCKS + 1):
        x = jax.lax.conv_general_dilated(
            x, parameters[f"kernel{i}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        scale = parameters[f"gamma{i}"] * jax.lax.rsqrt(variance + protocol.NORM_EPSILON)
        x = jax.nn.relu(pool((x - mean) * scale + parameters[f"beta{i}"]))
    return x.reshape(x.shape[0], -1) @ parameters["head_kernel"] + parameters["head_bias"]


def pool(x: jax.Array) -> jax.Array:
    """2x2 max-pooling by three maxima.

    On CPU its second derivatives run half again as fast as those of `reduce_window`, and the obvious reshape with
    `max` is compiled to wrong ones (JAX 0.10.2; right without `jit`).
    """
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def cross_entropy(parameters: Tree, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean loss over examples."""
    scores = jax.nn.log_softmax(forward(parameters, x))
    return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()


def task_loss(parameters: Tree, sx: jax.Array, sy: jax.Array, qx: jax.Array, qy: jax.Array) -> jax.Array:
    """Query loss after one inner step."""
    gradients = jax.grad(cross_entropy)(parameters, sx, sy)
    adapted = jax.tree.map(lambda p, g: p - protocol.INNER_RATE * g, parameters, gradients)
    return cross_entropy(adapted, qx, qy)


def loss_by_vmap(parameters: Tree, *tasks: jax.Array) -> jax.Array:
    """Mean over all tasks at once."""
    return jax.vmap(task_loss, in_axes=(None, 0, 0, 0, 0))(parameters, *tasks).mean()


def loss_by_loop(parameters: Tree, *tasks: jax.Array) -> jax.Array:
    """Mean over tasks written out one by one in the compiled program."""
    losses = [task_loss(parameters, *(part[i] for part in tasks)) for i in range(protocol.TASKS)]
    return jnp.stack(losses).mean()


class JaxContender:
    """Adam, written out, in the same compiled program as the gradient."""

    version = f"JAX {jax.__version__}"

    def __init__(self, arrays: Arrays, loss: Callable[..., jax.Array]) -> None:
        """Take over weights and data, and compile."""
        names = protocol.parameter_names()
        self.parameters = {name: jnp.asarray(arrays[name]) for name in names}
        self.tasks = [jnp.asarray(arrays[name]) for name in ("support_x", "support_y", "query_x", "query_y")]
        zeros = jax.tree.map(jnp.zeros_like, self.parameters)
        self.moments, self.squares, self.count = zeros, jax.tree.map(jnp.zeros_like, zeros), jnp.zeros(())
        self.gradient = jax.jit(jax.value_and_grad(loss))

        def step(parameters: Tree, m: Tree, v: Tree, count: jax.Array, *tasks: jax.Array) -> tuple[Any, ...]:
            gradients = jax.grad(loss)(parameters, *tasks)
            count = count + 1
            m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, gradients)
            v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradients)
            rate = protocol.META_RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            move = lambda p, a, b: p - rate * a / (jnp.sqrt(b) + protocol.ADAM_EPSILON)  # noqa: E731
            return jax.tree.map(move, parameters, m, v), m, v, count

        self.step = jax.jit(step, donate_argnums=(0, 1, 2, 3))

    def measure(self) -> tuple[float, float]:
        """Return loss and gradient norm."""
        loss, gradients = self.gradient(self.parameters, *self.tasks)
        squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradients)]
        return float(loss), float(jnp.sqrt(sum(squares[1:], squares[0])))

    def update(self) -> None:
        """One meta-update."""
        state = self.step(self.parameters, self.moments, self.squares, self.count, *self.tasks)
        self.parameters, self.moments, self.squares, self.count = jax.block_until_ready(state)


def make(variant: str, arrays: Arrays) -> JaxContender:
    """Make a contender of a variant."""
    return JaxContender(arrays, {"vmap": loss_by_vmap, "loop": loss_by_loop}[variant])


if __name__ == "__main__":
    protocol.serve(make)
