"""AutoAttack: four attacks that fail for different reasons, one after the other (Croce & Hein 2020, arXiv 2003.01690).

Usage::

    attack = AutoAttack(ThreatModel("Linf", 8 / 255))        # the standard version; quick_auto(threat) for a CPU
    result = attack.result(view, images, labels, generator=torch.Generator().manual_seed(0))
    result.fooled_by                                         # ("APGD-100 at 8/255", None, ...)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from engine.attacks.apgd import APGD
from engine.attacks.base import LogitsFn, LongAttack, Progress, check_counts, check_images, check_logits, threat_label
from engine.attacks.fab import FAB
from engine.attacks.pgd import PGD
from engine.attacks.square import Square
from engine.values import InputError, ThreatModel

FEWEST = 4
FINISH = 10
"""Steps of PGD on the margin, each of eps / 8, in full precision."""
UNATTACKED, ROBUST = 0, -1
"""`AutoResult.by` of an image that is wrong without an attack, and of one that none of them fools."""


@dataclass(frozen=True, slots=True, eq=False)
class AutoResult:
    """What the attacks run so far did.

    images: (n, c, h, w) adversarial where fooled, else as given; by: (n,) which of `names` fooled the image, ROBUST
    where none did; names: "no attack", then the label of each attack that has run.
    """

    images: Tensor
    by: Tensor
    names: tuple[str, ...]

    @property
    def fooled_by(self) -> tuple[str | None, ...]:
        return tuple(None if by == ROBUST else self.names[by] for by in self.by.tolist())

    @property
    def robust(self) -> Tensor:
        """Which images (n,) no attack fooled; bool."""
        return self.by == ROBUST


@dataclass(frozen=True, slots=True)
class AutoAttack(LongAttack):
    """APGD-CE, APGD-T (targeted DLR), FAB-T and Square in turn; only images still robust go on to the next.

    steps: of both APGDs; targets: classes that APGD-T and FAB-T go for; fab_steps, queries: of FAB-T and Square.
    The defaults are the standard version of the paper's code. Needs at least 4 classes.
    """

    threat: ThreatModel
    steps: int = 100
    targets: int = 9
    fab_steps: int = 100
    queries: int = 5000
    n_restarts: int = 1
    kind: Literal["auto"] = field(default="auto", init=False)

    def __post_init__(self) -> None:
        counts = {"steps": self.steps, "targets": self.targets, "fab_steps": self.fab_steps, "queries": self.queries}
        check_counts(**counts, restarts=self.n_restarts)

    @property
    def parts(self) -> tuple[APGD | FAB | Square, ...]:
        """The four attacks, each stopping at success."""
        return (
            APGD(self.threat, self.steps, "ce", 0, self.n_restarts, "success"),
            APGD(self.threat, self.steps, "dlr", self.targets, self.n_restarts, "success"),
            FAB(self.threat, self.fab_steps, self.targets, self.n_restarts, "success"),
            Square(self.threat, self.queries, self.n_restarts, stop="success"),
        )

    @property
    def label(self) -> str:
        standard = self == AutoAttack(self.threat)
        budget = f"{self.steps} steps, {self.targets} targets, {self.fab_steps} FAB steps, {self.queries} queries"
        budget += f", {self.n_restarts} restarts" if self.n_restarts > 1 else ""
        return f"AutoAttack{'' if standard else f' ({budget})'} at {threat_label(self.threat)}"

    def _found(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, generator: torch.Generator, progress: Progress | None
    ) -> Tensor:
        return self.result(logits_fn, images, labels, generator=generator, progress=progress).images

    def result(
        self,
        logits_fn: LogitsFn,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        progress: Progress | None = None,
        judge: LogitsFn | None = None,
    ) -> AutoResult:
        """Which attack fooled which image. `progress` counts the steps and queries of all four attacks."""
        *_, last = self.stages(logits_fn, images, labels, generator=generator, progress=progress, judge=judge)
        return last

    def stages(
        self,
        logits_fn: LogitsFn,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        progress: Progress | None = None,
        judge: LogitsFn | None = None,
    ) -> Iterator[AutoResult]:
        """The result before the first attack and after each; a success counts once `judge` confirms it.

        judge: the network in full precision where `logits_fn` is a rougher one; by default `logits_fn` itself. After
        each attack the images that `judge` still gets right take FINISH steps more by its own gradient: among them are
        those that the rough network took for fooled, and left, a hair too early.
        """
        check_images(images, labels)
        images, judge = images.detach(), judge or logits_fn
        wrong = _wrong(judge, images, labels)
        result = AutoResult(images, torch.where(wrong, UNATTACKED, ROBUST), ("no attack",))
        yield result
        work = [_work(part) for part in self.parts]
        for number, part in enumerate(self.parts):
            where = result.robust.nonzero()[:, 0]
            best, by = result.images, result.by
            if len(where):
                told = None if progress is None else _shifted(progress, sum(work[:number]), sum(work))
                found = part(logits_fn, best[where], labels[where], generator=generator, progress=told)
                if judge is not logits_fn:
                    found = self._finished(judge, best[where], labels[where], found, generator)
                wrong = _wrong(judge, found, labels[where])
                best = best.index_copy(0, where[wrong], found[wrong])
                by = by.index_fill(0, where[wrong], number + 1)
            result = AutoResult(best, by, (*result.names, part.label))
            if progress is not None:
                progress(sum(work[: number + 1]), sum(work))
            yield result

    def _finished(
        self, judge: LogitsFn, images: Tensor, labels: Tensor, found: Tensor, generator: torch.Generator
    ) -> Tensor:
        where = (~_wrong(judge, found, labels)).nonzero()[:, 0]
        if not len(where):
            return found
        ascent = PGD(self.threat, FINISH, self.threat.eps / 8, loss="margin", stop="success")
        *_, last = ascent.trace(judge, images[where], labels[where], generator=generator, start=found[where])
        return found.index_copy(0, where, last.images)


def quick_auto(threat: ThreatModel) -> AutoAttack:
    """The same four attacks with budgets for a CPU while one waits; a little weaker than the standard version."""
    return AutoAttack(threat, steps=20, targets=3, fab_steps=10, queries=200)


def _work(part: APGD | FAB | Square) -> int:
    """Steps or queries of one attack."""
    if isinstance(part, Square):
        return part.n_restarts * part.queries
    return part.n_restarts * max(1, part.targets) * part.steps


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


def _wrong(logits_fn: LogitsFn, images: Tensor, labels: Tensor) -> Tensor:
    if not len(images):
        return torch.zeros(0, dtype=torch.bool, device=images.device)
    with torch.no_grad():
        logits = logits_fn(images).float()
    check_logits(logits, labels)
    if logits.shape[1] < FEWEST:  # the targeted DLR loss; said before the first attack
        raise InputError(
            f"AutoAttack needs at least {FEWEST} classes and this network has {logits.shape[1]}; use apgd."
        )
    return logits.argmax(1) != labels
