"""PGD and AutoAttack with bfloat16 gradients and float32 verdicts: for a quick look, never for a published figure.

Faster only where the processor has bfloat16 units.

Usage::

    if half_supported(device):
        found = half_first(attack, half(craft_module), exact, images, labels, generator=g)
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.attacks.aim import is_fooled, target_classes
from engine.attacks.auto import AutoAttack
from engine.attacks.base import LogitsFn
from engine.attacks.pgd import PGD

FINISH = 5
"""The last steps, taken in float32 by the images that bfloat16 has not fooled; an attack of no more is all float32."""


def half_supported(device: torch.device) -> bool:
    """Whether bfloat16 is faster here than float32: CUDA with bfloat16, a processor with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public names for them
    return any(getattr(torch.cpu, test, bool)() for test in tests)


def half_first(
    attack: PGD | AutoAttack,
    rough: LogitsFn,
    exact: LogitsFn,
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Adversarial images (n, c, h, w) of `attack`, begun on the bfloat16 network `rough` and confirmed by `exact`.

    PGD leaves its last FINISH steps to `exact`: images that are not fooled yet take them from where they are, without a
    restart. AutoAttack finishes each of its four attacks so, see `AutoAttack.stages`.
    """
    if isinstance(attack, AutoAttack):
        return attack.result(rough, images, labels, generator=generator, judge=exact).images
    if attack.steps <= FINISH:
        return attack(exact, images, labels, generator=generator)
    found = replace(attack, steps=attack.steps - FINISH)(rough, images, labels, generator=generator)
    targets = target_classes(attack.target, labels)
    with torch.no_grad():
        fooled = is_fooled(exact(found).float(), labels, targets)
    where = (~fooled).nonzero()[:, 0]
    if not len(where):
        return found
    target = attack.target
    if isinstance(target, tuple):
        target = tuple(target[i] for i in where.tolist())
    finish = replace(attack, steps=FINISH, n_restarts=1, target=target)
    *_, last = finish.trace(exact, images[where], labels[where], generator=generator, start=found[where])
    return found.index_copy(0, where, last.images)
