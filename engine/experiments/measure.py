"""What several experiments measure on each image, and networks whose adversarial AP are put together anew.

Usage::

    other = recomposed(bench.model, lambda name, layer: (weight, bias))      # shares every other tensor
    found = per_image(view, attack, bench, n, seed)                          # losses, verdicts, confidences
    gap = calibration_error(found.confidence[:, 0], found.right[:, 0], seed)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.attacks import PGD
from engine.data.base import Progress
from engine.evaluation import Bench, crafting_network, seeded
from engine.experiments.intervals import Estimate, bootstrap
from engine.norm import DualBatchNorm2d, substitute
from engine.values import wilson

N_BINS = 15
MakeAffine = Callable[[str, DualBatchNorm2d], tuple[Tensor, Tensor]]
"""(layer name, layer) -> (weight, bias), each (c,)."""


def recomposed(model: nn.Module, affine: MakeAffine) -> nn.Module:
    """A dual network with other AP in its adversarial branch; shares every other tensor, and `model` is not changed.

    The layers must have AP of their own for each branch.
    """

    def replaced(name: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, DualBatchNorm2d):
            return None
        layer = substitute(module, lambda *_: None)
        assert isinstance(layer, DualBatchNorm2d)
        pairs = zip((module.weight[0], module.bias[0]), affine(name, module), strict=True)
        layer.weight, layer.bias = (nn.ParameterList([clean, nn.Parameter(new, False)]) for clean, new in pairs)
        return layer

    return substitute(model, replaced)


@dataclass(frozen=True, slots=True)
class PerImage:
    """loss (nats), right (bool) and confidence (largest probability), each (n, 2): clean and attacked."""

    loss: Tensor
    right: Tensor
    confidence: Tensor


def per_image(
    view: nn.Module, attack: PGD, bench: Bench, n: int, seed: int, progress: Progress | None = None
) -> PerImage:
    """The network on the first n images as they are and attacked through itself, every image through all steps.

    An image counts as right under attack only where it is right clean as well (as `Bench.evaluate` counts).
    """
    attack, craft = replace(attack, stop="never"), crafting_network(view)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start, (images, labels) in bench.batches(n):
        attacked = attack(craft, images, labels, generator=seeded(seed, start))
        with torch.no_grad():
            logits = torch.stack([view(images), view(attacked)], 1).float().cpu()
        wanted = labels.cpu()[:, None].expand(-1, 2)
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(-1, 2)
        parts.append((loss, logits.argmax(2) == wanted, logits.softmax(2).amax(2)))
        if progress is not None:
            progress(start + len(labels), n)
    loss, right, confidence = (torch.cat(part) for part in zip(*parts, strict=True))
    return PerImage(loss, right.cummin(1).values, confidence)


def accuracy(right: Tensor) -> Estimate:
    """Of verdicts, bool (n,): the share that is right, with its Wilson interval."""
    return Estimate.of(wilson(int(right.sum()), len(right)))


def calibration_error(confidence: Tensor, right: Tensor, seed: int) -> Estimate:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3) in 15 equal bins, of (n,) each.

    The bootstrap interval leans upwards where the error is small: resampling adds noise, and noise adds error.
    """
    bins = (confidence * N_BINS).ceil().long().clamp(1, N_BINS) - 1
    gaps = F.one_hot(bins, N_BINS) * (right.double() - confidence.double())[:, None]
    return bootstrap(gaps, lambda means: means.abs().sum(1), seed)


def paired(a: Tensor, b: Tensor, seed: int) -> Estimate:
    """Mean of a - b over the same images (n,), with a bootstrap interval."""
    return bootstrap((a.double() - b.double())[:, None], lambda means: means[:, 0], seed)
