"""How far each image is from being misclassified, as an attack sees it: bisection over eps.

Usage::

    attack = APGD(ThreatModel("Linf", 32 / 255), steps=20, stop="success")      # its eps is the largest looked at
    found = minimal_eps(attack, view, images, labels, generator=torch.Generator().manual_seed(0))
    found.eps                                                                    # (n,), inf where 32/255 is not enough
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.attacks.base import LogitsFn, Progress, check_counts, check_images, check_logits
from engine.attacks.pgd import PGD
from engine.attacks.registry import Attack
from engine.attacks.threat import size


@dataclass(frozen=True, slots=True, eq=False)
class MinimalEps:
    """eps: (n,) size of the smallest successful perturbation, 0 where the image is wrong unattacked, inf where the
    largest eps did not suffice; images: (n, c, h, w) with that perturbation, or as given."""

    eps: Tensor
    images: Tensor


def resized(attack: Attack, eps: float) -> Attack:
    """The same attack at another eps; PGD's step size keeps its ratio to eps."""
    threat = replace(attack.threat, eps=eps)
    if isinstance(attack, PGD):
        return replace(attack, threat=threat, step_size=attack.step_size * (eps / attack.threat.eps))
    return replace(attack, threat=threat)


def minimal_eps(
    attack: Attack,
    logits_fn: LogitsFn,
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    halvings: int = 7,
    progress: Progress | None = None,
) -> MinimalEps:
    """Per image the smallest eps, up to the attack's own, at which the attack fools the network.

    Bisection on the grid k / 2^halvings of the largest eps; images at the same grid point are attacked together. An
    attack that succeeds with less than it was allowed also rules out the grid points above what it used. The result is
    an upper bound on the true distance: an attack may fail where a perturbation exists.
    """
    check_counts(halvings=halvings)
    check_images(images, labels)
    images = images.detach()
    with torch.no_grad():
        logits = logits_fn(images).float()
    check_logits(logits, labels)
    points, largest = 2**halvings, attack.threat.eps
    best, eps = images, torch.where(logits.argmax(1) != labels, 0.0, math.inf)
    low = torch.zeros(len(images), dtype=torch.long, device=images.device)  # fails here, as far as is known
    high = torch.where(eps == 0, 0, points)  # succeeds here, or is the end of the grid
    for level in range(halvings + 1):
        tried = torch.where(eps.isinf(), points if level == 0 else low, (low + high) // 2)
        open_ones = (eps.isinf() & (level == 0)) | (eps.isfinite() & (high - low > 1))
        for point in tried[open_ones].unique().tolist():
            where = (open_ones & (tried == point)).nonzero()[:, 0]
            found = resized(attack, largest * point / points)(
                logits_fn, images[where], labels[where], generator=generator
            )
            with torch.no_grad():
                wrong = logits_fn(found).float().argmax(1) != labels[where]
            used = torch.where(wrong, size(attack.threat, found - images[where]).float(), math.inf)
            smaller = used < eps[where]
            best = best.index_copy(0, where[smaller], found[smaller])
            eps = eps.index_copy(0, where, torch.minimum(eps[where], used))
            reached = (used / largest * points).ceil().clamp(1, point)
            high = high.index_copy(0, where, torch.where(wrong, reached.long(), high[where]))
            low = low.index_copy(0, where, torch.where(wrong | (point == points), low[where], point))
        if progress is not None:
            progress(level + 1, halvings + 1)
    return MinimalEps(eps, best)
