"""One slot for long torch work in the whole process, so that two visitors never fight for the same cores.

Usage::

    with working("Attacking ...") as progress:
        compute(progress=progress)     # each call draws the bar, and lets Streamlit stop the work if asked
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import streamlit as st

_SLOT = threading.Lock()
WAITING = "Another visitor's attack is running; yours is next."


@contextmanager
def slot(waiting: Callable[[], object]) -> Generator[None]:
    """Holds the slot; released however the work ends, Streamlit's own stop exceptions included."""
    while not _SLOT.acquire(timeout=0.2):
        waiting()
    try:
        yield
    finally:
        _SLOT.release()


@contextmanager
def working(text: str) -> Generator[Callable[[int, int], None]]:
    """The slot with a progress bar; yields the callback (done, total)."""
    bar = st.progress(0.0, text)

    def progress(done: int, total: int) -> None:
        bar.progress(done / total, text)

    with slot(lambda: bar.progress(0.0, WAITING)):
        yield progress
    bar.empty()
