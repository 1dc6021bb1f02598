"""Square: a random search that asks for logits only (Andriushchenko et al. 2020, arXiv 1912.00049). Linf and L2.

Usage::

    attack = Square(ThreatModel("Linf", 8 / 255), queries=5000)
    adversarial = attack(view, images, labels, generator=torch.Generator().manual_seed(0))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from engine.attacks.base import (
    LogitsFn,
    Stop,
    check_counts,
    check_images,
    check_logits,
    check_stop,
    threat_label,
)
from engine.attacks.losses import margin
from engine.attacks.runs import Attempt, AttemptingAttack, Board, Rows, RowStep, attempts, keep, waves
from engine.attacks.squares import Place, place, started, with_square
from engine.values import InputError, ThreatModel

HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the squares' share of the image is halved (section 4)."""


def square_share(first: float, query: int, queries: int) -> float:
    """Share of the pixels that the square of one query covers, in (0, 1]."""
    return first / 2 ** sum(query * 10_000 / queries > limit for limit in HALVINGS)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The rows (m, ...) still searched: each with its best point so far."""

    index: Tensor
    image: Tensor
    labels: Tensor
    x: Tensor
    logits: Tensor
    loss: Tensor


@dataclass(frozen=True, slots=True)
class Square(AttemptingAttack):
    """Keeps a square-shaped change of the image wherever it raises the margin, `queries` times a restart.

    first_share: share of the pixels that the first squares cover, in (0, 1]; stop: see `base.Stop`. Restarts never run
    side by side; a step of the trace has the best point so far, not the one that was tried.
    """

    threat: ThreatModel
    queries: int
    n_restarts: int = 1
    first_share: float = 0.8
    stop: Stop = "never"
    kind: Literal["square"] = field(default="square", init=False)

    def __post_init__(self) -> None:
        check_counts(queries=self.queries, restarts=self.n_restarts)
        check_stop(self.stop)
        if not 0 < self.first_share <= 1:
            raise InputError(f"The first squares' share of the image must be in (0, 1], got {self.first_share}.")

    @property
    def label(self) -> str:
        name = f"Square-{self.queries} at {threat_label(self.threat)}"
        return name + (f", {self.n_restarts} restarts" if self.n_restarts > 1 else "")

    @property
    def _work(self) -> tuple[int, int]:
        return self.n_restarts, self.queries

    def _run(
        self, logits_fn: LogitsFn, board: Board, labels: Tensor, generator: torch.Generator, side_by_side: bool
    ) -> Iterator[RowStep]:
        del side_by_side
        images = board.original
        check_images(images, labels)
        if not len(images):
            return

        def start(_: Attempt) -> Tensor:
            return started(self.threat, images, generator)

        def reference(_: Attempt) -> Tensor:
            return labels

        waiting = attempts(self.n_restarts, 0)
        for rows in waves(board, labels, waiting, start, reference, side_by_side=False):
            yield from self._search(logits_fn, board, rows, generator)

    def _search(self, logits_fn: LogitsFn, board: Board, rows: Rows, generator: torch.Generator) -> Iterator[RowStep]:
        logits, loss = _asked(logits_fn, rows.start, rows.labels)
        state = _Search(rows.index, board.original[rows.index], rows.labels, rows.start, logits, loss)
        for query in range(self.queries + 1):
            if query:
                covered = square_share(self.first_share, query, self.queries)
                drawn = place(self.threat, board.original, covered, generator)
                state = _tried(self.threat, logits_fn, state, drawn.of(state.index))
            board.record(state.index, state.x, state.logits.argmax(1) != state.labels, state.loss)
            yield RowStep(rows.attempts, query, state.index, state.x, state.logits, state.loss)
            state = keep(state, board.going[state.index])
            if not len(state.index):
                return


def _asked(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits = logits_fn(x).float()
    check_logits(logits, labels)
    return logits, margin(logits, labels, labels)


def _tried(threat: ThreatModel, logits_fn: LogitsFn, state: _Search, where: Place) -> _Search:
    """The state after one query: the new point where it has the larger margin."""
    x = with_square(threat, state.image, state.x, where)
    logits, loss = _asked(logits_fn, x, state.labels)
    better = loss > state.loss
    return replace(
        state,
        x=torch.where(better.view(-1, 1, 1, 1), x, state.x),
        logits=torch.where(better[:, None], logits, state.logits),
        loss=torch.where(better, loss, state.loss),
    )
