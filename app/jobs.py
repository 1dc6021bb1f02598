"""One slot for torch work in the whole process, so that two visitors never fight for the same cores.

Usage::

    with working("Attacking ...", "attack", key) as progress:
        found = shared(key, lambda: compute(progress))    # each call draws the bar, and lets Streamlit stop the work
    with slot(note.caption, "film", key):                 # for work of a fraction of a second
        found = shared(key, compute)                      # app.cache: what is there by now, else computed and kept

First come, first served; a visitor has one job at most, because a new request ends the script run of the old one. Long
work lets those who wait go first at every call of `progress`, so nobody waits for the end of somebody else's minute.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import journal, mode
from engine.api import InputError

Tell = Callable[[str], object]
POLL, KEPT, TURN = 0.2, 20, 0.2


class TooLongError(Exception):
    """A job has computed for longer than this server allows."""


class ClosingError(InputError):
    """The server is stopping; said by whoever shows what is wrong with a request."""

    def __init__(self) -> None:
        super().__init__("The server is stopping; nothing of this was kept. Ask again when the page is back.")


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the line. held: seconds of computing before `since`, when its present turn began; 0 while it waits."""

    held: float = 0.0
    since: float = 0.0

    @property
    def seconds(self) -> float:
        return self.held + (time.monotonic() - self.since if self.since else 0.0)


@dataclass(slots=True, eq=False)
class Line:
    """Who computes (the first ticket) and who waits; how long the last turns took."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    tickets: list[Ticket] = field(default_factory=list[Ticket])
    turns: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT))
    closing: bool = False

    def enter(self, ticket: Ticket, tell: Tell) -> None:
        """Waits for its turn; `tell` hears how many are ahead, and whatever it raises ends the waiting."""
        with self.changed:
            self.tickets.append(ticket)
        try:
            while ahead := self._wait(ticket):
                tell(self._words(ahead))
            if self.closing:
                raise ClosingError
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
        """Goes to the end of the line if there is one and its turn was not too short; True if it had to wait."""
        if len(self.tickets) < 2 or time.monotonic() - ticket.since < TURN:
            return False
        ticket.held = ticket.seconds
        self.leave(ticket)
        ticket.since = 0.0
        self.enter(ticket, tell)
        return True

    def close(self) -> None:
        """Ends all work at its next step and all waiting at once, each with a sentence to its visitor."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()

    def _wait(self, ticket: Ticket) -> int:
        """How many are ahead, after a moment's wait if anybody is."""
        with self.changed:
            if self.tickets[0] is not ticket and not self.closing:
                self.changed.wait(POLL)
            return 0 if self.closing else self.tickets.index(ticket)

    def _words(self, ahead: int) -> str:
        who = "Another visitor's work is running" if ahead == 1 else f"{ahead} jobs are ahead of yours"
        mean = sum(self.turns) / len(self.turns) if self.turns else 0.0
        return f"{who}; yours starts by itself" + (f", in about {math.ceil(ahead * mean)} s." if mean > 1 else ".")


LINE = Line()
journal.gauge("jobs", "running", lambda: float(bool(LINE.tickets)))
journal.gauge("jobs", "waiting", lambda: float(max(0, len(LINE.tickets) - 1)))


@dataclass(slots=True, eq=False)
class Flights:
    """What is being computed at this moment, by key: who asks for the same waits for it and computes nothing."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    keys: set[Hashable] = field(default_factory=set[Hashable])

    @contextmanager
    def alone(self, key: Hashable | None, tell: Tell) -> Generator[None]:
        """One at a time for each key; None is nobody's. Whatever `tell` raises ends the waiting."""
        waited = False
        while key is not None and not self._begin(key):
            waited = True
            tell("Another visitor asked for the very same; the result will be yours too.")
        if waited:
            journal.SHARED.inc()
        try:
            yield
        finally:
            with self.changed:
                self.keys.discard(key)
                self.changed.notify_all()

    def _begin(self, key: Hashable) -> bool:
        with self.changed:
            if key in self.keys:
                self.changed.wait(POLL)
            if key in self.keys:
                return False
            self.keys.add(key)
            return True


FLIGHTS = Flights()


@contextmanager
def slot(tell: Tell, kind: str = "other", key: Hashable | None = None) -> Generator[Ticket]:
    """Holds the slot; released however the work ends, Streamlit's own stop exceptions included.

    kind: which part of the app asks, for the journal; key: what is computed. Whoever asks for the same meanwhile is let
    in afterwards, so look first whether the result is there by now.
    """
    ticket, began, outcome = Ticket(), time.monotonic(), "cancelled"
    try:
        with FLIGHTS.alone(key, tell):
            LINE.enter(ticket, tell)
            yield ticket
        outcome = "done"
    except TooLongError:
        outcome = "too long"
        raise
    except ClosingError:
        outcome = "server stopped"
        raise
    except InputError:
        outcome = "refused"
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        seconds = ticket.seconds
        if ticket in LINE.tickets:  # not where the visitor left while others went first
            LINE.leave(ticket)
        journal.ended(journal.Job(kind, outcome, seconds, time.monotonic() - began - seconds))


@contextmanager
def working(text: str, kind: str = "other", key: Hashable | None = None) -> Generator[Callable[[int, int], None]]:
    """The slot with a progress bar; yields the callback (done, total). Work over the limit ends with a sentence."""
    bar = st.progress(0.0, text)
    limit = mode.current().job_seconds
    try:
        with slot(lambda said: bar.progress(0.0, said), kind, key) as ticket:

            def progress(done: int, total: int) -> None:
                bar.progress(done / total, text)
                if LINE.closing:
                    raise ClosingError
                if ticket.seconds > limit:
                    raise TooLongError
                LINE.let_others_go_first(ticket, lambda said: bar.progress(done / total, said))

            yield progress
    except TooLongError:
        _end(bar, f"This took longer than {limit:g} s, the limit of this server; ask for fewer images or steps.")
    except ClosingError as error:
        _end(bar, str(error))
    except InputError:  # whoever asked says it in its own way
        bar.empty()
        raise
    bar.empty()


def _end(bar: DeltaGenerator, sentence: str) -> None:
    bar.empty()
    st.warning(sentence)
    st.stop()
