"""How far apart two sets of per-channel statistics, or two branches' affine parameters, lie.

Usage::

    gaps = layer_gaps(view, clean_batches, adversarial_batches)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.features.moments import Moments, measure
from engine.norm import dual_layers
from engine.norm.layer import lerp
from engine.values import Branch


def wasserstein1(u: Tensor, v: Tensor) -> float:
    """W1 of two samples of equal size: mean |u_(i) - v_(i)| over the independently sorted values (c,).

    As the paper's code computes it over channels: channel identity is ignored, so it never exceeds the paired mean.
    """
    return (u.sort().values - v.sort().values).abs().mean().item()


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
    sigma_a, sigma_b = var_a.sqrt(), var_b.sqrt()
    alive = (sigma_a > 1e-6) & (sigma_b > 1e-6)
    shift = ((mean_b - mean_a).abs() / sigma_a)[alive].mean().item() if alive.any() else 0.0
    ratio = (sigma_b / sigma_a)[alive].log().abs().mean().item() if alive.any() else 0.0
    return LayerGap(layer, shift, ratio, wasserstein1(mean_a, mean_b), wasserstein1(sigma_a, sigma_b))


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
