"""One attack on one image, step by step: the same loop that counts robust accuracy, with every step kept.

Usage::

    shot = film(bench.view(setting), attack, image, label, generator=seeded(0, 0))
    shot.images[3] - shot.images[0]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from engine.attacks import APGD, OBJECTIVES, PGD, LogitsFn
from engine.attacks.aim import target_classes
from engine.evaluation import crafting_network
from engine.values import InputError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """The image before the attack and at its start and every step: s = steps + 2 frames, the first one clean.

    images: (s, c, h, w) in [0, 1]; confidence: (s, k) softmax of the unfolded network; loss: (s,) cross-entropy in
    nats; margin: (s,) largest other logit minus the label's, above 0 where fooled; target: the class that the attack
    goes for, if one was chosen.
    """

    label: int
    images: Floats
    confidence: Floats
    loss: Floats
    margin: Floats
    target: int | None = None

    @property
    def reached_at(self) -> int | None:
        """The first frame in which the network takes the image for the target class, or None."""
        there = np.flatnonzero(self.confidence.argmax(1) == self.target)
        return int(there[0]) if len(there) else None

    @property
    def fooled_at(self) -> int | None:
        """The first frame in which the network is wrong, or None."""
        wrong = np.flatnonzero(self.confidence.argmax(1) != self.label)
        return int(wrong[0]) if len(wrong) else None


def film(
    view: nn.Module,
    attack: PGD | APGD,
    image: Tensor,
    label: int,
    *,
    generator: torch.Generator,
    craft: LogitsFn | None = None,
) -> Film:
    """Attacks one image (c, h, w) through every step, and judges all frames by `view` at once.

    `craft` gives the gradients, by default the folded twin of `view`. With several restarts the first one is shown.
    """
    labels = torch.tensor([label], device=image.device)
    targets = target_classes(attack.target, labels)
    target = None if targets is None else int(targets)
    if target == label:
        raise InputError(f"The image is of class {label} already; choose another target class.")
    whole = replace(attack, stop="never", n_restarts=1)
    steps = whole.trace(craft or crafting_network(view), image[None], labels, generator=generator)
    frames = torch.cat([image[None], *(step.images for step in steps)])
    with torch.no_grad():
        logits = view(frames).float()
    every = labels.expand(len(frames))
    loss, margin = (OBJECTIVES[name](logits, every, logits) for name in ("ce", "margin"))
    shown, confidence, losses, margins = (
        tensor.cpu().numpy().astype(np.float32) for tensor in (frames, logits.softmax(1), loss, margin)
    )
    return Film(label, shown, confidence, losses, margins, target)


def spectrum(delta: Floats) -> Floats:
    """Amplitude of a perturbation (..., c, h, w) by frequency, zero in the middle: (..., h, w), mean over channels."""
    return np.abs(np.fft.fftshift(np.fft.fft2(delta), axes=(-2, -1))).mean(axis=-3).astype(np.float32)
