"""One layer for all four designs: batch normalization whose two branches share NS, AP, both or none.

Usage::

    layer = DualBatchNorm2d(16, DUAL_BN)
    y = layer(x, Branch.ADV)                  # x: (n, 16, h, w)
    plain = layer.frozen(affine=0.5, statistics=1.0)   # an eval-mode nn.BatchNorm2d
"""

from __future__ import annotations

from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.norm import synced
from engine.values import Branch, InputError, NormDesign


def lerp(clean: Tensor, adv: Tensor, lam: float) -> Tensor:
    """(1 - lam) * clean + lam * adv; at 0 and 1 the branch's own tensor (0 times infinity would be NaN)."""
    if lam == 0:
        return clean
    if lam == 1:
        return adv
    return (1 - lam) * clean + lam * adv


class DualBatchNorm2d(nn.Module):
    """Batch normalization (Ioffe & Szegedy 2015) with a clean and an adversarial branch (arXiv 2403.19150, section 3).

    y = (x - mean) / sqrt(var + eps) * weight + bias, per channel. `mean` and `var` are buffers of shape (S, c) and
    `weight`, `bias` are lists of A parameters (c,), where S, A are 1 if the design shares that half and 2 otherwise.
    A stacked (2, c) parameter would not do: weight decay would shrink the branch that a step did not use.
    synced: in training the batch is that of all processes, see `engine.norm.synced`.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, num_features: int, design: NormDesign, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.design, self.eps, self.momentum = num_features, design, eps, momentum
        self.synced = False
        rows = 1 if design.share_statistics else 2
        entries = 1 if design.share_affine else 2
        self.register_buffer("mean", torch.zeros(rows, num_features))
        self.register_buffer("var", torch.ones(rows, num_features))
        self.weight = nn.ParameterList([nn.Parameter(torch.ones(num_features)) for _ in range(entries)])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(num_features)) for _ in range(entries)])

    @classmethod
    def from_batchnorm(cls, bn: nn.BatchNorm2d, design: NormDesign) -> Self:
        """Every branch starts as a clone of `bn`, with its eps, momentum, device, dtype, mode and requires_grad."""
        layer = cls(bn.num_features, design, bn.eps, cast(float, bn.momentum))
        layer = layer.to(device=bn.weight.device, dtype=bn.weight.dtype)
        with torch.no_grad():
            layer.mean.copy_(cast(Tensor, bn.running_mean).expand_as(layer.mean))
            layer.var.copy_(cast(Tensor, bn.running_var).expand_as(layer.var))
            for ours, theirs in ((layer.weight, bn.weight), (layer.bias, bn.bias)):
                for parameter in ours:
                    parameter.copy_(theirs)
                    parameter.requires_grad_(theirs.requires_grad)
        return layer.train(bn.training)

    def statistics_row(self, branch: Branch) -> tuple[Tensor, Tensor]:
        """(mean, var) of one branch, each (c,), sharing memory with the buffers."""
        row = min(int(branch), len(self.mean) - 1)
        return self.mean[row], self.var[row]

    def affine_entry(self, branch: Branch) -> tuple[nn.Parameter, nn.Parameter]:
        """(weight, bias) of one branch, each (c,): the live parameters."""
        entry = min(int(branch), len(self.weight) - 1)
        return self.weight[entry], self.bias[entry]

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """Normalises (n, c, h, w) by one branch; there is no default branch, so none is ever used by accident."""
        return self._normalized(x, branch, *self.affine_entry(branch))

    def _normalized(self, x: Tensor, branch: Branch, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        mean, var = self.statistics_row(branch)
        if self.synced and self.training:
            return synced.batch_norm(x, mean, var, (weight, bias), self.momentum, self.eps)
        return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, self.eps)

    def joint(self, x: Tensor) -> Tensor:
        """Normalises cat([clean, adversarial]), equal halves, order kept: shared statistics are pooled over both.

        The shared statistics are updated once a step (normalising twice would make momentum 0.1 act as 0.19).
        """
        if len(x) % 2:
            raise InputError(f"A joint batch needs as many clean as adversarial images, got {len(x)} in all.")
        if not self.design.share_statistics:
            clean, adv = x.chunk(2)
            return torch.cat([self(clean, Branch.CLEAN), self(adv, Branch.ADV)])
        if self.design.share_affine:
            return self(x, Branch.CLEAN)
        clean, adv = self._normalized(x, Branch.CLEAN, None, None).chunk(2)
        halves = ((clean, self.affine_entry(Branch.CLEAN)), (adv, self.affine_entry(Branch.ADV)))
        return torch.cat([half * w[:, None, None] + b[:, None, None] for half, (w, b) in halves])

    def crossed(self, x: Tensor) -> Tensor:
        """Normalises cat([clean, adversarial]), equal halves, both by the clean half's statistics.

        Gradients flow through those statistics from both halves; only the clean half enters the running estimates.
        """
        if len(x) % 2:
            raise InputError(f"A joint batch needs as many clean as adversarial images, got {len(x)} in all.")
        clean, adv = x.chunk(2)
        weight, bias = self.affine_entry(Branch.ADV)
        if self.training and self.synced:
            mean, var = synced.moments(clean)
        elif self.training:
            var, mean = torch.var_mean(clean, dim=(0, 2, 3), correction=0)
        else:
            mean, var = self.statistics_row(Branch.CLEAN)
        scale = weight * (var + self.eps).rsqrt()
        shifted = adv * scale[:, None, None] + (bias - mean * scale)[:, None, None]
        return torch.cat([self(clean, Branch.CLEAN), shifted])

    def frozen(self, affine: float, statistics: float) -> nn.BatchNorm2d:
        """The eval-mode `nn.BatchNorm2d` at these lambdas, without gradients; this layer is not changed.

        Mean, var, weight and bias are each interpolated linearly. (The variance of pooled data would have a
        between-means term as well; this is a path between two networks, not a mixture of their data.)
        Raises InputError where an extrapolated variance is not positive.
        """
        with torch.no_grad():
            (mean_c, var_c), (mean_a, var_a) = (self.statistics_row(branch) for branch in Branch)
            (weight_c, bias_c), (weight_a, bias_a) = (self.affine_entry(branch) for branch in Branch)
            var = lerp(var_c, var_a, statistics)
            if not bool((var + self.eps > 0).all()):
                raise InputError(f"At NS lambda {statistics:g} a variance is not positive; move lambda towards [0, 1].")
            tensors = (
                lerp(mean_c, mean_a, statistics),
                var,
                lerp(weight_c, weight_a, affine),
                lerp(bias_c, bias_a, affine),
            )
        return plain_batchnorm(*tensors, eps=self.eps, momentum=self.momentum)

    def live(self, branch: Branch) -> nn.BatchNorm2d:
        """One branch as an `nn.BatchNorm2d` that holds the live parameters and writes to the live statistics."""
        tensors = (*self.statistics_row(branch), *self.affine_entry(branch), self.eps, self.momentum)
        kind = synced.SyncedBatchNorm2d if self.synced else nn.BatchNorm2d
        return plain_batchnorm(*tensors, kind).train(self.training)

    def extra_repr(self) -> str:
        return f"{self.num_features}, {self.design.name}, eps={self.eps}, momentum={self.momentum}"


def plain_batchnorm(
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    momentum: float,
    kind: type[nn.BatchNorm2d] = nn.BatchNorm2d,
) -> nn.BatchNorm2d:
    """An eval-mode `nn.BatchNorm2d` around the given (c,) tensors, uncopied; plain tensors become frozen parameters."""
    bn = kind(len(mean), eps=eps, momentum=momentum, device="meta").eval()
    bn.weight, bn.bias = (t if isinstance(t, nn.Parameter) else nn.Parameter(t, False) for t in (weight, bias))
    bn.running_mean, bn.running_var = mean, var
    bn.num_batches_tracked = torch.zeros((), dtype=torch.long, device=mean.device)
    return bn
