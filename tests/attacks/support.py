"""A linear network, whose attacks have closed forms, and every attack in a small size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.api import Branch, branch_setting, crafting_network, open_bench
from engine.attacks import APGD, FAB, PGD, RFGSM, Attack, AutoAttack, LogitsFn, Noise, Square
from engine.values import ThreatModel
from tests.support import generator

SHAPE = (3, 4, 4)
NORMS = (ThreatModel("Linf", 0.05), ThreatModel("L2", 0.3))
NORM_IDS = ("Linf", "L2")
WIDE = {"Linf": ThreatModel("Linf", 0.09), "L2": ThreatModel("L2", 0.95)}
"""So large that `tests.support.tiny()` is fooled on some random images and not on others."""
SMALL: dict[str, Callable[[ThreatModel], Attack]] = {
    "momentum": lambda threat: PGD(threat, 4, threat.eps / 3, momentum=0.9),
    "r-fgsm": RFGSM,
    "apgd-ce": lambda threat: APGD(threat, 6, n_restarts=2),
    "apgd-kl": lambda threat: APGD(threat, 6, "kl"),
    "apgd-t": lambda threat: APGD(threat, 6, "dlr", 3, stop="success"),
    "fab": lambda threat: FAB(threat, 4, 3, n_restarts=2),
    "square": lambda threat: Square(threat, 15),
    "auto": lambda threat: AutoAttack(threat, 3, 2, 2, 10),
    "noise": lambda threat: Noise(threat, "gaussian"),
}
"""One of each kind; tests run them on `tests.support.tiny()`."""


class Linear(nn.Module):
    """Logits W x + b of `n_classes`, in float64, so that closed forms hold to many digits."""

    def __init__(self, n_classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_classes, math.prod(SHAPE), generator=generator(3)).double())
        self.bias = nn.Parameter(torch.randn(n_classes, generator=generator(4)).double())

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double() @ self.weight.T + self.bias

    def distances(self, images: Tensor, labels: Tensor, norm: str) -> Tensor:
        """Distance (n, k) of images to the boundary with each class: (z_y - z_j) / |w_j - w_y|_dual, inf for y itself.

        The range [0, 1] is left out: right for images that are far enough from it.
        """
        logits = self(images).detach()
        gaps = logits.gather(1, labels[:, None]) - logits
        away = self.weight.detach()[None] - self.weight.detach()[labels][:, None]
        dual = away.norm(p=1 if norm == "Linf" else 2, dim=2)
        return torch.where(dual > 0, gaps / dual, math.inf)


def grey(n: int, seed: int = 0) -> Tensor:
    """Images so far from 0 and 1 that small perturbations are not clipped."""
    return (0.4 + 0.2 * torch.rand(n, *SHAPE, generator=generator(seed))).double()


def sizes(threat: ThreatModel, delta: Tensor) -> Tensor:
    """(n,), by numpy-like definition rather than by the engine's own."""
    return delta.flatten(1).norm(p=math.inf if threat.norm == "Linf" else 2, dim=1)


@functools.cache
def shipped(n: int = 105) -> tuple[nn.Module, LogitsFn, Tensor, Tensor]:
    """The adversarial branch of shapes-dual-bn: judge, folded network to craft with, images it gets right, labels."""
    bench, _ = open_bench("shapes-dual-bn", torch.device("cpu"), n=n)
    judge = bench.view(branch_setting(Branch.ADV))
    images, labels = bench.test.tensors(0, n)
    with torch.no_grad():
        right = judge(images).argmax(1) == labels
    return judge, crafting_network(judge), images[right], labels[right]


def robust(judge: LogitsFn, images: Tensor, labels: Tensor) -> Tensor:
    """Which images (n,) the network gets right."""
    with torch.no_grad():
        return judge(images).argmax(1) == labels
