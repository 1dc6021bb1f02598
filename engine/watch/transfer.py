"""Attacks crafted at one setting and judged at others: who fools whom.

Usage::

    for row in transfer(bench, settings, attack, n=200, seed=0): ...     # one crafting setting at a time
    *_, last = transfer(bench, settings, attack, n=200, seed=0, together=True)       # and against all of them at once
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from engine.attacks import APGD, PGD
from engine.cards import Crafting
from engine.data.base import Progress
from engine.evaluation import Bench, crafting_network, judged, seeded
from engine.values import InputError, Interval, NormSetting, wilson


@dataclass(frozen=True, slots=True)
class Transfer:
    """Accuracies at every setting under one attack crafted at `crafted_at`: white-box where that is the one judged,
    adaptive where it is among several, else transfer."""

    crafted_at: Crafting
    judged_at: tuple[NormSetting, ...]
    n: int
    n_correct: tuple[int, ...]

    @property
    def intervals(self) -> tuple[Interval, ...]:
        return tuple(wilson(correct, self.n) for correct in self.n_correct)


def transfer(
    bench: Bench,
    settings: Sequence[NormSetting],
    attack: PGD | APGD,
    n: int,
    seed: int,
    progress: Progress | None = None,
    *,
    together: bool = False,
) -> Iterator[Transfer]:
    """One row a crafting setting: its adversarial images, all steps, judged at every setting.

    `together` adds a row crafted against all settings at once, see `engine.evaluation.crafting_network`.

    Every image is attacked, also where it is wrong unattacked at the crafting setting, so that all cells of the matrix
    judge the same n images; an image counts where it is right both clean and attacked at the judging setting.
    """
    if not 1 <= n <= len(bench.test):
        raise InputError(f"{bench.test.name} has {len(bench.test)} {bench.test.split} images, {n} were asked for.")
    whole = replace(attack, stop="never")
    views = [bench.view(setting) for setting in settings]
    clean = [torch.cat([judged(view, *batch) for _, batch in bench.batches(n)]) for view in views]
    rows: list[tuple[Crafting, list[nn.Module]]] = [(s, [view]) for s, view in zip(settings, views, strict=True)]
    if together:
        rows.append((tuple(settings), views))
    for index, (crafted_at, attacked) in enumerate(rows):
        craft = crafting_network(*attacked)
        verdicts: list[list[torch.Tensor]] = [[] for _ in views]
        for start, (images, labels) in bench.batches(n):
            adversarial = whole(craft, images, labels, generator=seeded(seed, start))
            for kept, judge in zip(verdicts, views, strict=True):
                kept.append(judged(judge, adversarial, labels))
            if progress is not None:
                progress(index * n + start + len(labels), len(rows) * n)
        counts = (int((right & torch.cat(kept)).sum()) for right, kept in zip(clean, verdicts, strict=True))
        yield Transfer(crafted_at, tuple(settings), n, tuple(counts))
