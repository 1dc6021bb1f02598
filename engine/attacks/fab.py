"""FAB-T: the nearest adversarial image, by linearised decision boundaries (Croce & Hein 2020, arXiv 1907.02044).

Usage::

    attack = FAB(ThreatModel("L2", 0.5), steps=100, targets=9, n_restarts=1)
    adversarial = attack(view, images, labels, generator=torch.Generator().manual_seed(0))
    found = attack.nearest(view, images, labels, generator=g)        # whatever eps: found.images, found.distance
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from engine.attacks.base import (
    LogitsFn,
    Progress,
    Stop,
    check_counts,
    check_images,
    check_logits,
    check_stop,
    loss_and_gradient,
    threat_label,
)
from engine.attacks.losses import margin, targeted_margin
from engine.attacks.runs import Attempt, AttemptingAttack, Board, Rows, RowStep, attempts, keep, other_classes, waves
from engine.attacks.threat import random_start, size
from engine.values import ThreatModel

TOWARDS_IMAGE, BEYOND, BACK, FINAL_STEPS = 0.1, 1.05, 0.9, 3
"""alpha_max, eta and beta of the paper, and the length of its final search."""
NEWTON_STEPS = 40
"""More than was ever needed; each counts once per kink of a piecewise linear function."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """images (n, c, h, w): the nearest adversarial found, the image itself where there is none; distance (n,): how far
    it is in the norm of the threat model, 0 where the image is misclassified already, inf where there is none."""

    images: Tensor
    distance: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The rows (m, ...) still searched."""

    index: Tensor
    image: Tensor
    labels: Tensor
    targets: Tensor
    x: Tensor


def _nearest(board: Board) -> Nearest:
    distance = torch.where(board.fooled, -board.loss, math.inf)
    return Nearest(torch.where(board.fooled.view(-1, 1, 1, 1), board.best, board.original), distance)


def boundary_step(threat: ThreatModel, x: Tensor, gradient: Tensor, gap: Tensor) -> Tensor:
    """The smallest step d (m, c, h, w) with gap + <gradient, d> = 0 and x + d in [0, 1] (equation 4).

    Where the box does not reach that hyperplane, the step that comes nearest to it. Every pixel moves by
    min(length * pace, room) with one length for the image and pace 1 (Linf) or |gradient| (L2). What that closes of the
    gap is concave and piecewise linear in the length, so Newton's method from 0 never oversteps and ends exactly.
    """
    slope, start, gap = gradient.flatten(1), x.flatten(1), gap[:, None]
    direction = -gap.sign() * slope.sign()
    room, weight = torch.where(direction > 0, 1 - start, start), slope.abs()
    pace = torch.ones_like(weight) if threat.norm == "Linf" else weight
    length = torch.zeros_like(gap)
    for _ in range(NEWTON_STEPS):
        reach = length * pace
        missing = gap.abs() - (weight * torch.minimum(reach, room)).sum(1, keepdim=True)
        drive = (weight * pace * (reach < room)).sum(1, keepdim=True)
        open_rows = (missing > 1e-6 * gap.abs()) & (drive > 0)
        if not bool(open_rows.any()):
            break
        length = torch.where(open_rows, length + missing / drive.clamp_min(1e-30), length)
    return (direction * torch.minimum(length * pace, room)).view_as(x)


@dataclass(frozen=True, slots=True)
class FAB(AttemptingAttack):
    """Searches the nearest adversarial image by `steps` steps towards each of the `targets` most likely other classes.

    The first restart begins at the image, others at random near it. The call returns what it found within eps, and the
    image itself where that is nothing; stop="success" ends the search for an image at the first find within eps. In its
    trace the loss is the targeted margin and `fooled` counts adversarial images at any distance.
    """

    threat: ThreatModel
    steps: int
    targets: int = 9
    n_restarts: int = 1
    stop: Stop = "never"
    kind: Literal["fab"] = field(default="fab", init=False)

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, targets=self.targets, restarts=self.n_restarts)
        check_stop(self.stop)

    @property
    def label(self) -> str:
        name = f"FAB-{self.steps} ({self.targets} targets) at {threat_label(self.threat)}"
        return name + (f", {self.n_restarts} restarts" if self.n_restarts > 1 else "")

    def nearest(
        self,
        logits_fn: LogitsFn,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator,
        progress: Progress | None = None,
    ) -> Nearest:
        """The nearest adversarial images, also beyond eps; with stop="success" any within eps will do."""
        return _nearest(self._finished(logits_fn, images, labels, generator, progress))

    @property
    def _work(self) -> tuple[int, int]:
        return self.n_restarts * self.targets, self.steps

    def _found(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, generator: torch.Generator, progress: Progress | None
    ) -> Tensor:
        found = _nearest(self._finished(logits_fn, images, labels, generator, progress))
        return torch.where((found.distance <= self.threat.eps).view(-1, 1, 1, 1), found.images, images.detach())

    def _finished(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, generator: torch.Generator, progress: Progress | None
    ) -> Board:
        board = AttemptingAttack._finished(self, logits_fn, images, labels, generator, progress)
        self._final_search(logits_fn, board, labels)
        return board

    def _board(self, images: Tensor, labels: Tensor) -> Board:  # noqa: ARG002  # as every attack's
        return Board(images.detach(), self.stop, enough=-self.threat.eps)

    def _run(
        self, logits_fn: LogitsFn, board: Board, labels: Tensor, generator: torch.Generator, side_by_side: bool
    ) -> Iterator[RowStep]:
        images = board.original
        check_images(images, labels)
        if not len(images):
            return
        classes = other_classes(logits_fn, images, labels, self.targets)

        def start(attempt: Attempt) -> Tensor:
            if attempt.restart == 0:
                return images
            unit = random_start(replace(self.threat, eps=1.0), torch.full_like(images, 0.5), generator) - 0.5
            reach = torch.where(board.fooled, -board.loss, math.inf).clamp_max(self.threat.eps) / 2
            return (images + unit * reach.view(-1, 1, 1, 1)).clamp(0, 1)

        def reference(attempt: Attempt) -> Tensor:
            assert attempt.rank is not None
            return classes[:, attempt.rank]

        waiting = attempts(self.n_restarts, classes.shape[1])
        for rows in waves(board, labels, waiting, start, reference, side_by_side):
            yield from self._search(logits_fn, board, rows)

    def _search(self, logits_fn: LogitsFn, board: Board, rows: Rows) -> Iterator[RowStep]:
        state = _Search(rows.index, board.original[rows.index], rows.labels, rows.reference, rows.start)
        for step in range(self.steps + 1):
            with torch.no_grad():
                logits = logits_fn(state.x).float()
            check_logits(logits, state.labels)
            wrong = logits.argmax(1) != state.labels
            board.record(state.index, state.x, wrong, -size(self.threat, state.x - state.image))
            gap = targeted_margin(logits, state.labels, state.targets)
            yield RowStep(rows.attempts, step, state.index, state.x, logits, gap)
            if step == self.steps:
                return
            # points that are adversarial go a tenth of the way back to the image, and the boundary is linearised there
            back = torch.where(wrong.view(-1, 1, 1, 1), (1 - BACK) * state.image + BACK * state.x, state.x)
            state = keep(replace(state, x=back), board.going[state.index])
            if not len(state.index):
                return
            _, gap, gradient = loss_and_gradient(logits_fn, targeted_margin, state.x, state.labels, state.targets, True)
            state = replace(state, x=self._moved(state, gap, gradient))

    def _moved(self, state: _Search, gap: Tensor, gradient: Tensor) -> Tensor:
        """A step slightly beyond the boundary, biased towards the image (equation 9)."""
        x, image = state.x, state.image
        gap_at_image = gap + (gradient * (image - x)).flatten(1).sum(1)
        starts, gaps = torch.cat([x, image]), torch.cat([gap, gap_at_image])
        here, there = boundary_step(self.threat, starts, gradient.repeat(2, 1, 1, 1), gaps).chunk(2)
        near, far = size(self.threat, here), size(self.threat, there)
        share = (near / (near + far).clamp_min(1e-12)).clamp_max(TOWARDS_IMAGE).view(-1, 1, 1, 1)
        moved = (1 - share) * (x + BEYOND * here) + share * (image + BEYOND * there)
        return moved.clamp(0, 1)

    def _final_search(self, logits_fn: LogitsFn, board: Board, labels: Tensor) -> None:
        """Looks between each image and what was found for a point that is nearer (section 3.5, by the secant rule)."""
        index = (board.fooled & board.going & (board.loss < 0)).nonzero()[:, 0]
        if not len(index):
            return
        inner, outer, label = board.original[index], board.best[index], labels[index]
        with torch.no_grad():
            below, above = (margin(logits_fn(x).float(), label, label) for x in (inner, outer))
            for _ in range(FINAL_STEPS):
                share = (-below / (above - below).clamp_min(1e-12)).clamp(0.05, 0.95).view(-1, 1, 1, 1)
                x = inner + share * (outer - inner)
                value = margin(logits_fn(x).float(), label, label)
                wrong, wide = value > 0, (value > 0).view(-1, 1, 1, 1)
                board.record(index, x, wrong, -size(self.threat, x - board.original[index]))
                inner, below = torch.where(wide, inner, x), torch.where(wrong, below, value)
                outer, above = torch.where(wide, x, outer), torch.where(wrong, value, above)
