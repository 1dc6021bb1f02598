"""How the values of each channel that enters a norm layer are distributed, without keeping them.

Usage::

    counts = histograms(view, batches)["bn"]        # (c, BINS) counts
    edges(view, "bn")                               # (c, BINS + 1), in the units of the layer's input
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from engine.norm import substitute

BINS, REACH = 48, 4.0
"""Bins a channel, and how many of the view's own deviations they reach to both sides of its own mean."""


def edges(view: nn.Module, layer: str) -> Tensor:
    """(c, BINS + 1) edges of a view's norm layer, from its NS; the outermost bins also hold all that lies beyond."""
    return _edges(cast(nn.BatchNorm2d, view.get_submodule(layer)))


def _edges(layer: nn.BatchNorm2d) -> Tensor:
    mean, var = cast(Tensor, layer.running_mean).double(), cast(Tensor, layer.running_var).double()
    steps = torch.linspace(-REACH, REACH, BINS + 1, dtype=torch.float64, device=mean.device)
    return mean[:, None] + (var + layer.eps).sqrt()[:, None] * steps


class _Counter(nn.Module):
    """Passes its input on to `inner` and counts it by channel and bin."""

    def __init__(self, inner: nn.BatchNorm2d) -> None:
        super().__init__()
        self.inner = inner
        bounds = _edges(inner)
        self.low, self.width = (bounds[:, 0], (bounds[:, -1] - bounds[:, 0]) / BINS)
        self.counts = torch.zeros(bounds.shape[0], BINS, dtype=torch.int64, device=bounds.device)

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        bins = ((x - self.low.view(shape)) / self.width.view(shape)).floor().clamp(0, BINS - 1).long()
        first = torch.arange(x.shape[1], device=x.device).view(shape) * BINS
        self.counts += torch.bincount((bins + first).flatten(), minlength=self.counts.numel()).view_as(self.counts)
        return self.inner(x)


def histograms(view: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Counts (c, BINS), int64, of every norm layer's input over batches (n, c, h, w), between its `edges`; changes
    nothing."""
    counters: dict[str, _Counter] = {}

    def replace(name: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, nn.BatchNorm2d):
            counters[name] = _Counter(module).eval()
            return counters[name]
        return None

    counting = substitute(view, replace)
    with torch.no_grad():
        for batch in batches:
            counting(batch)
    return {name: counter.counts for name, counter in counters.items()}
