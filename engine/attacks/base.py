"""What all attacks share: what they are called on, what they yield, what they refuse, one gradient.

Usage::

    logits, loss, gradient = loss_and_gradient(logits_fn, OBJECTIVES["ce"], x, labels, reference, with_gradient=True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.attacks.losses import Objective
from engine.values import InputError, ThreatModel, eps_label

LogitsFn = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) in [0, 1] -> logits (n, k)."""
Progress = Callable[[int, int], None]
"""Called with (done, total) steps as an attack goes on; may raise `engine.values.Cancelled` to stop it."""
Stop = Literal["never", "success"]
"""never: every image goes through all steps, which gives it a margin that other settings may judge; success: an image
that is fooled is left alone, which gives the same robust accuracy at this setting for less work."""


@dataclass(frozen=True, slots=True, eq=False)
class AttackStep:
    """State of every image after `step` updates of restart `restart` (step 0: the start).

    images: (n, c, h, w); logits: (n, k) float32; loss: (n,) the objective; fooled: (n,) bool, in any restart so far.
    """

    restart: int
    step: int
    images: Tensor
    logits: Tensor
    loss: Tensor
    fooled: Tensor


class LongAttack(ABC):
    """How attacks are called that report their progress."""

    __slots__ = ()

    def __call__(
        self,
        logits_fn: LogitsFn,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        progress: Progress | None = None,
    ) -> Tensor:
        """Adversarial images (n, c, h, w): in the eps-ball, in [0, 1], detached."""
        return self._found(logits_fn, images, labels, generator, progress)

    @abstractmethod
    def _found(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, generator: torch.Generator, progress: Progress | None
    ) -> Tensor: ...


def threat_label(threat: ThreatModel) -> str:
    """'8/255' for Linf, 'L2 0.5' for L2."""
    return eps_label(threat.eps) if threat.norm == "Linf" else f"L2 {threat.eps:g}"


def check_counts(**counts: int) -> None:
    """Raises InputError naming the first count that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"An attack needs at least 1 of its {name.replace('_', ' ')}, got {count}.")


def check_stop(stop: str) -> None:
    if stop not in ("never", "success"):
        raise InputError(f"An attack stops never or at success, not at {stop!r}.")


def check_images(images: Tensor, labels: Tensor) -> None:
    """Raises InputError unless images are (n, c, h, w) in [0, 1] with one label each."""
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise InputError(
            f"Images (n, c, h, w) and labels (n,) are needed, got {[*images.shape]} and {[*labels.shape]}."
        )
    if len(images) and not bool(((images >= 0) & (images <= 1)).all()):
        raise InputError("Images must lie in [0, 1]; divide 8-bit pixels by 255.")


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raises InputError for logits (n, k) that are NaN or infinite and for labels (n,) that name none of k classes."""
    broken = int((~logits.isfinite().all(1)).sum())
    if broken:
        raise InputError(f"The network returned NaN or infinite logits for {broken} of {len(logits)} images.")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise InputError(
            f"Labels must lie between 0 and {logits.shape[1] - 1} for a network of {logits.shape[1]} classes, "
            f"got {int(labels.min())} to {int(labels.max())}."
        )


def loss_and_gradient(
    logits_fn: LogitsFn, objective: Objective, x: Tensor, labels: Tensor, reference: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (n, k) and objective (n,), both float32, and the gradient of its sum (n, c, h, w), or zeros.

    Logits become float32 before the loss: in half precision softmax - onehot of a confident image is noise.
    Raises InputError for NaN logits, labels out of range and a network that has no gradient.
    """
    with torch.set_grad_enabled(with_gradient):
        x = x.detach().requires_grad_(with_gradient)
        logits = logits_fn(x).float()
        check_logits(logits.detach(), labels)
        loss = objective(logits, labels, reference)
        if with_gradient and not loss.requires_grad:
            raise InputError("The network's logits have no gradient with respect to the images; use the Square attack.")
        gradient = torch.autograd.grad(loss.sum(), x)[0] if with_gradient else torch.zeros_like(x)
    return logits.detach(), loss.detach(), gradient.detach()
