"""One slot for long work: the second waits and is told so, and the slot is free again however the first one ends."""

from __future__ import annotations

import threading

import pytest

from app.jobs import slot
from tests.support import in_threads


class StoppedError(BaseException):
    """Like Streamlit's StopException, not an Exception."""


def test_work_never_overlaps_and_who_waits_is_told() -> None:
    running, overlaps, waits = threading.Semaphore(1), list[str](), list[str]()
    both_started = threading.Barrier(2)

    def work() -> None:
        both_started.wait(10)
        with slot(lambda: waits.append("waiting")):
            if not running.acquire(blocking=False):
                overlaps.append("overlap")
            threading.Event().wait(0.5)
            running.release()

    in_threads([work, work])
    assert not overlaps
    assert waits


@pytest.mark.parametrize("error", [ValueError, StoppedError])
def test_the_slot_is_free_after_an_error(error: type[BaseException]) -> None:
    with pytest.raises(error), slot(lambda: pytest.fail("nobody else is here")):
        raise error
    with slot(lambda: pytest.fail("the slot was not released")):
        pass


def test_a_visitor_who_leaves_while_waiting_takes_nothing() -> None:
    def leave() -> None:
        raise StoppedError

    with slot(lambda: None), pytest.raises(StoppedError), slot(leave):
        pytest.fail("the slot was given twice")
    with slot(lambda: pytest.fail("the slot was not released")):
        pass
