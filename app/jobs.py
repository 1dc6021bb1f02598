"""One slot for torch work in the whole process, so that two visitors never fight for the same cores.

Usage::

    with working("Attacking ...") as progress:
        compute(progress=progress)     # each call draws the bar, and lets Streamlit stop the work if asked
    with slot(note.caption):           # for work of a fraction of a second
        compute()

First come, first served; a visitor has one job at most, because a new request ends the script run of the old one. Long
work lets those who wait go first at every call of `progress`, so nobody waits for the end of somebody else's minute.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st

from app import mode

Tell = Callable[[str], object]
POLL, KEPT = 0.2, 20


class TooLongError(Exception):
    """A job has computed for longer than this server allows."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the line. held: seconds of computing before `since`, the time its present turn began."""

    held: float = 0.0
    since: float = 0.0

    @property
    def seconds(self) -> float:
        return self.held + time.monotonic() - self.since


@dataclass(slots=True, eq=False)
class Line:
    """Who computes (the first ticket) and who waits; how long the last turns took."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    tickets: list[Ticket] = field(default_factory=list[Ticket])
    turns: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT))

    def enter(self, ticket: Ticket, tell: Tell) -> None:
        """Waits for its turn; `tell` hears how many are ahead, and whatever it raises ends the waiting."""
        with self.changed:
            self.tickets.append(ticket)
        try:
            while ahead := self._wait(ticket):
                tell(self._words(ahead))
        except BaseException:
            self.leave(ticket)
            raise
        ticket.since = time.monotonic()

    def leave(self, ticket: Ticket) -> None:
        with self.changed:
            if self.tickets[0] is ticket and ticket.since:
                self.turns.append(time.monotonic() - ticket.since)
            self.tickets.remove(ticket)
            self.changed.notify_all()

    def let_others_go_first(self, ticket: Ticket, tell: Tell) -> bool:
        """Goes to the end of the line if there is one; True if it had to wait."""
        if len(self.tickets) < 2:
            return False
        ticket.held = ticket.seconds
        self.leave(ticket)
        self.enter(ticket, tell)
        return True

    def _wait(self, ticket: Ticket) -> int:
        """How many are ahead, after a moment's wait if anybody is."""
        with self.changed:
            if self.tickets[0] is not ticket:
                self.changed.wait(POLL)
            return self.tickets.index(ticket)

    def _words(self, ahead: int) -> str:
        who = "Another visitor's work is running" if ahead == 1 else f"{ahead} jobs are ahead of yours"
        mean = sum(self.turns) / len(self.turns) if self.turns else 0.0
        return f"{who}; yours starts by itself" + (f", in about {math.ceil(ahead * mean)} s." if mean > 1 else ".")


LINE = Line()


@contextmanager
def slot(tell: Tell) -> Generator[Ticket]:
    """Holds the slot; released however the work ends, Streamlit's own stop exceptions included."""
    ticket = Ticket()
    LINE.enter(ticket, tell)
    try:
        yield ticket
    finally:
        if ticket in LINE.tickets:  # not where the visitor left while others went first
            LINE.leave(ticket)


@contextmanager
def working(text: str) -> Generator[Callable[[int, int], None]]:
    """The slot with a progress bar; yields the callback (done, total). Work over the limit ends with a sentence."""
    bar = st.progress(0.0, text)
    limit = mode.current().job_seconds
    with slot(lambda said: bar.progress(0.0, said)) as ticket:

        def progress(done: int, total: int) -> None:
            bar.progress(done / total, text)
            if ticket.seconds > limit:
                raise TooLongError
            LINE.let_others_go_first(ticket, lambda said: bar.progress(done / total, said))

        try:
            yield progress
        except TooLongError:
            bar.empty()
            st.warning(f"This took longer than {limit:g} s, the limit of this server; ask for fewer images or steps.")
            st.stop()
    bar.empty()
