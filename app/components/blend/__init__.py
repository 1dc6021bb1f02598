"""The drag component: accuracy curves, test images and layer gaps that follow one slider, wholly in the browser.

    payload = BlendPayload(stops=..., curves=Curves(clean=..., robust=...), attack="PGD-10 at 8/255", ...)
    state = blend(payload, key="blend")        # BlendState(lam=0.35, pinned=2, layer="layer3.1.bn2")

A drag sends nothing. Python hears of λ when the pointer is lifted, the keys have rested or the sweep has ended, and of
a pinned image or a chosen layer at once. While the payload is equal from run to run Streamlit does not send it again:
keep `start` constant, and change `start.token` only to make the browser jump (a preset).

The fields of the payload are documented at their dataclasses. All fractions and confidences are in [0, 1], and any
number that is not finite is drawn as a gap. `stops` are λ in ascending order; values below 0 or above 1 are
extrapolation and drawn as such.
"""

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from streamlit.components.v2 import component

__all__ = [
    "Axis", "BlendPayload", "BlendState", "Curve", "Curves", "Gap", "Images", "Layers", "Predictions", "Start",
    "blend", "encode", "inlined", "validated",
]  # fmt: skip

_HERE = Path(__file__).parent
# Inline components are one module to Streamlit: the parts share its scope and are joined in this order.
_PARTS = ("parts.js", "curves.js", "pictures.js", "layers.js", "taken.js", "blend.js")


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy at every stop with its 95 % interval; `n` images were judged."""

    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    n: int


@dataclass(frozen=True, slots=True)
class Curves:
    """`robust=None` hides the second curve (no attack)."""

    clean: Curve
    robust: Curve | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """What the slider blends, and what its two ends are called."""

    name: str = "affine parameters (AP)"
    at_zero: str = "clean AP"
    at_one: str = "adversarial AP"


@dataclass(frozen=True, slots=True)
class Predictions:
    """Top class and its probability, [image stop][image]."""

    predicted: Sequence[Sequence[int]]
    confidence: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Images:
    """Test images, their adversarial versions and the verdicts at every image stop.

    `pixels` is `encode` of uint8 (count, 3, side, side); `deltas` is `encode` of int8 (len(delta_stops), count, 3,
    side, side), adversarial minus original in steps of 1/255. Without `deltas` or `adversarial` only the originals
    are shown.
    """

    side: int
    count: int
    pixels: str
    labels: Sequence[int]
    classes: Sequence[str]
    delta_stops: Sequence[float]
    clean: Predictions
    deltas: str | None = None
    adversarial: Predictions | None = None
    magnify: int = 16


@dataclass(frozen=True, slots=True)
class Gap:
    """One distance per layer at each of its own stops: `values[stop][layer]`."""

    stops: Sequence[float]
    values: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Layers:
    """Per norm layer, in order of depth: the gap of the statistics at this λ, the same for the stored statistics (one
    number a layer, drawn pale on the same scale), and the gap of the affine parameters (its own scale)."""

    names: Sequence[str]
    statistics_gap: Gap | None = None
    affine_gap: Gap | None = None
    stored_gap: Sequence[float] | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the browser begins, and where it jumps whenever `token` differs from the one it saw last."""

    lam: float = 0.5
    pinned: int = 0
    layer: str | None = None
    token: int = 0


@dataclass(frozen=True, slots=True)
class BlendPayload:
    """All the component shows. `images=None` shows `images_message`; `layers=None` hides the layer bars.

    joined: whether the stops are drawn as one curve; locked: why the slider cannot be moved, "" where it can.
    source: who made this, the last line of the file that a visitor takes away.
    """

    stops: Sequence[float]
    curves: Curves
    attack: str
    statistics: str
    provenance: str
    axis: Axis = field(default_factory=Axis)
    images: Images | None = None
    images_message: str = ""
    layers: Layers | None = None
    joined: bool = True
    locked: str = ""
    start: Start = field(default_factory=Start)
    source: str = ""

    def __post_init__(self) -> None:
        _check_stops("stops", self.stops)
        for name, curve in (("clean", self.curves.clean), ("robust", self.curves.robust)):
            for part in ("value", "low", "high") if curve else ():
                _check_length(f"curves.{name}.{part}", getattr(curve, part), len(self.stops))
        if self.images:
            _check_stops("images.delta_stops", self.images.delta_stops)
            _check_length("images.labels", self.images.labels, self.images.count)
        if self.layers:
            for name in ("statistics_gap", "affine_gap"):
                gap: Gap | None = getattr(self.layers, name)
                if gap:
                    _check_stops(f"layers.{name}.stops", gap.stops)
                    _check_length(f"layers.{name}.values", gap.values, len(gap.stops))


@dataclass(frozen=True, slots=True)
class BlendState:
    """What the visitor last settled on; λ is one of the payload's stops, `layer` one of its names or None.

    `painted`: the browser has drawn the component, so what costs it more may follow.
    """

    lam: float
    pinned: int
    layer: str | None
    painted: bool = False


def encode(array: NDArray[np.uint8] | NDArray[np.int8]) -> str:
    """Base64 of the zlib-deflated bytes of an 8-bit array, as the browser unpacks it."""
    if array.dtype.name not in ("uint8", "int8"):
        raise TypeError(f"encode() takes uint8 or int8, not {array.dtype}: convert the pixels first")
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), level=9)).decode("ascii")


def blend(payload: BlendPayload, *, key: str) -> BlendState:
    """Mounts the component and returns the visitor's choice, or the start until there is one."""
    sent = _mount(key=key, data={**_plain(payload), "key": key})
    return replace(validated(sent.get("choice"), payload), painted=bool(sent.get("painted")))


def inlined(payload: BlendPayload) -> tuple[str, str, str, str]:
    """HTML, CSS, JavaScript and payload (JSON) of the component, for a page of its own; its `mount` draws it there."""
    return _HTML, _CSS, _JS, json.dumps({**_plain(payload), "key": "page"}, ensure_ascii=False)


def validated(choice: object, payload: BlendPayload) -> BlendState:
    """The choice sent by the browser, which is not trusted: every part that is not plausible falls back to the start.

    A choice made before the last jump (an older token) is the start as well. λ is the stop nearest to what was chosen,
    by the same rule as in the browser.
    """
    start = payload.start
    given: Mapping[Any, Any] = choice if isinstance(choice, Mapping) else {}
    if given.get("token") != start.token:
        given = {}
    lam, pinned, layer = given.get("lam"), given.get("pinned"), given.get("layer", start.layer)
    wanted = float(lam) if _is_number(lam) else start.lam
    count = payload.images.count if payload.images else 0
    if not (isinstance(pinned, int) and not isinstance(pinned, bool) and 0 <= pinned < max(count, 1)):
        pinned = start.pinned
    names = payload.layers.names if payload.layers else ()
    return BlendState(
        lam=float(min(payload.stops, key=lambda stop: abs(stop - wanted))),
        pinned=pinned if 0 <= pinned < count else 0,
        layer=layer if isinstance(layer, str) and layer in names else None,
    )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    """Dataclasses, sequences and numpy scalars as JSON; floats to 5 decimals, and None where not finite."""
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    number = float(value)
    return round(number, 5) if math.isfinite(number) else None


def _check_stops(name: str, stops: Sequence[float]) -> None:
    if not len(stops) or any(b <= a for a, b in zip(stops, stops[1:], strict=False)):
        raise ValueError(f"{name} must be ascending and not empty, got {list(stops)}")


def _check_length(name: str, values: Sequence[Any], length: int) -> None:
    if len(values) != length:
        raise ValueError(f"{name} has {len(values)} entries, expected {length}")


_HTML, _CSS = ((_HERE / name).read_text(encoding="utf-8") for name in ("blend.html", "blend.css"))
_JS = "\n".join((_HERE / part).read_text(encoding="utf-8") for part in _PARTS)
_mount = component("dual_bn_blend", html=_HTML, css=_CSS, js=_JS)
