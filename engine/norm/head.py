"""The linear head of the two-task view: one for clean, one for adversarial images, on shared features ("Dual-Linear").

Usage::

    head = DualLinear.from_linear(nn.Linear(64, 10))
    plain = head.frozen(0.5)                 # an nn.Linear half-way between both
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from engine.norm.layer import lerp
from engine.values import Branch, InputError


class DualLinear(nn.Module):
    """y = x W^T + b with one (W, b) a branch: lists of two parameters (k, d) and (k,)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.ParameterList([nn.Parameter(torch.zeros(out_features, in_features)) for _ in Branch])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(out_features)) for _ in Branch])

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """Both branches start as clones of `linear`, with its device, dtype, mode and requires_grad."""
        if linear.bias is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise InputError("A linear head without bias cannot be doubled; give it one.")
        head = cls(linear.in_features, linear.out_features).to(linear.weight.device, linear.weight.dtype)
        with torch.no_grad():
            for ours, theirs in ((head.weight, linear.weight), (head.bias, linear.bias)):
                for parameter in ours:
                    parameter.copy_(theirs)
                    parameter.requires_grad_(theirs.requires_grad)
        return head.train(linear.training)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """(n, d) -> (n, k) through one branch; there is no default branch, so none is ever used by accident."""
        return nn.functional.linear(x, self.weight[branch], self.bias[branch])

    def joint(self, x: Tensor) -> Tensor:
        """cat([clean, adversarial]), equal halves: each half through its own head, order kept."""
        clean, adv = x.chunk(2)
        return torch.cat([self(clean, Branch.CLEAN), self(adv, Branch.ADV)])

    def frozen(self, lam: float) -> nn.Linear:
        """The `nn.Linear` at lambda, without gradients; both tensors are interpolated linearly."""
        with torch.no_grad():
            weight, bias = (lerp(pair[Branch.CLEAN], pair[Branch.ADV], lam) for pair in (self.weight, self.bias))
        return _linear(weight.detach(), bias.detach()).eval()

    def live(self, branch: Branch) -> nn.Linear:
        """One branch as an `nn.Linear` that holds the live parameters."""
        return _linear(self.weight[branch], self.bias[branch])

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """An `nn.Linear` around the given tensors, uncopied; plain tensors become frozen parameters."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = (t if isinstance(t, nn.Parameter) else nn.Parameter(t, False) for t in (weight, bias))
    return linear
