"""Two networks under one slider: their accuracies on the same axes, and the difference, wholly in the browser.

Usage::

    payload = DuelPayload(stops, rows=[Row("clean", "Clean accuracy", a, b, minus)], at_zero="clean AP", ...)
    lam = duel(payload, key="duel")
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component

_HERE = Path(__file__).parent
_PARTS = _HERE.parent / "blend" / "parts.js"


@dataclass(frozen=True, slots=True)
class Line:
    """A number at every stop with its 95 % interval, fractions; n images, 0 for a difference."""

    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    n: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One panel. kind: 'clean' or 'robust', the colour; delta: second minus first."""

    kind: str
    title: str
    first: Line
    second: Line
    delta: Line


@dataclass(frozen=True, slots=True)
class DuelStart:
    """Where the slider begins, and where it jumps when `token` changes."""

    lam: float = 0.5
    token: int = 0


@dataclass(frozen=True, slots=True)
class DuelPayload:
    """All the component shows; keep `start` equal from run to run, or the slider jumps."""

    stops: Sequence[float]
    rows: Sequence[Row]
    at_zero: str
    at_one: str
    provenance: str
    start: DuelStart


def duel(payload: DuelPayload, *, key: str) -> float:
    """Mounts the component and returns λ, one of the stops: what the visitor settled on, or the start."""
    sent = _mount(key=key, data=asdict(payload))
    return settled(sent.get("choice"), payload)


def settled(choice: Any, payload: DuelPayload) -> float:
    """λ of a choice sent by the browser, which is not trusted; the start where it is not plausible or is older."""
    lam = payload.start.lam
    if isinstance(choice, Mapping) and choice.get("token") == payload.start.token:
        sent = choice.get("lam")
        if isinstance(sent, int | float) and not isinstance(sent, bool) and math.isfinite(sent):
            lam = float(sent)
    return min(payload.stops, key=lambda stop: abs(stop - lam))


_mount = component(
    "dual_bn_duel",
    html=(_HERE / "duel.html").read_text(encoding="utf-8"),
    css=(_HERE / "duel.css").read_text(encoding="utf-8"),
    js="\n".join(path.read_text(encoding="utf-8") for path in (_PARTS, _HERE / "duel.js")),
)
