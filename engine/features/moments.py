"""Mean and variance of what enters each norm layer, in one pass and without hooks.

Usage::

    moments = measure(view, batches)            # layer -> Moments
    whole = first_half["bn"].merge(second_half["bn"])
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.norm import substitute
from engine.values import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """count: values a channel; mean, var: (c,) float64, var biased (divided by count)."""

    count: int
    mean: Tensor
    var: Tensor

    def merge(self, other: Moments) -> Moments:
        """Moments of both together, exact (Chan et al. 1979, parallel variance)."""
        count = self.count + other.count
        share = other.count / count
        shift = other.mean - self.mean
        var = self.var * (1 - share) + other.var * share + shift**2 * share * (1 - share)
        return Moments(count, self.mean + shift * share, var)


class _Recorder(nn.Module):
    """Passes its input on to `inner` and adds up its moments."""

    def __init__(self, inner: nn.BatchNorm2d) -> None:
        super().__init__()
        self.inner = inner
        self.total: list[Moments] = []

    def forward(self, x: Tensor) -> Tensor:
        values = x.double()
        var, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
        found = Moments(values.numel() // values.shape[1], mean, var)
        self.total = [self.total[0].merge(found)] if self.total else [found]
        return self.inner(x)


def measure(view: nn.Module, batches: Iterable[Tensor]) -> dict[str, Moments]:
    """Moments of every norm layer's input over batches (n, c, h, w) at the view's own setting; changes nothing."""
    recorders: dict[str, _Recorder] = {}

    def replace(name: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.BatchNorm2d):
            recorders[name] = _Recorder(module).eval()
            return recorders[name]
        return None

    recording = substitute(view, replace)
    with torch.no_grad():
        for batch in batches:
            recording(batch)
    if not all(recorder.total for recorder in recorders.values()):
        raise InputError("A norm layer saw no images; measuring needs at least one batch.")
    return {name: recorder.total[0] for name, recorder in recorders.items()}
