"""The loss around one image, in the plane of the attack's direction and a random one.

Usage::

    found = surface(view, image, label, adversarial - image, radius=2.0, n=21, generator=generator)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from engine.attacks import OBJECTIVES
from engine.values import InputError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """ticks: (n,) in units of the perturbation's own size, 0 is the image, 1 on `along` the adversarial image;
    loss, margin: (n, n), rows along the random direction, columns along the attack; margin above 0 is fooled."""

    ticks: Floats
    loss: Floats
    margin: Floats


def surface(
    view: nn.Module,
    image: Tensor,
    label: int,
    perturbation: Tensor,
    radius: float,
    n: int,
    *,
    generator: torch.Generator,
    chunk: int = 64,
) -> Surface:
    """Cross-entropy and margin of image + a * perturbation + b * random sign noise of the same largest size.

    image, perturbation: (c, h, w); a and b take n values from -radius to radius; pixels are clipped to [0, 1].
    InputError where the perturbation is zero.
    """
    size = perturbation.abs().max()
    if not size > 0:
        raise InputError("There is no direction to look along: the attack did not change the image.")
    signs = torch.randint(0, 2, perturbation.shape, generator=generator).to(image) * 2 - 1
    ticks = torch.linspace(-radius, radius, n, device=image.device)
    across, along = torch.meshgrid(ticks, ticks, indexing="ij")
    pairs = torch.stack([along.flatten(), across.flatten()], dim=1)
    rows: list[Tensor] = []
    with torch.no_grad():
        for part in pairs.split(chunk):
            a, b = (part[:, axis].view(-1, 1, 1, 1) for axis in (0, 1))
            logits = view((image + a * perturbation + b * size * signs).clamp(0, 1)).float()
            labels = torch.full((len(part),), label, device=image.device)
            rows.append(torch.stack([OBJECTIVES[name](logits, labels, logits) for name in ("ce", "margin")]))
    loss, margin = torch.cat(rows, dim=1).view(2, n, n).cpu().numpy().astype(np.float32)
    return Surface(ticks.cpu().numpy().astype(np.float32), loss, margin)
