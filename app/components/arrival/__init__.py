"""Takes a keyboard and a screen reader to a new view: scrolls to it and moves the focus to its (unseen) name.

Usage::

    arrival("Step 3 of 8: Swap the statistics", key="arrival")     # where the view begins; acts when the name changes
"""

from __future__ import annotations

from pathlib import Path

from streamlit.components.v2 import component

_mount = component(
    "dual_bn_arrival",
    html='<span class="name" tabindex="-1"></span>',
    css=".name { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); outline: 0; }",
    js=(Path(__file__).parent / "arrival.js").read_text(encoding="utf-8"),
)


def arrival(name: str, *, key: str) -> None:
    """Nothing to see; the first call of a visit moves nothing."""
    _mount(data={"name": name}, key=key)
