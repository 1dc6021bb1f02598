"""The drawing pad: a canvas to draw one shape on, or to put a ready one, which sends a picture when the pen is lifted.

    pad(PadPayload(recipe=""), key="pad", on_drawn_change=callback)
    drawing = drawn(st.session_state["pad"].get("drawn"))

The browser owns the drawing. With each picture it sends its `recipe`, an opaque text that brings the same drawing back
when the pad is mounted again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from streamlit.components.v2 import component

from engine import api

_HERE = Path(__file__).parent
SIDE, FINE, RADIUS = 32, 128, 9.5
"""Pixels of the picture and of the ready shapes' bits; the ready shapes' radius in the picture, a middling one."""
MAX_RECIPE = 200_000
COLOURS = (
    ("cream", "#f1e7d0"),
    ("yellow", "#dfb14a"),
    ("red", "#b5483f"),
    ("green", "#4f8a5e"),
    ("blue", "#3c6aa3"),
    ("slate", "#71838f"),
    ("ink", "#26313a"),
)
"""From the middle of the range that the training images' colours are drawn from."""
START = {"shape": "star", "brush": "cream", "ground": "slate"}


@dataclass(frozen=True, slots=True)
class PadPayload:
    """`recipe`: what an earlier pad sent, or nothing for the drawing that everybody starts with."""

    recipe: str


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """pixels uint8 (3, 32, 32), and the recipe that makes the pad show it again."""

    pixels: npt.NDArray[np.uint8]
    recipe: str


@cache
def ready_shapes() -> Sequence[dict[str, str]]:
    """The classes of `shapes`, each as FINE x FINE bits (base64), upright and in the middle."""
    rows, columns = np.mgrid[:FINE, :FINE].astype(np.float64) - (FINE - 1) / 2
    down, right = (values * SIDE / FINE / RADIUS for values in (rows, columns))
    made: list[dict[str, str]] = []
    for name, distance in api.shapes.SHAPES.items():
        # the engine's first corner points right; these two look unusual so
        x, y = (-down, right) if name in ("triangle", "star") else (right, down)
        bits = np.packbits(distance(x, y) < 0).tobytes()
        made.append({"name": name, "bits": base64.b64encode(bits).decode("ascii")})
    return made


def pad(payload: PadPayload, *, key: str, on_drawn_change: Callable[[], None]) -> None:
    """Mounts the component."""
    colours = [{"name": name, "value": value} for name, value in COLOURS]
    fixed = {"side": SIDE, "fine": FINE, "colours": colours, "shapes": ready_shapes(), "start": START}
    _mount(key=key, data=asdict(payload) | fixed, on_drawn_change=on_drawn_change)


def drawn(sent: Any) -> Drawing | None:
    """What the browser sent, which is not trusted: a picture of the right size, or None."""
    if not isinstance(sent, dict) or not isinstance(sent.get("picture"), str):
        return None
    try:
        content = base64.b64decode(sent["picture"], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(content) != 3 * SIDE * SIDE:
        return None
    recipe = sent.get("recipe")
    pixels = np.array(np.frombuffer(content, np.uint8).reshape(SIDE, SIDE, 3).transpose(2, 0, 1))
    return Drawing(pixels, recipe if isinstance(recipe, str) and len(recipe) <= MAX_RECIPE else "")


_mount = component(
    "dual_bn_pad",
    html=(_HERE / "pad.html").read_text(encoding="utf-8"),
    css=(_HERE / "pad.css").read_text(encoding="utf-8"),
    js="\n".join(path.read_text(encoding="utf-8") for path in (_HERE.parent / "blend" / "parts.js", _HERE / "pad.js")),
)
