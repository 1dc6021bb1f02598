"""The two sides of the Compare page: each a checkpoint, a line through its settings and an attack, all in the link.

Usage::

    a, b = side("a", names), side("b", names)     # two Selection
    st.button("Swap", on_click=swap)
"""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from app.controls import control_row, selection_controls
from app.selection import ATTACKS, EPS, HELD, PREFERRED, SLIDES, Selection

SIDES = ("a", "b")
FIRST = {"a": PREFERRED, "b": "shapes-dual-ns"}
PARTS = ("model", "slide", "ns", "ap", "attack", "eps")


def allowed(names: list[str]) -> dict[str, Collection[str]]:
    """URL parameter -> the values that this page can show."""
    values: tuple[Collection[str], ...] = (names, list(SLIDES), list(HELD["ap"]), list(HELD["ns"]), ATTACKS, list(EPS))
    return {f"{side}_{part}": of for side in SIDES for part, of in zip(PARTS, values, strict=True)}


def side(which: str, names: list[str]) -> Selection:
    """The controls of one side."""
    row = control_row()
    return selection_controls(row, names, f"{which}_", FIRST[which], f"**{which.upper()}**, checkpoint")


def swap() -> None:
    """A becomes B and B becomes A; for a button's on_click."""
    state = st.session_state
    for part in PARTS:
        first, second = (f"{which}_{part}" for which in SIDES)
        kept = state.get(first), state.get(second)
        for key, value in zip((second, first), kept, strict=True):
            if value is not None:
                state[key] = value
