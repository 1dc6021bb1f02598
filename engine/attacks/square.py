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
from engine.attacks.runs import (
    Attempt,
    AttemptingAttack,
    Board,
    Rows,
    RowStep,
    attempts,
    keep,
    side_by_side_count,
    waves,
)
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
    side by side, queries do; a step of the trace has the best point so far, not the one that was tried.
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
            yield from self._search(logits_fn, board, rows, generator, side_by_side)

    def _search(
        self, logits_fn: LogitsFn, board: Board, rows: Rows, generator: torch.Generator, side_by_side: bool
    ) -> Iterator[RowStep]:
        logits, loss = _asked(logits_fn, rows.start, rows.labels)
        state = _Search(rows.index, board.original[rows.index], rows.labels, rows.start, logits, loss)
        query, states = 0, iter([state])
        while True:
            for state in states:
                board.record(state.index, state.x, state.logits.argmax(1) != state.labels, state.loss)
                yield RowStep(rows.attempts, query, state.index, state.x, state.logits, state.loss)
                query += 1
            state = keep(state, board.going[state.index])
            if query > self.queries or not len(state.index):
                return
            count = side_by_side_count(len(state.index), state.x.device) if side_by_side else 1
            places = [self._place(board, q, generator) for q in range(query, min(query + count, self.queries + 1))]
            states = _tried(self.threat, logits_fn, board, state, [drawn.of(state.index) for drawn in places])

    def _place(self, board: Board, query: int, generator: torch.Generator) -> Place:
        return place(self.threat, board.original, square_share(self.first_share, query, self.queries), generator)


def _asked(logits_fn: LogitsFn, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits = logits_fn(x).float()
    check_logits(logits, labels)
    return logits, margin(logits, labels, labels)


def _tried(
    threat: ThreatModel, logits_fn: LogitsFn, board: Board, state: _Search, places: list[Place]
) -> Iterator[_Search]:
    """The state after each of some queries: a row goes where its margin is larger.

    All queries are made at once, from where the rows are: few of them move a row, and one that moves makes the rest of
    its queries anew. What comes out is what one query after the other gives, in larger batches.
    """
    tried = _with_squares(threat, logits_fn, state, places)
    for number in range(len(places)):
        x, logits, loss = (part[number] for part in tried)
        better = (loss > state.loss) & board.going[state.index]
        moved = bool(better.any())
        if moved:
            state = replace(
                state,
                x=torch.where(better.view(-1, 1, 1, 1), x, state.x),
                logits=torch.where(better[:, None], logits, state.logits),
                loss=torch.where(better, loss, state.loss),
            )
        yield state
        left = places[number + 1 :]
        if moved and left:
            anew = _with_squares(threat, logits_fn, keep(state, better), [drawn.of(better) for drawn in left])
            for old, new in zip(tried, anew, strict=True):
                old[number + 1 :, better] = new


def _with_squares(
    threat: ThreatModel, logits_fn: LogitsFn, state: _Search, places: list[Place]
) -> tuple[Tensor, Tensor, Tensor]:
    """The m points with each of k squares (k, m, c, h, w), their logits (k, m, classes) and losses (k, m).

    A square that changes nothing is not asked for: its loss is -inf, which is no gain.
    """
    x = torch.stack([with_square(threat, state.image, state.x, where) for where in places])
    logits, loss = state.logits.repeat(len(places), 1, 1), torch.full(x.shape[:2], -torch.inf, device=x.device)
    new = (x != state.x).flatten(2).any(2)
    if bool(new.any()):
        logits[new], loss[new] = _asked(logits_fn, x[new], state.labels.repeat(len(places), 1)[new])
    return x, logits, loss
