"""Brings the page back to its top when it begins to show something else; Streamlit stays where the last view was read.

Usage::

    to_top("E3", key="top")         # scrolls once, when the last call said another view
"""

from __future__ import annotations

from pathlib import Path

from streamlit.components.v2 import component

_mount = component(
    "dual_bn_to_top",
    html="<span></span>",
    js=(Path(__file__).parent / "to_top.js").read_text(encoding="utf-8"),
)


def to_top(view: str, *, key: str) -> None:
    """Nothing to see; the first call of a visit scrolls nothing."""
    _mount(data={"view": view}, key=key)
