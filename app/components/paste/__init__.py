"""A place to paste a picture: by a button where the browser lets a page read the clipboard, by Ctrl+V everywhere.

    paste(key="paste", on_pasted_change=callback)
    content = pasted(st.session_state["paste"].get("pasted"))

What is sent are bytes, whatever they are; text is sent as such, so that the server can say what is wrong with it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component

from engine import api

_HERE = Path(__file__).parent
MOST = api.picture.MAX_BYTES + 1
"""Bytes that the browser sends at most: one more than is allowed, so that the server refuses what was cut off."""


def paste(*, key: str, on_pasted_change: Callable[[], None]) -> None:
    """Mounts the component."""
    _mount(key=key, data={"most": MOST}, on_pasted_change=on_pasted_change)


def pasted(sent: Any) -> bytes | None:
    """What the browser sent, which is not trusted: bytes, at most MOST, or None."""
    if not isinstance(sent, str) or len(sent) > 4 * (MOST // 3 + 1):
        return None
    try:
        return base64.b64decode(sent, validate=True)
    except (binascii.Error, ValueError):
        return None


_mount = component(
    "dual_bn_paste",
    html='<div class="paste"><button type="button">Paste a picture</button><p role="status"></p></div>',
    css=(_HERE / "paste.css").read_text(encoding="utf-8"),
    js=(_HERE / "paste.js").read_text(encoding="utf-8"),
)
