"""Channels ranked by how much robustness their adversarial AP carry, and the fewest of them that do.

Usage::

    order = ranked(gains(bench, attack, seed, steps))
    count = fewest(len(order), lambda c: robust_accuracy(masked(model, first(order, c, model))), target)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.attacks import PGD
from engine.evaluation import Bench, crafting_network, seeded
from engine.experiments.base import Steps
from engine.experiments.measure import recomposed
from engine.norm import dual_layers
from engine.values import NormSetting, Reestimated

N_SEARCH = 256
"""Training images that scores and search rest on; the accuracies reported are those of held-out images."""
POINTS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Lambdas at which the gradient of the attacked loss is averaged: the midpoint rule."""
Masks = dict[str, Tensor]
"""Layer name -> bool (c,): which channels keep the adversarial AP."""


Ranking = Sequence[tuple[str, int]]
"""(layer, channel), the most wanted first."""


def masked(model: nn.Module, masks: Masks) -> nn.Module:
    """The network whose adversarial branch has clean AP in every channel that `masks` leaves out."""
    return recomposed(
        model,
        lambda name, layer: (
            torch.where(masks[name], layer.weight[1], layer.weight[0]).detach(),
            torch.where(masks[name], layer.bias[1], layer.bias[0]).detach(),
        ),
    )


def fewest(total: int, value: Callable[[int], float], target: float) -> int:
    """The smallest count in 1..total whose value reaches the target, by bisection: values are taken to rise with it."""
    low, high = 0, total  # `low` is not enough, `high` is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if value(middle) >= target else (middle, high)
    return high


def first(ranking: Ranking, count: int, model: nn.Module) -> Masks:
    """Masks of the first `count` (layer, channel) of a ranking."""
    masks = {name: torch.zeros(layer.num_features, dtype=torch.bool) for name, layer in dual_layers(model)}
    for name, channel in ranking[:count]:
        masks[name][channel] = True
    return {name: mask.to(next(model.parameters()).device) for name, mask in masks.items()}


def ranked(scores: dict[str, Tensor]) -> list[tuple[str, int]]:
    """All (layer, channel), the highest score first."""
    flat = [(float(score), name, channel) for name, row in scores.items() for channel, score in enumerate(row)]
    return [(name, channel) for _, name, channel in sorted(flat, key=lambda item: -item[0])]


def gains(bench: Bench, attack: PGD, seed: int, steps: Steps) -> dict[str, Tensor]:
    """How much each channel's adversarial AP lower the attacked loss, to first order along the path: layer -> (c,).

    Minus the gradient of the loss with respect to weight and bias, averaged over the path from clean to adversarial AP
    (attacked and NS re-estimated at every point), times the way each goes: integrated gradients of the AP.
    """
    layers = dict(dual_layers(bench.model))
    total = {name: torch.zeros(layer.num_features) for name, layer in layers.items()}
    for lam in POINTS:
        view = bench.view(NormSetting(lam, Reestimated("clean")))
        craft = crafting_network(view)
        norms = {name: view.get_submodule(name) for name in layers}
        parameters = [getattr(norm, key).requires_grad_(True) for norm in norms.values() for key in ("weight", "bias")]
        for start, (images, labels) in bench.batches(len(bench.test)):
            attacked = attack(craft, images, labels, generator=seeded(seed, start))
            loss = F.cross_entropy(view(attacked), labels, reduction="sum") / len(bench.test) / len(POINTS)
            found = iter(torch.autograd.grad(loss, parameters))
            for name, layer in layers.items():
                for pair in (layer.weight, layer.bias):
                    total[name] -= (next(found) * (pair[1] - pair[0])).detach().cpu()
        steps.done()
    return total


def sizes(model: nn.Module) -> dict[str, Tensor]:
    """How far apart both AP of each channel are: layer -> (c,)."""
    return {
        name: torch.hypot(layer.weight[1] - layer.weight[0], layer.bias[1] - layer.bias[0]).detach().cpu()
        for name, layer in dual_layers(model)
    }


def search_bench(bench: Bench, n: int) -> Bench:
    """The same network judged on its first n calibration images: training images, so that none is judged twice."""
    if bench.calibration is None:
        return bench
    images = bench.calibration
    n = min(n, len(images))
    return replace(bench, test=replace(images, images=images.images[:n], labels=images.labels[:n]))
