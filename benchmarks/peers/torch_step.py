"""The meta-update in PyTorch: a functional loop, `torch.func` in a loop and under `vmap`, and `higher`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F  # noqa: N812 (PyTorch's own custom)

from benchmarks.peers import protocol
from benchmarks.peers.protocol import Arrays

Task = tuple[Tensor, Tensor, Tensor, Tensor]
Losses = Callable[[nn.Sequential, Task], Tensor]


class PlainBatchNorm(nn.BatchNorm2d):
    """Batch normalisation written out: under `vmap` the built-in one's meta-gradient is off by 2e-4 (PyTorch 2.13)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise with the statistics of the batch."""
        mean = x.mean((0, 2, 3), keepdim=True)
        centred = x - mean
        scale = self.weight[:, None, None] * torch.rsqrt((centred**2).mean((0, 2, 3), keepdim=True) + self.eps)
        return centred * scale + self.bias[:, None, None]


def network(normalization: type[nn.BatchNorm2d] = nn.BatchNorm2d) -> nn.Sequential:
    """Conv-4 and a linear layer, its parameters in the protocol's order."""
    layers: list[nn.Module] = []
    for i in range(protocol.BLOCKS):
        inputs = protocol.BANDS if i == 0 else protocol.FILTERS
        layers += [
            nn.Conv2d(inputs, protocol.FILTERS, 3, padding=1, bias=False),
            normalization(protocol.FILTERS, eps=protocol.NORM_EPSILON, track_running_stats=False),
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(protocol.FILTERS, protocol.WAYS))


def forward(parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """The same network as a function of its parameters."""
    for i in range(protocol.BLOCKS):
        kernel, gamma, beta = parameters[3 * i : 3 * i + 3]
        x = F.conv2d(x, kernel, padding=1)
        x = F.batch_norm(x, None, None, gamma, beta, training=True, eps=protocol.NORM_EPSILON)
        x = F.relu(F.max_pool2d(x, 2))
    return F.linear(x.flatten(1), parameters[-2], parameters[-1])


class TorchContender:
    """Adam over the mean of the tasks' query losses; `task_losses` says how those are had."""

    version = f"PyTorch {torch.__version__}"

    def __init__(self, arrays: Arrays, model: nn.Sequential, losses: Losses) -> None:
        """Take over weights and data; axes become PyTorch's, which puts channels first."""
        self.model = model
        for parameter, name in zip(self.model.parameters(), protocol.parameter_names(), strict=True):
            array = torch.from_numpy(arrays[name])
            axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
            parameter.data = array.permute(axes).clone(memory_format=torch.contiguous_format)
        images = [torch.from_numpy(np.moveaxis(arrays[name], -1, 2).copy()) for name in ("support_x", "query_x")]
        labels = [torch.from_numpy(arrays[name]).long() for name in ("support_y", "query_y")]
        self.tasks: Task = (images[0], labels[0], images[1], labels[1])
        self.losses = losses
        self.adam = torch.optim.Adam(self.model.parameters(), protocol.META_RATE, eps=protocol.ADAM_EPSILON, fused=True)

    def gradients(self) -> Tensor:
        """Leave the meta-gradient in the parameters' `grad` and return the loss."""
        self.adam.zero_grad(set_to_none=True)
        return self.losses(self.model, self.tasks)

    def measure(self) -> tuple[float, float]:
        """Return loss and gradient norm."""
        loss = self.gradients()
        norms = [parameter.grad.norm() for parameter in self.model.parameters() if parameter.grad is not None]
        return loss.item(), torch.stack(norms).norm().item()

    def update(self) -> None:
        """One meta-update."""
        self.gradients()
        self.adam.step()


def losses_of_loop(model: nn.Sequential, tasks: Task) -> Tensor:
    """Written by hand: `autograd.grad` with `create_graph`, one task after the other."""
    parameters = list(model.parameters())
    total = torch.zeros(())
    for support_x, support_y, query_x, query_y in zip(*tasks, strict=True):
        inner = F.cross_entropy(forward(parameters, support_x), support_y)
        gradients = torch.autograd.grad(inner, parameters, create_graph=True)
        adapted = [p - protocol.INNER_RATE * g for p, g in zip(parameters, gradients, strict=True)]
        loss = F.cross_entropy(forward(adapted, query_x), query_y) / protocol.TASKS
        loss.backward()  # at once, so that one task's graph is alive at a time
        total += loss.detach()
    return total


def one_task(model: nn.Sequential) -> Callable[..., Tensor]:
    """A task's query loss as a function of the parameters, by `torch.func`."""

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, parameters, (x,)), y)

    def after(parameters: dict[str, Tensor], sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
        gradients = grad(loss)(parameters, sx, sy)
        adapted = {name: p - protocol.INNER_RATE * gradients[name] for name, p in parameters.items()}
        return loss(adapted, qx, qy)

    return after


def losses_of_func_loop(model: nn.Sequential, tasks: Task) -> Tensor:
    """`torch.func`, one task after the other."""
    after = one_task(model)
    parameters = dict(model.named_parameters())
    total = torch.zeros(())
    for task in zip(*tasks, strict=True):
        loss = after(parameters, *task) / protocol.TASKS
        loss.backward()
        total += loss.detach()
    return total


def losses_of_func_vmap(model: nn.Sequential, tasks: Task) -> Tensor:
    """`torch.func`, all tasks at once under `vmap`."""
    after = one_task(model)
    loss = vmap(after, in_dims=(None, 0, 0, 0, 0))(dict(model.named_parameters()), *tasks).mean()
    loss.backward()
    return loss.detach()


def losses_of_higher(model: nn.Sequential, tasks: Task) -> Tensor:
    """`higher`'s monkey-patched model and differentiable SGD."""
    import higher

    sgd = torch.optim.SGD(model.parameters(), protocol.INNER_RATE)
    total = torch.zeros(())
    for support_x, support_y, query_x, query_y in zip(*tasks, strict=True):
        with higher.innerloop_ctx(model, sgd, copy_initial_weights=False) as (functional, inner):
            inner.step(F.cross_entropy(functional(support_x), support_y))
            loss = F.cross_entropy(functional(query_x), query_y) / protocol.TASKS
            loss.backward()
            total += loss.detach()
    return total


VARIANTS = {
    "loop": losses_of_loop,
    "func-loop": losses_of_func_loop,
    "func-vmap": losses_of_func_vmap,
    "higher": losses_of_higher,
}


def make(variant: str, arrays: Arrays) -> TorchContender:
    """Make a contender of a variant."""
    torch.set_num_threads(os.cpu_count() or 1)
    model = network(PlainBatchNorm if variant == "func-vmap" else nn.BatchNorm2d)
    return TorchContender(arrays, model, VARIANTS[variant])


if __name__ == "__main__":
    protocol.serve(make)
