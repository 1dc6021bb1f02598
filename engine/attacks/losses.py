"""What an attack ascends: per-image objectives of the logits.

Usage::

    loss = OBJECTIVES["margin"](logits, labels, reference)       # (n,), larger is closer to fooling the network
    loss = TARGETED["dlr"](logits, labels, targets)              # (n,), larger is closer to the target class
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.values import InputError

LossName = Literal["ce", "margin", "kl", "dlr"]
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""logits (n, k) float32, labels (n,), reference -> loss (n,). The reference is the logits of the unattacked images
(n, k) for OBJECTIVES and the classes to reach (n,) for TARGETED."""


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _need_classes(logits: Tensor, fewest: int, name: str) -> None:
    if logits.shape[1] < fewest:
        raise InputError(
            f"The {name} needs at least {fewest} classes and this network has {logits.shape[1]}; "
            "use the margin loss instead."
        )


def cross_entropy(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """-log p(label), at least 0 (Madry et al. 2018)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """Largest other logit minus the label's: above 0 exactly where fooled (Carlini & Wagner 2017, arXiv 1608.04644)."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - _at(logits, labels)


def divergence(logits: Tensor, _: Tensor, clean_logits: Tensor) -> Tensor:
    """KL(p(clean) || p(attacked)) in nats, at least 0: no label needed (TRADES, arXiv 1901.08573)."""
    p, q = clean_logits.log_softmax(1), logits.log_softmax(1)
    return (p.exp() * (p - q)).sum(1)


def dlr(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """Difference of logits ratio: margin / (largest - third largest logit), at least -1 (arXiv 2003.01690, equation 6).

    Above 0 exactly where fooled; unchanged by shifting and scaling the logits, so that a confident network does not
    hide its gradient.
    """
    _need_classes(logits, 3, "DLR loss")
    top = logits.topk(3, dim=1).values
    return margin(logits, labels, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_cross_entropy(logits: Tensor, _: Tensor, targets: Tensor) -> Tensor:
    """log p(target), at most 0."""
    return -F.cross_entropy(logits, targets, reduction="none")


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit minus the label's: above 0 only where fooled."""
    return _at(logits, targets) - _at(logits, labels)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted margin / (largest - mean of the third and fourth largest logit) (arXiv 2003.01690, equation 7)."""
    _need_classes(logits, 4, "targeted DLR loss")
    top = logits.topk(4, dim=1).values
    spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return targeted_margin(logits, labels, targets) / (spread + 1e-12)


OBJECTIVES: dict[LossName, Objective] = {"ce": cross_entropy, "margin": margin, "kl": divergence, "dlr": dlr}
TARGETED: dict[LossName, Objective] = {"ce": targeted_cross_entropy, "margin": targeted_margin, "dlr": targeted_dlr}
