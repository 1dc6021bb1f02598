"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083) and FGSM (arXiv 1412.6572), its one-step case.

Usage::

    attack = PGD(ThreatModel("Linf", 8 / 255), steps=10, step_size=2 / 255)
    adversarial = attack(view, images, labels, generator=torch.Generator().manual_seed(0))
    for step in attack.trace(view, images, labels, generator=g): ...      # the same loop, step by step

An attack sees only `images -> logits`. It takes gradients with respect to the images alone and touches no mode,
parameter gradient or global random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from engine.attacks.losses import OBJECTIVES, LossName, Objective
from engine.attacks.threat import ascent, project, random_start
from engine.values import InputError, ThreatModel, eps_label

LogitsFn = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) in [0, 1] -> logits (n, k)."""


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


@dataclass(frozen=True, slots=True)
class PGD:
    """Ascends `loss` by `steps` steps of `step_size`, projecting each into the threat model.

    loss: cross-entropy, margin (Carlini & Wagner) or the KL divergence from the unattacked prediction; see `losses`.

    stop="never" runs every image through all steps (needed where other settings judge the result: an image stopped at
    first success has no margin); stop="success" leaves an image alone once it is misclassified (same robust accuracy
    at this setting, less work). Among restarts an image keeps the first that fools the network, else the highest loss.
    """

    threat: ThreatModel
    steps: int
    step_size: float
    n_restarts: int = 1
    random_start: bool = True
    stop: Literal["never", "success"] = "never"
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.n_restarts < 1:
            raise InputError(f"An attack needs at least 1 step and 1 restart, got {self.steps} and {self.n_restarts}.")
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise InputError(f"The step size must be a number above 0, got {self.step_size}.")
        if self.loss not in OBJECTIVES:
            raise InputError(f"An attack ascends {', '.join(OBJECTIVES)}, not {self.loss!r}.")

    @property
    def label(self) -> str:
        name = "FGSM" if self.steps == 1 and not self.random_start else f"PGD-{self.steps}"
        name += "" if self.loss == "ce" else f" ({self.loss})"
        size = eps_label(self.threat.eps) if self.threat.norm == "Linf" else f"L2 {self.threat.eps:g}"
        return f"{name} at {size}" + (f", {self.n_restarts} restarts" if self.n_restarts > 1 else "")

    def __call__(self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Adversarial images (n, c, h, w): in the eps-ball, in [0, 1], detached."""
        best, best_loss = images, torch.full((len(images),), -math.inf, device=images.device)
        for step in self.trace(logits_fn, images, labels, generator=generator):
            if step.step == self.steps:
                better = step.loss > best_loss
                best = torch.where(better.view(-1, 1, 1, 1), step.images, best)
                wrong = step.logits.argmax(1) != labels
                best_loss = torch.where(better, torch.where(wrong, math.inf, step.loss), best_loss)
        return best

    def trace(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, *, generator: torch.Generator
    ) -> Iterator[AttackStep]:
        """Yields the start and every step of every restart; tensors are detached and never written to again."""
        check_images(images, labels)
        objective, clean_logits = OBJECTIVES[self.loss], torch.zeros(len(images), 0, device=images.device)
        if self.loss == "kl":
            with torch.no_grad():
                clean_logits = logits_fn(images).float()
        everything = torch.arange(len(images), device=images.device)
        fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        x, logits, loss = images, torch.empty(0), torch.zeros(len(images), device=images.device)
        for restart in range(self.n_restarts):
            start = random_start(self.threat, images, generator) if self.random_start else images
            x = start if self.stop == "never" else torch.where(fooled.view(-1, 1, 1, 1), x, start)
            active = everything if self.stop == "never" else everything[~fooled]
            for step in range(self.steps + 1):
                values, losses, gradient = loss_and_gradient(
                    logits_fn, objective, x[active], labels[active], clean_logits[active], step < self.steps
                )
                logits = values if len(active) == len(images) else logits.index_copy(0, active, values)
                loss = loss.index_copy(0, active, losses)
                fooled = fooled | (logits.argmax(1) != labels)
                yield AttackStep(restart, step, x, logits, loss, fooled)
                if step < self.steps:
                    if self.stop == "success":
                        going = ~fooled[active]
                        active, gradient = active[going], gradient[going]
                    moved = x[active] + self.step_size * ascent(self.threat, gradient)
                    x = x.index_copy(0, active, project(self.threat, images[active], moved))


Attack = PGD


def fgsm(threat: ThreatModel) -> PGD:
    """The fast gradient sign method: one step of size eps from the image itself."""
    return PGD(threat, steps=1, step_size=threat.eps, random_start=False)


def attack_from_json(value: dict[str, Any]) -> PGD:
    """The attack that `dataclasses.asdict` wrote."""
    threat: dict[str, Any] = {"threat": ThreatModel(**value["threat"])}
    return PGD(**(value | threat))


def check_images(images: Tensor, labels: Tensor) -> None:
    """Raises InputError unless images are (n, c, h, w) in [0, 1] with one label each."""
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise InputError(
            f"Images (n, c, h, w) and labels (n,) are needed, got {[*images.shape]} and {[*labels.shape]}."
        )
    if len(images) and not bool(((images >= 0) & (images <= 1)).all()):
        raise InputError("Images must lie in [0, 1]; divide 8-bit pixels by 255.")


def loss_and_gradient(
    logits_fn: LogitsFn, objective: Objective, x: Tensor, labels: Tensor, clean_logits: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (n, k) and objective (n,), both float32, and the gradient of its sum (n, c, h, w), or zeros.

    Logits become float32 before the loss: in half precision softmax - onehot of a confident image is noise.
    """
    with torch.set_grad_enabled(with_gradient):
        x = x.detach().requires_grad_(with_gradient)
        logits = logits_fn(x).float()
        loss = objective(logits, labels, clean_logits)
        gradient = torch.autograd.grad(loss.sum(), x)[0] if with_gradient else torch.zeros_like(x)
    return logits.detach(), loss.detach(), gradient.detach()
