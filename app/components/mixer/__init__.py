"""The mixer component: one small slider a norm layer, from clean to adversarial AP, like the faders of a mixing desk.

    mixed = mixer(payload, key="mixer", on_mix_change=callback)

A drag moves only the browser; Python hears of the mix by the trigger `mix`, [λ of every layer], when a slider is let go
or the keys have rested. Change `token` to make the browser take over `values`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component

from app.components.network import Stage

_HERE = Path(__file__).parent
_PARTS = _HERE.parent / "blend" / "parts.js"
STEP = 0.05


@dataclass(frozen=True, slots=True)
class MixerPayload:
    """`values`: λ of every layer, by depth; `base`: λ of all layers that are not set apart; `picked`: one to mark."""

    stages: Sequence[Stage]
    names: Sequence[str]
    values: Sequence[float]
    base: float
    picked: int
    token: str


def mixer(payload: MixerPayload, *, key: str, on_mix_change: Callable[[], None]) -> None:
    """Mounts the component."""
    _mount(key=key, data=asdict(payload), on_mix_change=on_mix_change)


def mixed(sent: Any, n_layers: int) -> tuple[float, ...] | None:
    """λ of every layer as the browser sent it, which is not trusted: on the sliders' steps, or None."""
    if not isinstance(sent, list) or len(sent) != n_layers:
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in sent):
        return None
    return tuple(round(min(1.0, max(0.0, round(v / STEP) * STEP)), 2) for v in sent)


_mount = component(
    "dual_bn_mixer",
    html='<div class="mix"><div class="desk" data-part="desk"></div></div>',
    css=(_HERE / "mixer.css").read_text(encoding="utf-8"),
    js="\n".join(path.read_text(encoding="utf-8") for path in (_PARTS, _HERE / "mixer.js")),
)
