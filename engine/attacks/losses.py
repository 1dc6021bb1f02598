"""What an attack ascends: per-image objectives of the logits.

Usage::

    loss = OBJECTIVES["margin"](logits, labels, reference)       # (n,), larger is closer to fooling the network
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["ce", "margin", "kl"]
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""logits (n, k) float32, labels (n,), logits of the unattacked images (n, k) -> loss (n,)."""


def cross_entropy(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """-log p(label), at least 0 (Madry et al. 2018)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    """Largest other logit minus the label's: above 0 exactly where fooled (Carlini & Wagner 2017, arXiv 1608.04644)."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - logits.gather(1, labels[:, None])[:, 0]


def divergence(logits: Tensor, _: Tensor, clean_logits: Tensor) -> Tensor:
    """KL(p(clean) || p(attacked)) in nats, at least 0: no label needed (TRADES, arXiv 1901.08573)."""
    p, q = clean_logits.log_softmax(1), logits.log_softmax(1)
    return (p.exp() * (p - q)).sum(1)


OBJECTIVES: dict[LossName, Objective] = {"ce": cross_entropy, "margin": margin, "kl": divergence}
