"""An evaluation that distrusts itself: signs that an attack is too weak for the robust accuracy it reports.

Usage::

    for flag in suspicions(bench, setting, attack, n=200, seed=0, others=[other_setting]): print(flag.sentence)

Each check compares two attacks on the same images. It fires where the one that should be weaker fools clearly more
images that the other does not (one-sided, about 2.5 % by chance), after Athalye et al. 2018 (arXiv 1802.00420) and
Croce et al. 2022 (arXiv 2010.09670, the checks of AutoAttack).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from engine.attacks import OBJECTIVES, PGD, Attack, fgsm
from engine.data.base import Progress
from engine.evaluation import Bench, Trial, crafting_network, judged
from engine.values import NormSetting, ThreatModel

N_GRADIENTS, LONGER, BOUNDLESS = 64, 4, 1.0
"""Images whose gradients are looked at; how many times the steps of the longer attack; eps that erases any image."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One check. value: what was measured (a share of the images in [0, 1]); sentence: what it means, for people."""

    name: str
    fired: bool
    value: float
    sentence: str


def beats(weaker: Tensor, stronger: Tensor) -> bool:
    """Whether the attack that left `weaker` right, bool (n,), clearly fools more than the one that left `stronger`.

    Only images that exactly one of both fools count (McNemar 1947): more for the weaker one by over two deviations.
    """
    only_weaker, only_stronger = int((~weaker & stronger).sum()), int((weaker & ~stronger).sum())
    return only_weaker - only_stronger > 2 * sqrt(only_weaker + only_stronger)


def share(fooled: Tensor) -> float:
    return fooled.float().mean().item()


def suspicions(
    bench: Bench,
    setting: NormSetting,
    attack: PGD,
    n: int,
    seed: int,
    others: Sequence[NormSetting] = (),
    black_box: Attack | None = None,
    progress: Progress | None = None,
) -> Iterator[Flag]:
    """The checks one by one on the first n images, cheap ones first. `others` are tried for transfer.

    `progress` is called after every chunk of images, so that it can stop the work there.
    """
    done, total = 0, 5 + len(others) + (black_box is not None)

    def tick(*_: int) -> None:
        if progress is not None:
            progress(done, total)

    for flag in _checks(bench, setting, attack, n, seed, others, black_box, tick):
        done += 1
        tick()
        yield flag


def _checks(
    bench: Bench,
    setting: NormSetting,
    attack: PGD,
    n: int,
    seed: int,
    others: Sequence[NormSetting],
    black_box: Attack | None,
    tick: Progress,
) -> Iterator[Flag]:
    counting = replace(attack, stop="success")
    yield _randomness(bench, setting)
    yield _gradients(bench, setting)

    def left(tried: Attack, crafted_at: NormSetting | None = None) -> Tensor:
        return next(bench.correct(Trial(setting, n, seed, crafted_at), [tried], tick))

    white_box = left(counting)
    single = left(fgsm(attack.threat))
    yield Flag(
        "one step beats many", beats(single, white_box), share(~single & white_box),
        "The one-step attack fools images that the iterative one does not: the gradients mislead it."
        if beats(single, white_box) else "Many steps find what one step finds, and more.",
    )  # fmt: skip
    longer = left(replace(counting, steps=LONGER * attack.steps))
    found = share(white_box & ~longer)
    fired = found > 0.02
    yield Flag(
        "more steps find more", fired, found,
        f"{LONGER} times the steps fool {100 * found:.1f} % more of the images: the attack has not converged."
        if fired else f"{LONGER} times the steps fool {100 * found:.1f} % more of the images: it has converged.",
    )  # fmt: skip
    threat = ThreatModel("Linf", BOUNDLESS)
    boundless = replace(counting, threat=threat, step_size=BOUNDLESS / 4)
    survived = share(left(boundless))
    yield Flag(
        "survives any change", survived > 0.01, survived,
        f"{100 * survived:.1f} % of the images survive an attack that may change everything: the attack fails, the "
        "network is not strong." if survived > 0.01 else "Allowed to change everything, the attack fools every image.",
    )  # fmt: skip
    for other in others:
        transferred = left(replace(counting, stop="never"), other)
        fired = beats(transferred, white_box)
        yield Flag(
            f"transfer from AP {other.affine:g} beats white-box", fired, share(~transferred & white_box),
            f"Images crafted at AP {other.affine:g} fool it better than its own attack does: that one is too weak."
            if fired else f"Images crafted at AP {other.affine:g} fool it less than its own attack does.",
        )  # fmt: skip
    if black_box is not None:
        asked = left(black_box)
        fired = beats(asked, white_box)
        yield Flag(
            "black-box beats white-box", fired, share(~asked & white_box),
            f"{black_box.label}, which sees no gradient, fools images that the attack did not: it has too few steps, "
            "or its gradients are masked."
            if fired else f"{black_box.label}, which sees no gradient, finds less.",
        )  # fmt: skip


def _randomness(bench: Bench, setting: NormSetting) -> Flag:
    view = bench.view(setting)
    images, labels = next(bench.batches(min(N_GRADIENTS, len(bench.test))))[1]
    differ = share(judged(view, images, labels) != judged(view, images, labels))
    with torch.no_grad():
        same = torch.equal(view(images), view(images))
    return Flag(
        "answers are random", not same, differ,
        "The network answers the same image differently twice: average the attack over its randomness."
        if not same else "The network answers the same image the same way.",
    )  # fmt: skip


def _gradients(bench: Bench, setting: NormSetting) -> Flag:
    """Share of images with a gradient of zero, or without one; a few can be honest float32 underflow."""
    craft = crafting_network(bench.view(setting))
    images, labels = next(bench.batches(min(N_GRADIENTS, len(bench.test))))[1]
    x = images.detach().requires_grad_()
    logits = craft(x).float()
    loss = OBJECTIVES["ce"](logits, labels, logits)
    zero = 1.0
    if loss.requires_grad:
        gradient = torch.autograd.grad(loss.sum(), x)[0]
        zero = share(gradient.flatten(1).abs().amax(1) == 0)
    fired = zero > 0.05
    return Flag(
        "gradients are zero", fired, zero,
        f"{100 * zero:.0f} % of the images have no gradient to follow: the loss is saturated or the network quantised."
        if fired else f"{100 * (1 - zero):.0f} % of the images have a gradient to follow.",
    )  # fmt: skip
