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
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attacks.aim import Target, check_target, is_fooled, objective, reference, target_classes, target_label
from engine.attacks.base import AttackStep, LogitsFn, Stop, check_images, check_stop, loss_and_gradient, threat_label
from engine.attacks.losses import LossName
from engine.attacks.threat import absolute_sum, ascent, project, random_start
from engine.values import InputError, ThreatModel


@dataclass(frozen=True, slots=True)
class PGD:
    """Ascends `loss` by `steps` steps of `step_size`, projecting each into the threat model.

    loss: cross-entropy, margin (Carlini & Wagner), DLR or KL divergence from the unattacked prediction; see `losses`.

    stop="never" runs every image through all steps (needed where other settings judge the result: an image stopped at
    first success has no margin); stop="success" leaves an image alone once it is misclassified (same robust accuracy
    at this setting, less work). Among restarts an image keeps the first that fools the network, else the highest loss.

    target: a class that the images shall be taken for, see `aim.Target`; only arriving there counts as success.

    momentum: mu of MI-FGSM (Dong et al. 2018, arXiv 1710.06081, equation 6), which steps along
    g_t = mu g_(t-1) + gradient / |gradient|_1; 0 steps along the gradient alone.
    """

    threat: ThreatModel
    steps: int
    step_size: float
    n_restarts: int = 1
    random_start: bool = True
    stop: Stop = "never"
    loss: LossName = "ce"
    momentum: float = 0.0
    target: Target = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.n_restarts < 1:
            raise InputError(f"An attack needs at least 1 step and 1 restart, got {self.steps} and {self.n_restarts}.")
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise InputError(f"The step size must be a number above 0, got {self.step_size}.")
        if not 0 <= self.momentum <= 1:
            raise InputError(f"The momentum must lie between 0 and 1, got {self.momentum}.")
        check_stop(self.stop)
        check_target(self.target, self.loss, "attack")

    @property
    def label(self) -> str:
        name = "FGSM" if self.steps == 1 and not self.random_start else f"PGD-{self.steps}"
        name += "" if self.loss == "ce" else f" ({self.loss})"
        name += f", momentum {self.momentum:g}" if self.momentum else ""
        return f"{name}{target_label(self.target)} at {threat_label(self.threat)}" + (
            f", {self.n_restarts} restarts" if self.n_restarts > 1 else ""
        )

    def __call__(self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Adversarial images (n, c, h, w): in the eps-ball, in [0, 1], detached."""
        targets = target_classes(self.target, labels)
        best, best_loss = images, torch.full((len(images),), -math.inf, device=images.device)
        for step in self.trace(logits_fn, images, labels, generator=generator):
            if step.step == self.steps:
                better = step.loss > best_loss
                best = torch.where(better.view(-1, 1, 1, 1), step.images, best)
                wrong = is_fooled(step.logits, labels, targets)
                best_loss = torch.where(better, torch.where(wrong, math.inf, step.loss), best_loss)
        return best

    def trace(
        self,
        logits_fn: LogitsFn,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        start: Tensor | None = None,
    ) -> Iterator[AttackStep]:
        """Yields the start and every step of every restart; tensors are detached and never written to again.

        start: points (n, c, h, w) of the ball to begin at, instead of the image or a random one.
        """
        check_images(images, labels)
        targets = target_classes(self.target, labels)
        ascended, compared = objective(self.loss, targets), reference(logits_fn, self.loss, images, labels, targets)
        attacked = torch.ones_like(labels, dtype=torch.bool) if targets is None else labels != targets
        fooled = torch.zeros_like(attacked)
        x, logits, loss = images, torch.empty(0), torch.zeros(len(images), device=images.device)
        for restart in range(self.n_restarts):
            begin = images if start is None else start
            if self.random_start and start is None:
                begin = random_start(self.threat, images, generator)
            kept = ~attacked if self.stop == "never" else fooled | ~attacked
            x = torch.where(kept.view(-1, 1, 1, 1), x, begin)
            active = (~kept).nonzero()[:, 0]
            velocity = torch.zeros_like(images)
            for step in range(self.steps + 1):
                values, losses, gradient = loss_and_gradient(
                    logits_fn, ascended, x[active], labels[active], compared[active], step < self.steps
                )
                if not logits.numel():
                    logits = values.new_zeros(len(images), values.shape[1])
                logits = values if len(active) == len(images) else logits.index_copy(0, active, values)
                loss = loss.index_copy(0, active, losses)
                fooled = fooled | (attacked & is_fooled(logits, labels, targets))
                yield AttackStep(restart, step, x, logits, loss, fooled)
                if step < self.steps:
                    if self.stop == "success":
                        going = ~fooled[active]
                        active, gradient = active[going], gradient[going]
                    if self.momentum:
                        gradient = self.momentum * velocity[active] + gradient / absolute_sum(gradient)
                        velocity = velocity.index_copy(0, active, gradient)
                    moved = x[active] + self.step_size * ascent(self.threat, gradient)
                    x = x.index_copy(0, active, project(self.threat, images[active], moved))


def fgsm(threat: ThreatModel, target: Target = None) -> PGD:
    """The fast gradient sign method: one step of size eps from the image itself."""
    return PGD(threat, steps=1, step_size=threat.eps, random_start=False, target=target)
