"""One slot for long work: the second waits and is told so, and the slot is free again however the first one ends."""

from __future__ import annotations

import threading

import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, mode
from app.jobs import slot
from tests.support import in_threads


class StoppedError(BaseException):
    """Like Streamlit's StopException, not an Exception."""


def test_work_never_overlaps_and_who_waits_is_told() -> None:
    running, overlaps, waits = threading.Semaphore(1), list[str](), list[str]()
    both_started = threading.Barrier(2)

    def work() -> None:
        both_started.wait(10)
        with slot(waits.append):
            if not running.acquire(blocking=False):
                overlaps.append("overlap")
            threading.Event().wait(0.5)
            running.release()

    in_threads([work, work])
    assert not overlaps
    assert "Another visitor's work is running" in waits[0]


@pytest.mark.parametrize("error", [ValueError, StoppedError])
def test_the_slot_is_free_after_an_error(error: type[BaseException]) -> None:
    with pytest.raises(error), slot(lambda _: pytest.fail("nobody else is here")):
        raise error
    with slot(lambda _: pytest.fail("the slot was not released")):
        pass


def test_a_visitor_who_leaves_while_waiting_takes_nothing() -> None:
    def leave(_: str) -> None:
        raise StoppedError

    with slot(lambda _: None), pytest.raises(StoppedError), slot(leave):
        pytest.fail("the slot was given twice")
    with slot(lambda _: pytest.fail("the slot was not released")):
        pass


def test_first_come_first_served_and_each_is_told_how_many_are_ahead() -> None:
    order, told = list[int](), dict[int, set[str]]()

    def visit(number: int) -> None:
        threading.Event().wait(0.1 * number)
        told[number] = set()
        with slot(told[number].add):
            order.append(number)
            threading.Event().wait(0.7 if number == 0 else 0.01)

    in_threads([lambda number=number: visit(number) for number in range(4)])
    assert order == [0, 1, 2, 3]
    assert not told[0]
    assert any("3 jobs are ahead" in text for text in told[3])


def test_long_work_lets_short_work_through_and_ends_as_it_would_have() -> None:
    line, events = jobs.Line(), list[str]()
    started = threading.Event()

    def long() -> None:
        ticket = jobs.Ticket()
        line.enter(ticket, lambda _: None)
        for step in range(5):
            started.set()
            threading.Event().wait(1.1 * jobs.TURN)
            line.let_others_go_first(ticket, lambda _: None)
            events.append(f"long {step}")
        line.leave(ticket)
        assert ticket.held < 4.5 * jobs.TURN

    def short() -> None:
        started.wait(10)
        ticket = jobs.Ticket()
        line.enter(ticket, lambda _: None)
        events.append("short")
        line.leave(ticket)

    in_threads([long, short])
    assert events.index("short") <= 1
    assert [event for event in events if event != "short"] == [f"long {step}" for step in range(5)]
    assert not line.tickets


def test_a_turn_is_not_so_short_that_two_long_jobs_do_nothing_but_change_places() -> None:
    line, first, second = jobs.Line(), jobs.Ticket(), jobs.Ticket()
    line.enter(first, lambda _: None)
    line.tickets.append(second)
    assert not line.let_others_go_first(first, lambda _: pytest.fail("it had hardly begun"))
    assert line.tickets == [first, second]


def test_work_over_the_limit_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def script() -> None:
        import time

        import streamlit as st

        from app.jobs import working

        with working("Computing ...") as progress:
            for step in range(1000):
                time.sleep(0.01)
                progress(step, 1000)
        st.markdown("done")

    monkeypatch.setenv(mode.SECONDS_VARIABLE, "0.1")
    at = AppTest.from_function(script, default_timeout=30).run()
    assert "longer than 0.1 s" in at.warning[0].value
    assert not at.markdown
    assert not at.exception
    assert not jobs.LINE.tickets


def test_work_that_cannot_be_done_leaves_no_bar_behind() -> None:
    def script() -> None:
        import streamlit as st

        from app.jobs import working
        from engine.api import InputError

        try:
            with working("Computing ..."):
                raise InputError("No images are here.")
        except InputError as error:
            st.caption(str(error))

    at = AppTest.from_function(script, default_timeout=30).run()
    assert [caption.value for caption in at.caption] == ["No images are here."]
    assert not at.get("progress")
