"""95 % intervals of differences and effects, and the verdicts that follow from them.

Usage::

    gap = difference(robust_dual, robust_single)       # of two EvalRecord: Newcombe
    verdict = above(gap, 0.0)                          # holds, fails or undecided

Accuracies that rest on counts alone are compared as if on different images (Newcombe), which is wider than need be
where the images are the same; where the verdict on each image is known `bootstrap` resamples images and keeps pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.cards import EvalRecord
from engine.experiments.base import Verdict
from engine.values import Interval

N_BOOT = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> Estimate:
        return cls(interval.value, interval.low, interval.high)

    @property
    def cells(self) -> tuple[float, float, float]:
        return self.value, self.low, self.high

    @property
    def points(self) -> str:
        """'+3.3 [+0.3, +6.3] points', of a difference of fractions."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}] points"

    @property
    def percent(self) -> str:
        """'63.8 % [61.7, 65.9]', of a fraction."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    @property
    def plain(self) -> str:
        """'12.1 [9.8, 15.2]'."""
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def difference(a: EvalRecord, b: EvalRecord) -> Estimate:
    """a - b of two accuracies: Newcombe's hybrid score interval (1998, method 10), for independent samples."""
    first, second = a.interval, b.interval
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, low, high)


def paired(first: Tensor, second: Tensor, seed: int) -> Estimate:
    """second - first of two accuracies on the same images, from which (n,) each got right; bootstrap over images."""
    return bootstrap(torch.stack([first, second], dim=1), lambda means: means[:, 1] - means[:, 0], seed)


def spread(draws: Tensor) -> Estimate:
    """draws (1 + b,): the value on all images, then b bootstrap draws; percentile interval, never without the value.

    A distance grows when images are resampled, so the draws of one that is nearly 0 can all lie above it.
    """
    value = float(draws[0])
    low, high = draws[1:].double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(value, min(low, value), max(high, value))


def resamples(n: int, seed: int, n_boot: int = N_BOOT) -> Tensor:
    """(1 + n_boot, n) float64: how often each of n units is taken: once, then drawn with replacement; rows sum to n."""
    drawn = torch.randint(n, (n_boot, n), generator=torch.Generator().manual_seed(seed))
    ones = torch.ones(n_boot, n, dtype=torch.float64)
    return torch.cat([ones[:1], torch.zeros_like(ones).scatter_add_(1, drawn, ones)])


def bootstrap(values: Tensor, statistic: Callable[[Tensor], Tensor], seed: int, n_boot: int = N_BOOT) -> Estimate:
    """Percentile bootstrap over the first axis (images) of `values` (n, ...), pairs kept.

    `statistic` takes means over images (1 + b, ...) and returns (1 + b,) numbers.
    """
    flat = values.double().flatten(1)
    means = resamples(len(values), seed, n_boot) @ flat / len(values)
    return spread(statistic(means.view(-1, *values.shape[1:])))


def above(estimate: Estimate, threshold: float) -> Verdict:
    """Whether the number is above the threshold, as far as its interval decides."""
    return "holds" if estimate.low > threshold else "fails" if estimate.high < threshold else "undecided"


def below(estimate: Estimate, threshold: float) -> Verdict:
    return "holds" if estimate.high < threshold else "fails" if estimate.low > threshold else "undecided"


def within(estimate: Estimate, margin: float) -> Verdict:
    """Whether a difference is negligible: its whole interval within +- margin (holds) or beyond it (fails)."""
    if -margin < estimate.low and estimate.high < margin:
        return "holds"
    return "fails" if estimate.low > margin or estimate.high < -margin else "undecided"


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """All parts of a claim: it fails with any of them and holds only with all."""
    parts = list(verdicts)
    return "fails" if "fails" in parts else "holds" if parts and set(parts) == {"holds"} else "undecided"
