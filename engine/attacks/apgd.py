"""APGD: projected gradient descent that chooses its own step size (Croce & Hein 2020, arXiv 2003.01690).

Usage::

    attack = APGD(ThreatModel("Linf", 8 / 255), steps=100)                       # APGD-CE
    attack = APGD(ThreatModel("Linf", 8 / 255), steps=100, loss="dlr", targets=9)        # APGD-T
    adversarial = attack(view, images, labels, generator=torch.Generator().manual_seed(0))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from engine.attacks.aim import Target, check_target, is_fooled, target_classes, target_label
from engine.attacks.aim import objective as objective_of
from engine.attacks.aim import reference as reference_of
from engine.attacks.base import (
    LogitsFn,
    Stop,
    check_counts,
    check_images,
    check_stop,
    loss_and_gradient,
    threat_label,
)
from engine.attacks.losses import LossName, Objective
from engine.attacks.runs import Attempt, AttemptingAttack, Board, Rows, RowStep, attempts, keep, other_classes, waves
from engine.attacks.threat import ascent, project, random_start
from engine.values import InputError, ThreatModel

MOMENTUM, ENOUGH_RISES = 0.75, 0.75
"""alpha and rho of the paper: weight of the gradient step; share of steps that must raise the loss."""


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps after which the step size may be halved: w_j = ceil(p_j steps), with p_0 = 0, p_1 = 0.22 and
    p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06) (section 3.2)."""
    before, now = 0.0, 0.22
    found: list[int] = []
    while now < 1:
        found.append(math.ceil(now * steps - 1e-9))
        before, now = now, now + max(now - before - 0.03, 0.06)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, eq=False)
class _Climb:
    """What each row (m, ...) remembers: where it is and was, its best point, its step size, the last checkpoint."""

    index: Tensor
    image: Tensor
    labels: Tensor
    reference: Tensor
    x: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    size: Tensor
    rises: Tensor
    checked_loss: Tensor
    halved: Tensor

    def moved(self, threat: ThreatModel, first: bool) -> Tensor:
        """The next point (algorithm 1, lines 7 and 8): a projected gradient step, then momentum."""
        ahead = project(threat, self.image, self.x + self.size * ascent(threat, self.gradient))
        if first:
            return ahead
        mixed = self.x + MOMENTUM * (ahead - self.x) + (1 - MOMENTUM) * (self.x - self.before)
        return project(threat, self.image, mixed)

    def arrived(self, x: Tensor, loss: Tensor, gradient: Tensor) -> _Climb:
        """The state after a move to x, where the objective is `loss`."""
        better, wide = loss > self.best_loss, (loss > self.best_loss).view(-1, 1, 1, 1)
        return replace(
            self,
            x=x,
            before=self.x,
            gradient=gradient,
            loss=loss,
            best=torch.where(wide, x, self.best),
            best_gradient=torch.where(wide, gradient, self.best_gradient),
            best_loss=torch.where(better, loss, self.best_loss),
            rises=self.rises + (loss > self.loss),
        )

    def checked(self, span: int) -> _Climb:
        """At a checkpoint `span` steps after the last: rows that made too little of their step size halve it and go
        back to their best point (conditions 1 and 2 of section 3.2)."""
        oscillates = self.rises < ENOUGH_RISES * span
        stuck = ~self.halved & (self.best_loss <= self.checked_loss)
        halve = oscillates | stuck
        wide = halve.view(-1, 1, 1, 1)
        return replace(
            self,
            x=torch.where(wide, self.best, self.x),
            gradient=torch.where(wide, self.best_gradient, self.gradient),
            loss=torch.where(halve, self.best_loss, self.loss),
            size=torch.where(wide, self.size / 2, self.size),
            rises=torch.zeros_like(self.rises),
            checked_loss=self.best_loss,
            halved=halve,
        )


@dataclass(frozen=True, slots=True)
class APGD(AttemptingAttack):
    """Ascends `loss` from a random start by `steps` steps, the first of size 2 eps, halving where it stops paying.

    loss: ce, dlr, margin or kl, see `losses`; targets: 0 attacks without a target, k > 0 goes for each of the k most
    likely other classes in turn (all others where there are fewer; not for kl). Every restart tries every target.
    target: one class that somebody chose instead, see `aim.Target`; only arriving there counts as success.
    stop: see `base.Stop`. Among all points visited an image keeps one that fools the network where there is one, and
    among those the one of highest loss.
    """

    threat: ThreatModel
    steps: int
    loss: LossName = "ce"
    targets: int = 0
    n_restarts: int = 1
    stop: Stop = "never"
    target: Target = None
    kind: Literal["apgd"] = field(default="apgd", init=False)

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, restarts=self.n_restarts)
        check_stop(self.stop)
        if self.targets < 0:
            raise InputError(f"The number of target classes cannot be negative, got {self.targets}.")
        if self.targets and self.target is not None:
            raise InputError(f"An APGD goes for {self.targets} likely classes or for the one that is chosen, not both.")
        check_target(0 if self.targets else self.target, self.loss, "APGD")

    @property
    def label(self) -> str:
        what = [self.loss] * (self.loss != "ce") + [f"{self.targets} targets"] * (self.targets > 0)
        name = f"APGD-{self.steps}" + (f" ({', '.join(what)})" if what else "") + target_label(self.target)
        return f"{name} at {threat_label(self.threat)}" + (
            f", {self.n_restarts} restarts" if self.n_restarts > 1 else ""
        )

    @property
    def _work(self) -> tuple[int, int]:
        return self.n_restarts * max(1, self.targets), self.steps

    def _board(self, images: Tensor, labels: Tensor) -> Board:
        targets = target_classes(self.target, labels)
        return Board(images.detach(), self.stop, spared=None if targets is None else labels == targets)

    def _run(
        self, logits_fn: LogitsFn, board: Board, labels: Tensor, generator: torch.Generator, side_by_side: bool
    ) -> Iterator[RowStep]:
        images = board.original
        check_images(images, labels)
        if not len(images):
            return
        targets = target_classes(self.target, labels)
        if self.targets:
            classes, whole = other_classes(logits_fn, images, labels, self.targets), labels
        else:
            classes, whole = labels[:, None], reference_of(logits_fn, self.loss, images, labels, targets)

        def start(_: Attempt) -> Tensor:
            return random_start(self.threat, images, generator)

        def reference(attempt: Attempt) -> Tensor:
            return whole if attempt.rank is None else classes[:, attempt.rank]

        objective = objective_of(self.loss, labels if self.targets else targets)
        waiting = attempts(self.n_restarts, min(self.targets, classes.shape[1]))
        for rows in waves(board, labels, waiting, start, reference, side_by_side):
            yield from self._climb(logits_fn, objective, board, rows)

    def _fooled(self, logits: Tensor, labels: Tensor, reference: Tensor) -> Tensor:
        return is_fooled(logits, labels, None if self.target is None else reference)

    def _climb(self, logits_fn: LogitsFn, objective: Objective, board: Board, rows: Rows) -> Iterator[RowStep]:
        x, image = rows.start, board.original[rows.index]
        logits, loss, gradient = loss_and_gradient(logits_fn, objective, x, rows.labels, rows.reference, True)
        board.record(rows.index, x, self._fooled(logits, rows.labels, rows.reference), loss)
        yield RowStep(rows.attempts, 0, rows.index, x, logits, loss)
        size = torch.full((len(x), 1, 1, 1), 2 * self.threat.eps, dtype=x.dtype, device=x.device)
        none, no = torch.zeros_like(rows.index), torch.zeros_like(rows.index, dtype=torch.bool)
        state = _Climb(rows.index, image, rows.labels, rows.reference, x, x, gradient, loss, x, gradient, loss, size,
                       none, loss, no)  # fmt: skip
        last, checks = 0, checkpoints(self.steps)
        for step in range(1, self.steps + 1):
            state = keep(state, board.going[state.index])
            if not len(state.index):
                return
            x = state.moved(self.threat, first=step == 1)
            logits, loss, gradient = loss_and_gradient(
                logits_fn, objective, x, state.labels, state.reference, step < self.steps
            )
            state = state.arrived(x, loss, gradient)
            board.record(state.index, x, self._fooled(logits, state.labels, state.reference), loss)
            yield RowStep(rows.attempts, step, state.index, x, logits, loss)
            if step in checks:
                state, last = state.checked(step - last), step
