"""The film component: one attack on one image, step by step, at two settings side by side, wholly in the browser.

    film(FilmPayload(panes=(pane_a, pane_b), side=32, ...), key="film")

Nothing is sent back: playing, pausing and scrubbing happen in the browser.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from streamlit.components.v2 import component

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Pane:
    """One setting. confidence: [frame][class] in [0, 1]; loss, margin: [frame]; above 0 the margin says fooled.

    `sheet`: data URI of a PNG with a frame a column and the rows image, difference, sign, spectrum.
    """

    name: str
    confidence: Sequence[Sequence[float]]
    loss: Sequence[float]
    margin: Sequence[float]
    sheet: str


@dataclass(frozen=True, slots=True)
class FilmPayload:
    """`side`: pixels of a tile; every tile repeats its border once around itself, so that enlarging never shows its
    neighbour. `frames` names the columns of the sheets.
    """

    panes: Sequence[Pane]
    side: int
    frames: Sequence[str]
    classes: Sequence[str]
    label: int
    magnify: int

    def __post_init__(self) -> None:
        for pane in self.panes:
            lengths = {len(pane.confidence), len(pane.loss), len(pane.margin), len(self.frames)}
            if len(lengths) != 1:
                raise ValueError(f"pane {pane.name!r} has rows of different lengths: {sorted(lengths)}")


def data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def film(payload: FilmPayload, *, key: str) -> None:
    """Mounts the component."""
    _mount(key=key, data=asdict(payload))


_mount = component(
    "dual_bn_film",
    html=(_HERE / "film.html").read_text(encoding="utf-8"),
    css=(_HERE / "film.css").read_text(encoding="utf-8"),
    js="\n".join(path.read_text(encoding="utf-8") for path in (_HERE.parent / "blend" / "parts.js", _HERE / "film.js")),
)
