"""What E3, E4 and E6 share: distances between two sources, layer by layer, with intervals over images.

Usage::

    rows = layer_rows(distances("w1 mean", clean, adv), layers)         # (layer, value, low, high)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.evaluation import calibration_attack
from engine.experiments.intervals import Estimate, spread
from engine.sources import CLEAN, Source
from engine.values import Branch, branch_setting

N_IMAGES, N_BOOT = 256, 500
"""Images behind feature statistics (the paper's figures rest on 128)."""
METRICS = ("w1 mean", "w1 sigma", "paired mean", "paired sigma", "shift", "log ratio", "w2", "kl")
BIAS = (
    "Intervals: percentile bootstrap over images, the same images for both sides. A distance is never below 0, so "
    "chance alone gives it a size; resampling adds to that."
)


def attacked(eps: float) -> Source:
    """Attacked images, PGD-10 against the setting that is measured."""
    return Source("adv", calibration_attack(eps))


def by_branch(eps: float, branch: Branch) -> tuple[Source, ...]:
    """Clean images and the same attacked through the adversarial branch, whichever branch they are measured through."""
    crafted_at = None if branch == Branch.ADV else branch_setting(Branch.ADV)
    return CLEAN, Source("adv", calibration_attack(eps), crafted_at)


def layer_rows(draws: Tensor, layers: Sequence[str]) -> list[tuple[str, float, float, float]]:
    """(layer, value, low, high) of draws (1 + b, layers)."""
    return [(layer, *spread(draws[:, index]).cells) for index, layer in enumerate(layers)]


def over_layers(draws: Tensor) -> Estimate:
    """The mean over layers of draws (1 + b, layers)."""
    return spread(draws.mean(1))


def ratio(numerator: Tensor, denominator: Tensor) -> Estimate:
    """Ratio of two means over layers, drawn together (1 + b, layers) or fixed (layers,)."""
    return spread(numerator.mean(-1) / torch.clamp_min(denominator.mean(-1), 1e-12))
