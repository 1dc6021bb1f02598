"""How far apart two sets of per-channel statistics, or two branches' affine parameters, lie.

Usage::

    gaps = layer_gaps(view, clean_batches, adversarial_batches)
    DISTANCES["w2"](mean_a, sigma_a, mean_b, sigma_b).nanmean(-1)         # over channels: one number a layer

Every distance maps two sets of statistics (..., c) to (..., c), one number a channel, in units of its own; a layer's
distance is the mean over channels. NaN marks channels that are constant in either set, where a ratio means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.features.moments import Moments, measure
from engine.norm import dual_layers
from engine.norm.layer import lerp
from engine.values import Branch

ALIVE = 1e-6
"""Sigma below which a channel counts as constant."""
Distance = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def sorted_gap(u: Tensor, v: Tensor) -> Tensor:
    """|u_(i) - v_(i)| (..., c) over the independently sorted values: its mean is W1 of two samples of equal size."""
    return (u.sort(-1).values - v.sort(-1).values).abs()


def wasserstein1(u: Tensor, v: Tensor) -> float:
    """W1 of two samples of equal size: mean |u_(i) - v_(i)| over the independently sorted values (c,).

    As the paper's code computes it over channels: channel identity is ignored, so it never exceeds the paired mean.
    """
    return sorted_gap(u, v).mean().item()


def _shift(mean_a: Tensor, sigma_a: Tensor, mean_b: Tensor, sigma_b: Tensor) -> Tensor:
    return torch.where(_alive(sigma_a, sigma_b), (mean_b - mean_a).abs() / sigma_a, torch.nan)


def _log_ratio(_: Tensor, sigma_a: Tensor, __: Tensor, sigma_b: Tensor) -> Tensor:
    return torch.where(_alive(sigma_a, sigma_b), (sigma_b / sigma_a).log().abs(), torch.nan)


def _divergence(mean_a: Tensor, sigma_a: Tensor, mean_b: Tensor, sigma_b: Tensor) -> Tensor:
    ratio = (sigma_b / sigma_a) ** 2
    nats = (ratio - 1 - ratio.log() + ((mean_b - mean_a) / sigma_a) ** 2) / 2
    return torch.where(_alive(sigma_a, sigma_b), nats, torch.nan)


def _alive(sigma_a: Tensor, sigma_b: Tensor) -> Tensor:
    return (sigma_a > ALIVE) & (sigma_b > ALIVE)


DISTANCES: dict[str, Distance] = {
    "w1 mean": lambda mean_a, _, mean_b, __: sorted_gap(mean_a, mean_b),
    "w1 sigma": lambda _, sigma_a, __, sigma_b: sorted_gap(sigma_a, sigma_b),
    "paired mean": lambda mean_a, _, mean_b, __: (mean_b - mean_a).abs(),
    "paired sigma": lambda _, sigma_a, __, sigma_b: (sigma_b - sigma_a).abs(),
    "shift": _shift,
    "log ratio": _log_ratio,
    "w2": lambda mean_a, sigma_a, mean_b, sigma_b: torch.hypot(mean_b - mean_a, sigma_b - sigma_a),
    "kl": _divergence,
}
"""w1: the paper's, channels sorted; paired: |b - a| channel by channel, never below w1; shift: |mean_b - mean_a| /
sigma_a; log ratio: |log(sigma_b / sigma_a)|; w2, kl: 2-Wasserstein distance and KL(b || a) in nats of two Gaussians
with these moments. All but w1 compare a channel with itself; shift, log ratio and kl have no unit: layers compare."""


@dataclass(frozen=True, slots=True)
class LayerGap:
    """One layer: paired gaps in units of the first source (comparable between layers), and the paper's W1 values.

    mean, sigma: mean over channels of |mean_b - mean_a| / sigma_a and of |log(sigma_b / sigma_a)|.
    """

    layer: str
    mean: float
    sigma: float
    w1_mean: float
    w1_sigma: float


def _gap(layer: str, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> LayerGap:
    """Gap between two (mean, var) pairs; channels that are constant in either are left out of the ratios."""
    (mean_a, var_a), (mean_b, var_b) = ((m.double(), v.double()) for m, v in (a, b))
    sides = (mean_a, var_a.sqrt(), mean_b, var_b.sqrt())
    names = ("shift", "log ratio", "w1 mean", "w1 sigma")
    return LayerGap(layer, *(DISTANCES[name](*sides).nanmean().nan_to_num(0.0).item() for name in names))


def statistics_gaps(a: Mapping[str, Moments], b: Mapping[str, Moments]) -> list[LayerGap]:
    """Gaps of every layer from source a to source b, measured through the same view (NS at equal AP)."""
    return [_gap(name, (a[name].mean, a[name].var), (b[name].mean, b[name].var)) for name in a]


def stored_gaps(model: nn.Module) -> list[LayerGap]:
    """Gaps between the stored NS of the two branches: these mix the data's gap with that of the AP upstream."""
    rows = (
        (name, layer.statistics_row(Branch.CLEAN), layer.statistics_row(Branch.ADV))
        for name, layer in dual_layers(model)
    )
    return [_gap(name, clean, adv) for name, clean, adv in rows]


@dataclass(frozen=True, slots=True)
class AffineDistance:
    """One layer's AP, one half of it ("weight" or "bias"): W1 and paired mean over channels, cosine of the vectors."""

    layer: str
    half: str
    w1: float
    paired: float
    cosine: float


def affine_distances(model: nn.Module) -> list[AffineDistance]:
    """Distances between the clean and the adversarial branch's AP, two rows a layer; 0, 0 and 1 where AP are shared."""
    found: list[AffineDistance] = []
    for name, layer in dual_layers(model):
        pairs = zip(*(layer.affine_entry(branch) for branch in Branch), strict=True)
        for half, (clean, adv) in zip(("weight", "bias"), pairs, strict=True):
            u, v = clean.detach().double(), adv.detach().double()
            cosine = torch.cosine_similarity(u, v, dim=0).item()
            found.append(AffineDistance(name, half, wasserstein1(u, v), (u - v).abs().mean().item(), cosine))
    return found


def affine_gaps(model: nn.Module, affine: float) -> dict[str, float]:
    """|AP(affine) - AP_clean| / |AP_clean| of each layer, weight and bias taken as one vector (Euclidean norm)."""
    gaps: dict[str, float] = {}
    for name, layer in dual_layers(model):
        clean, adv = (torch.cat([*layer.affine_entry(branch)]).detach() for branch in Branch)
        gaps[name] = ((lerp(clean, adv, affine) - clean).norm() / clean.norm()).item()
    return gaps


def layer_gaps(view: nn.Module, clean: Iterable[Tensor], adversarial: Iterable[Tensor]) -> list[LayerGap]:
    """Gaps between clean and adversarial batches through one view: the domain gap at equal AP (paper, NS_x^y)."""
    return statistics_gaps(measure(view, clean), measure(view, adversarial))
