"""Where an attack wants an image to end: in any wrong class, or in one that somebody chose.

Usage::

    targets = target_classes(attack.target, labels)          # None: any wrong class will do
    fooled = is_fooled(logits, labels, targets)
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.attacks.base import LogitsFn, check_logits
from engine.attacks.losses import OBJECTIVES, TARGETED, LossName, Objective
from engine.values import InputError

Target = int | tuple[int, ...] | None
"""One class for all images, or one an image in the order of the call. An image that is of its target class already has
nowhere to go: it is left as it is."""


def check_target(target: Target, loss: LossName, name: str) -> None:
    """Raises InputError for a negative class and for a loss that the attack called `name` cannot ascend."""
    known = OBJECTIVES if target is None else TARGETED
    if loss not in known:
        form = name if target is None else f"targeted {name}"
        raise InputError(f"{'An' if form[0] in 'aA' else 'A'} {form} ascends {', '.join(known)}, not {loss!r}.")
    if target is not None and min([target] if isinstance(target, int) else target, default=0) < 0:
        raise InputError(f"A target class cannot be negative, got {target}.")


def target_label(target: Target) -> str:
    """' towards class 3', or nothing."""
    if target is None:
        return ""
    return f" towards class {target}" if isinstance(target, int) else " towards a class an image"


def target_classes(target: Target, labels: Tensor) -> Tensor | None:
    """The class (n,) that each image shall be taken for. InputError unless there is one for each of n labels."""
    if target is None:
        return None
    if isinstance(target, int):
        return torch.full_like(labels, target)
    if len(target) != len(labels):
        raise InputError(f"Each image needs one target class: got {len(target)} for {len(labels)} images.")
    return torch.tensor(target, dtype=labels.dtype, device=labels.device)


def is_fooled(logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Which of the n images are where the attack wants them, bool (n,)."""
    prediction = logits.argmax(1)
    return prediction != labels if targets is None else prediction == targets


def objective(loss: LossName, targets: Tensor | None) -> Objective:
    return (OBJECTIVES if targets is None else TARGETED)[loss]


def reference(logits_fn: LogitsFn, loss: LossName, images: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """What the objective compares with (n, ...): target classes, logits of the images for kl, else nothing.

    Raises InputError for a target that is none of the network's classes.
    """
    if not len(images) or (targets is None and loss != "kl"):
        return torch.zeros(len(images), 0, device=images.device) if targets is None else targets
    with torch.no_grad():
        logits = logits_fn(images).float()
    check_logits(logits, labels)
    if targets is None:
        return logits
    if int(targets.max()) >= logits.shape[1]:
        raise InputError(
            f"The target class must lie between 0 and {logits.shape[1] - 1} for a network of {logits.shape[1]} "
            f"classes, got {int(targets.max())}."
        )
    return targets
