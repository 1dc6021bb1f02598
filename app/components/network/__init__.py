"""The network component: the norm layers of a network as a diagram, and the statistics of the picked layer's channels.

    network(encode(payload), key="network", on_picked_change=callback)

A click, or Enter on a focused layer or channel, shows it at once in the browser and tells Python by the trigger
`picked`: {"layer": 3} or {"channel": 12}. Bars move to new values when the payload changes, so that a gap that
vanishes is seen vanishing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component

_HERE = Path(__file__).parent
_PARTS = _HERE.parent / "blend" / "parts.js"
Pairs = tuple[Sequence[float], Sequence[float]]
"""One value a channel for clean and for adversarial images."""


@dataclass(frozen=True, slots=True)
class Block:
    """Norm layers, by depth, that a shortcut goes around; `skip` is the one on the shortcut, if any."""

    layers: tuple[int, ...]
    skip: int | None
    residual: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """Neighbouring blocks of equal width."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class LayerView:
    """One norm layer. share: its distance on the colour scale, in [0, 1]; said: the same in words.

    mean, sigma: the bars; mean_range, sigma_range: lowest and highest value that they are drawn between.
    """

    name: str
    share: float
    said: str
    mean: Pairs
    sigma: Pairs
    mean_range: tuple[float, float]
    sigma_range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class NetworkPayload:
    """`colour`: what the colours mean, and the value at their end; `legend`: (symbol, subscript, superscript, words) of
    the clean and the adversarial bars."""

    stages: Sequence[Stage]
    layers: Sequence[LayerView]
    colour: tuple[str, str]
    legend: Sequence[tuple[str, str, str]]
    heading: str
    layer: int
    channel: int


def stages(layers: Sequence[tuple[str, int]]) -> tuple[Stage, ...]:
    """From (name, channels) of every norm layer in order: 'blocks.2.bn1' and 'blocks.2.shortcut.1' are one block."""
    blocks: list[tuple[str, list[int]]] = []
    for depth, (name, _) in enumerate(layers):
        parts = name.split(".")
        own = next((i for i, p in enumerate(parts) if re.match("bn|norm|shortcut|downsample", p)), len(parts) - 1)
        prefix = ".".join(parts[:own])
        if blocks and blocks[-1][0] == prefix:
            blocks[-1][1].append(depth)
        else:
            blocks.append((prefix, [depth]))
    found: list[tuple[str, list[Block]]] = []
    for prefix, members in blocks:
        skips = [i for i in members if re.search("shortcut|downsample", layers[i][0])]
        straight = tuple(i for i in members if i not in skips)
        title = f"{layers[straight[-1]][1]} channels" if prefix else "stem" if not found else "last"
        block = Block(straight, skips[0] if skips else None, residual=len(members) > 1)
        if found and found[-1][0] == title:
            found[-1][1].append(block)
        else:
            found.append((title, [block]))
    return tuple(Stage(title, tuple(members)) for title, members in found)


def network(data: dict[str, Any], *, key: str, on_picked_change: Callable[[], None]) -> None:
    """Mounts the component; data from `encode`, kept from run to run."""
    _mount(key=key, data=data, on_picked_change=on_picked_change)


def encode(payload: NetworkPayload) -> dict[str, Any]:
    """The payload as it is sent."""
    data: dict[str, Any] = _rounded(asdict(payload))
    return data


def picked(sent: Any, sizes: Sequence[int]) -> Mapping[str, int]:
    """What the browser's trigger names, which is not trusted: {'layer': i}, {'channel': c} or nothing.

    sizes: channels of every layer.
    """
    given: Mapping[str, Any] = sent if isinstance(sent, Mapping) else {}
    limits = {"layer": len(sizes), "channel": max(sizes, default=0)}
    return {
        name: value
        for name, limit in limits.items()
        if isinstance(value := given.get(name), int) and not isinstance(value, bool) and 0 <= value < limit
    }


def _rounded(value: Any) -> Any:
    """Numbers as short as they can be drawn."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


_mount = component(
    "dual_bn_network",
    html=(_HERE / "network.html").read_text(encoding="utf-8"),
    css=(_HERE / "network.css").read_text(encoding="utf-8"),
    js="\n".join(path.read_text(encoding="utf-8") for path in (_PARTS, _HERE / "network.js")),
)
