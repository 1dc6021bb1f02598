"""Batch normalization over a batch that lies in several processes (torch's own SyncBatchNorm needs CUDA).

Usage::

    mean, var = moments(x)                     # of all processes' images; the gradient reaches all of them
    SyncedBatchNorm2d                          # an nn.BatchNorm2d that trains on such moments

Every process must hold equally many images. Two passes, mean first, so that no large numbers cancel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Total(torch.autograd.Function):
    """Sum over the processes; what a process sends reaches all, so that its gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ARG004
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        total = gradients[0].detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _average(tensor: Tensor) -> Tensor:
    total: Any = _Total.apply(tensor)
    return total / dist.get_world_size()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, biased variance), each (c,) float32, of the (n, c, h, w) of all processes; differentiable."""
    x = x.float()
    mean = _average(x.mean((0, 2, 3)))
    return mean, _average((x - mean[:, None, None]).square().mean((0, 2, 3)))


def batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    affine: tuple[Tensor | None, Tensor | None],
    momentum: float,
    eps: float,
) -> Tensor:
    """`F.batch_norm` in training over all processes' images; affine: weight, bias; the running NS follow in place."""
    mean, var = moments(x)
    count = x.numel() // x.shape[1] * dist.get_world_size()
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * (count / max(count - 1, 1))).to(running_var.dtype), momentum)
    weight, bias = affine
    scale = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    out = (x - mean[:, None, None]) * scale[:, None, None]
    return (out if bias is None else out + bias[:, None, None]).to(x.dtype)


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Trains on the moments of all processes' images; in eval mode a plain batch norm."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None or self.momentum is None:
            return super().forward(input)
        return batch_norm(input, self.running_mean, self.running_var, (self.weight, self.bias), self.momentum, self.eps)
