"""The geometry of a threat model: random start, steepest ascent step, projection. Linf and L2.

Usage::

    adversarial = project(threat, images, images + noise)    # inside the eps-ball and inside [0, 1]
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.values import ThreatModel


def _norms(x: Tensor) -> Tensor:
    """L2 norm of each image, (n, 1, 1, 1), never zero."""
    return x.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def absolute_sum(x: Tensor) -> Tensor:
    """L1 norm of each image, (n, 1, 1, 1), never zero."""
    return x.flatten(1).abs().sum(1).clamp_min(1e-12).view(-1, 1, 1, 1)


def size(threat: ThreatModel, delta: Tensor) -> Tensor:
    """Size (n,) of perturbations (n, c, h, w) in the norm of the threat model, pixels in [0, 1]."""
    flat = delta.flatten(1)
    return flat.abs().amax(1) if threat.norm == "Linf" else flat.norm(dim=1)


def project(threat: ThreatModel, images: Tensor, candidate: Tensor) -> Tensor:
    """The candidate (n, c, h, w) brought into the eps-ball around `images`, then into [0, 1]."""
    delta = candidate - images
    if threat.norm == "Linf":
        delta = delta.clamp(-threat.eps, threat.eps)
    else:
        delta = delta * (threat.eps / _norms(delta)).clamp_max(1)
    return (images + delta).clamp(0, 1)


def ascent(threat: ThreatModel, gradient: Tensor) -> Tensor:
    """Direction of unit norm in which the loss rises fastest: sign (Linf) or normalised gradient (L2)."""
    return gradient.sign() if threat.norm == "Linf" else gradient / _norms(gradient)


def random_start(threat: ThreatModel, images: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in the eps-ball, then clipped to [0, 1]. Drawn on the generator's device, so a seed means the same
    numbers whatever device the images are on."""
    noise = torch.rand(images.shape, generator=generator, device=generator.device).to(images.device) * 2 - 1
    if threat.norm == "L2":
        size = torch.rand(len(images), generator=generator, device=generator.device).to(images.device)
        direction = torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)
        noise = direction / _norms(direction) * size.pow(1 / images[0].numel()).view(-1, 1, 1, 1)
    return project(threat, images, images + noise * threat.eps)
