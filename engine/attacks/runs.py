"""Many attempts on one image (restarts, target classes), attacked side by side and counted once.

Usage::

    board = Board(images, stop="success")
    for rows in waves(board, attempts(n_restarts=2, targets=9), start, reference):
        board.record(rows.index, x, fooled, loss)       # images of `rows` that are fooled leave the later waves

A wave holds as many attempts as fill a chunk: with 8 images still robust, the 9 target classes of APGD-T are a batch of
64 and one of 8 instead of 9 batches of 8.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from engine.attacks.base import AttackStep, LogitsFn, LongAttack, Progress, Stop, check_logits
from engine.values import InputError, ThreatModel

CPU_ROWS, GPU_ROWS = 128, 1024
State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run at every image: `rank` 0 is the most likely other class; None attacks without a target."""

    restart: int
    rank: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What one wave attacks: m rows, each an image with its start and its target.

    index: (m,) which image; start: (m, c, h, w); labels: (m,); reference: (m, ...), see `losses.Objective`.
    """

    attempts: tuple[Attempt, ...]
    index: Tensor
    start: Tensor
    labels: Tensor
    reference: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class RowStep:
    """The rows still attacked after `step` updates: index (m,), x (m, c, h, w), logits (m, k), loss (m,)."""

    attempts: tuple[Attempt, ...]
    step: int
    index: Tensor
    x: Tensor
    logits: Tensor
    loss: Tensor


class Board:
    """The best point found for each image of one call: fooled before not fooled, then the higher loss.

    `enough`: an image counts as done when it is fooled at a loss of at least this; `spared`: images (n,) that are not
    attacked at all.
    """

    def __init__(self, images: Tensor, stop: Stop, enough: float = -math.inf, spared: Tensor | None = None) -> None:
        self.original, self.best, self.spared = images, images, spared
        self.loss = torch.full((len(images),), -math.inf, device=images.device)
        self.fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        self.stop, self.enough = stop, enough

    @property
    def going(self) -> Tensor:
        """Which images (n,) are still attacked."""
        done = self.fooled & (self.loss >= self.enough)
        going = torch.ones_like(done) if self.stop == "never" else ~done
        return going if self.spared is None else going & ~self.spared

    def record(self, index: Tensor, x: Tensor, fooled: Tensor, loss: Tensor) -> None:
        """Takes note of points x (m, c, h, w) of the images `index` (m,), which may name an image several times."""
        loss = loss.float()
        better = (fooled & ~self.fooled[index]) | ((fooled == self.fooled[index]) & (loss > self.loss[index]))
        if not bool(better.any()):
            return
        index, x, fooled, loss = index[better], x[better], fooled[better], loss[better]
        order = _lexsort(index, fooled, loss)
        index, last = index[order], torch.ones_like(fooled)
        last[:-1] = index[1:] != index[:-1]  # the best row of each image comes last
        rows, index = order[last], index[last]
        self.best = self.best.index_copy(0, index, x[rows])
        self.loss = self.loss.index_copy(0, index, loss[rows])
        self.fooled = self.fooled.index_copy(0, index, fooled[rows])


def _lexsort(index: Tensor, fooled: Tensor, loss: Tensor) -> Tensor:
    """Order of rows by image, then fooled, then loss; rows that tie stay in turn."""
    order = loss.argsort(stable=True)
    order = order[fooled[order].to(torch.uint8).argsort(stable=True)]
    return order[index[order].argsort(stable=True)]


def attempts(n_restarts: int, targets: int) -> list[Attempt]:
    """Restart by restart, every target from the most likely on; targets 0 is the untargeted attack."""
    ranks = list(range(targets)) if targets else [None]
    return [Attempt(restart, rank) for restart in range(n_restarts) for rank in ranks]


def side_by_side_count(rows: int, device: torch.device) -> int:
    """How many attempts at `rows` images fill a chunk; the last may overflow it, as small batches cost more a row."""
    return math.ceil((CPU_ROWS if device.type == "cpu" else GPU_ROWS) / rows)


def other_classes(logits_fn: LogitsFn, images: Tensor, labels: Tensor, targets: int) -> Tensor:
    """The `targets` most likely other classes of each image (n, targets), or all of them where there are fewer."""
    with torch.no_grad():
        logits = logits_fn(images).float()
    check_logits(logits, labels)
    if logits.shape[1] < 2:
        raise InputError("A targeted attack needs at least 2 classes and this network has 1.")
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(targets, logits.shape[1] - 1), dim=1).indices


def waves(
    board: Board,
    labels: Tensor,
    waiting: list[Attempt],
    start: Callable[[Attempt], Tensor],
    reference: Callable[[Attempt], Tensor],
    side_by_side: bool = True,
) -> Iterator[Rows]:
    """Rows of the images that are still attacked, as many attempts at once as fill a chunk (or one at a time)."""
    while waiting:
        where = board.going.nonzero()[:, 0]
        if not len(where):
            return
        count = side_by_side_count(len(where), labels.device) if side_by_side else 1
        wave, waiting = tuple(waiting[:count]), waiting[count:]
        starts, references = ([make(attempt)[where] for attempt in wave] for make in (start, reference))
        index = where.repeat(len(wave))
        yield Rows(wave, index, torch.cat(starts), labels[index], torch.cat(references))


def keep(state: State, rows: Tensor) -> State:
    """A frozen dataclass of tensors (m, ...), with only the rows (bool) that go on."""
    if bool(rows.all()):
        return state
    some: Any = state
    return replace(some, **{field.name: getattr(some, field.name)[rows] for field in fields(some)})


def drain(steps: Iterable[RowStep], n_attempts: int, n_steps: int, progress: Progress | None) -> None:
    """Runs an attack to its end, reporting attempts times steps."""
    finished, latest = 0, 0
    for step in steps:
        if step.step == 0:
            finished += latest
        latest = len(step.attempts) * n_steps
        if progress is not None:
            progress(finished + len(step.attempts) * step.step, n_attempts * n_steps)
    if progress is not None:
        progress(n_attempts * n_steps, n_attempts * n_steps)


def per_image(steps: Iterable[RowStep], board: Board, labels: Tensor) -> Iterator[AttackStep]:
    """The steps of attempts made one at a time, each with the state of every image; `restart` counts the attempts."""
    x, logits = board.original, torch.zeros(0, 0)
    loss, number = torch.zeros(len(labels), device=labels.device), -1
    for step in steps:
        if not len(logits):
            logits = torch.zeros(len(labels), step.logits.shape[1], device=labels.device)
        number += step.step == 0
        x = x.index_copy(0, step.index, step.x)
        logits = logits.index_copy(0, step.index, step.logits)
        loss = loss.index_copy(0, step.index, step.loss)
        yield AttackStep(number, step.step, x, logits, loss, board.fooled)


class AttemptingAttack(LongAttack):
    """The call and the trace of attacks that make several attempts an image, counted on one board."""

    __slots__ = ()
    threat: ThreatModel
    stop: Stop

    def trace(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, *, generator: torch.Generator
    ) -> Iterator[AttackStep]:
        """The same loop, one attempt (restart and target) after another; `restart` counts the attempts."""
        board = self._board(images, labels)
        yield from per_image(self._run(logits_fn, board, labels, generator, side_by_side=False), board, labels)

    def _found(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, generator: torch.Generator, progress: Progress | None
    ) -> Tensor:
        return self._finished(logits_fn, images, labels, generator, progress).best

    def _finished(
        self, logits_fn: LogitsFn, images: Tensor, labels: Tensor, generator: torch.Generator, progress: Progress | None
    ) -> Board:
        """The board after all attempts."""
        board = self._board(images, labels)
        steps = self._run(logits_fn, board, labels, generator, side_by_side=True)
        drain(steps, *self._work, progress)
        return board

    def _board(self, images: Tensor, labels: Tensor) -> Board:  # noqa: ARG002  # some boards depend on the labels
        return Board(images.detach(), self.stop)

    @property
    @abstractmethod
    def _work(self) -> tuple[int, int]:
        """Attempts, and the steps of each, as progress counts them."""

    @abstractmethod
    def _run(
        self, logits_fn: LogitsFn, board: Board, labels: Tensor, generator: torch.Generator, side_by_side: bool
    ) -> Iterator[RowStep]: ...
