"""A button that copies the address of what is on screen; the address holds every control."""

from __future__ import annotations

from pathlib import Path

from streamlit.components.v2 import component

from app import lecture

_HERE = Path(__file__).parent
_mount = component(
    "dual_bn_copy_link",
    html='<button type="button" class="copy" title="Copy a link to exactly this view">Copy link</button>',
    css=(_HERE / "copy_link.css").read_text(encoding="utf-8"),
    js=(_HERE / "copy_link.js").read_text(encoding="utf-8"),
)


def copy_link(*, key: str) -> None:
    """Draws the button; not in a lecture."""
    if not lecture.on():
        _mount(key=key, width="content")
