"""Perturbations that know nothing of the network: noise of the size of an attack, and R-FGSM, which begins with it.

Usage::

    control = Noise(ThreatModel("Linf", 8 / 255), "sign")
    noisy = control(view, images, labels, generator=torch.Generator().manual_seed(0))
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from engine.attacks.aim import check_target, reference
from engine.attacks.base import LogitsFn, check_images, loss_and_gradient, threat_label
from engine.attacks.losses import OBJECTIVES, LossName
from engine.attacks.threat import ascent, project, size
from engine.values import InputError, ThreatModel

Distribution = Literal["uniform", "gaussian", "sign"]


def noise(threat: ThreatModel, distribution: Distribution, images: Tensor, generator: torch.Generator) -> Tensor:
    """Perturbations (n, c, h, w), each exactly eps in size: uniform, normal or +-1 by pixel and channel, then scaled.

    Drawn on the generator's device, so a seed means the same numbers whatever device the images are on.
    """
    shape, device = images.shape, generator.device
    if distribution == "gaussian":
        drawn = torch.randn(shape, generator=generator, device=device)
    else:
        drawn = torch.rand(shape, generator=generator, device=device) * 2 - 1
        drawn = drawn if distribution == "uniform" else torch.where(drawn < 0, -1.0, 1.0)
    drawn = drawn.to(images.device, images.dtype)
    return drawn * (threat.eps / size(threat, drawn).clamp_min(1e-12)).view(-1, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Noise:
    """A control: what an attack must beat to be more than noise. The perturbation has size eps before the image is
    clipped to [0, 1]; the network is never asked."""

    threat: ThreatModel
    distribution: Distribution
    kind: Literal["noise"] = field(default="noise", init=False)

    def __post_init__(self) -> None:
        known = get_args(Distribution)
        if self.distribution not in known:
            raise InputError(f"Noise is {', '.join(known)}, not {self.distribution!r}.")

    @property
    def label(self) -> str:
        return f"{self.distribution.capitalize()} noise at {threat_label(self.threat)}"

    def __call__(self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:  # noqa: ARG002  # called as every attack is
        """Noisy images (n, c, h, w): in the eps-ball, in [0, 1], detached."""
        check_images(images, labels)
        images = images.detach()
        return project(self.threat, images, images + noise(self.threat, self.distribution, images, generator))


@dataclass(frozen=True, slots=True)
class RFGSM:
    """R-FGSM: a random step of `share` times eps, then one gradient step of the rest (Tramèr et al. 2018,
    arXiv 1705.07204, equation 7: x + alpha sign(N(0, I)), then (eps - alpha) sign(gradient)). L2: normal noise and
    gradient, both normalised."""

    threat: ThreatModel
    share: float = 0.5
    loss: LossName = "ce"
    kind: Literal["r-fgsm"] = field(default="r-fgsm", init=False)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"The random step's share of eps must lie between 0 and 1, got {self.share}.")
        check_target(None, self.loss, "attack")

    @property
    def label(self) -> str:
        return f"R-FGSM{'' if self.loss == 'ce' else f' ({self.loss})'} at {threat_label(self.threat)}"

    def __call__(self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Adversarial images (n, c, h, w): in the eps-ball, in [0, 1], detached."""
        check_images(images, labels)
        images = images.detach()
        compared = reference(logits_fn, self.loss, images, labels, None)
        first = replace(self.threat, eps=self.share * self.threat.eps)
        x = project(first, images, images + noise(first, self._first_noise, images, generator))
        _, _, gradient = loss_and_gradient(logits_fn, OBJECTIVES[self.loss], x, labels, compared, True)
        rest = self.threat.eps - first.eps
        return project(self.threat, images, x + rest * ascent(self.threat, gradient))

    @property
    def _first_noise(self) -> Distribution:
        return "sign" if self.threat.norm == "Linf" else "gaussian"
