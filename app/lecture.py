"""Lecture mode (`?mode=lecture`): large type, no menu, no small print, so that the last row can read along.

Usage::

    lecture.begin()                 # once a run, before the page
    lecture.prose("Long text ...")  # drawn for readers, not for a lecture hall
    lecture.end()                   # the way out
"""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

MODE, HIDE = "mode", "hide"
LECTURE = "lecture"
# Streamlit has no option for this: its theme belongs to the server, not to a visitor, and it can hide neither captions
# nor its own menu (but for `?embed=true`). So this is the app's only style for Streamlit's own elements. What Streamlit
# draws is measured in the root's font size: one number enlarges all of it. Our components read the variables, which
# reach into their shadow roots. Should a test id change one day, captions, menu or margins are back, and nothing else
# happens; tests/browser/test_tour.py notices.
STYLE = """<style>
:root { font-size: 21px; --zoom: 1.3; --small-print: none; --key-size: 22px; --chart: 176px; }
[data-testid="stCaptionContainer"], [data-testid="stHeader"] { display: none; }
[data-testid="stMainBlockContainer"] { padding: 1rem 2rem; }
</style>"""


def on() -> bool:
    """Whether the address asks for it."""
    return st.query_params.get(MODE) == LECTURE


def begin() -> None:
    """Large type, or one message where the address asks for a mode that does not exist."""
    if on():
        st.html(STYLE)
        return
    wrong = st.query_params.get(MODE)
    if wrong is not None and st.session_state.get("mode_told") != wrong:
        st.toast("This link asks for a mode that does not exist; the only one is mode=lecture.", duration="long")
        st.session_state["mode_told"] = wrong


def enter() -> None:
    st.query_params[MODE] = LECTURE


def leave() -> None:
    for name in (MODE, HIDE):
        st.query_params.pop(name, None)


def end() -> None:
    """The way out, at the foot of the page."""
    if on():
        st.button("Leave lecture mode", key="leave_lecture", on_click=leave, type="tertiary", icon=":material/close:")


def prose(text: str, words: str | None = None) -> None:
    """An introduction, which a lecturer says instead. words: help on the terms in it."""
    if not on():
        st.markdown(text, help=words)


def link(path: str, **query: str) -> str:
    """An address of this app that stays in the mode of this page."""
    query |= {MODE: LECTURE} if on() else {}
    return path + ("?" + urlencode(query) if query else "")
