"""From what was measured to what the Layers page draws: the diagram's payload, rows for charts, sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn

from app.charts.gaps import ATTACKED, NOISY, OTHER, STORED
from app.components.network import LayerView, NetworkPayload, Pairs, stages
from app.layers.measures import (
    METRICS,
    QUANTITIES,
    ByLayer,
    Part,
    Spread,
    distances,
    gaps,
    merged,
    stored_moments,
    table,
)
from engine import api

SOURCES = {"attacked": ATTACKED, "noisy": NOISY, "other": OTHER}


@dataclass(frozen=True, slots=True)
class Look:
    """How the page looks at a network: at the stored NS or, `held`, at both kinds of images through branch `at`."""

    held: bool
    at: api.Branch
    metric: str
    quantity: str


def sizes(model: nn.Module) -> list[tuple[str, int]]:
    """Name and number of channels of every norm layer."""
    return [(name, layer.num_features) for name, layer in api.dual_layers(model)]


def network_payload(
    model: nn.Module, parts: tuple[Part, ...] | None, look: Look, layer: int, channel: int
) -> NetworkPayload:
    """The diagram and all layers' bars. Both states are drawn on one scale, so that what changes is the gap."""
    states = moments(model, parts)
    found = [distances(state["clean"], state["attacked"]) for state in states]
    now = states[-1] if look.held else states[0]
    of = found[-1] if look.held else found[0]
    top = max([d.value(look.metric, look.quantity) for row in found for d in row] + [1e-9])
    views = [
        LayerView(
            d.layer,
            d.value(look.metric, look.quantity) / top,
            f"{QUANTITIES[look.quantity]}, {METRICS[look.metric]}: {d.value(look.metric, look.quantity):.3g}",
            _pairs(now, d.layer, mean),
            _pairs(now, d.layer, sigma),
            _limits(states, d.layer, mean),
            _limits(states, d.layer, sigma),
        )
        for d in of
    ]
    name, count = sizes(model)[layer]
    colour = (f"Colour: distance in {QUANTITIES[look.quantity]}, {METRICS[look.metric]}", f"{top:.2g}")
    heading = f"Layer {layer}, {name}: {count} channels"
    return NetworkPayload(stages(sizes(model)), views, colour, legend(model, look), heading, layer, channel)


def moments(model: nn.Module, parts: tuple[Part, ...] | None) -> list[dict[str, ByLayer]]:
    """Mean and variance of every layer for clean and attacked images: as stored, then, if measured, at equal AP."""
    states = [stored_moments(model)]
    if parts is not None:
        states.append({name: merged(parts, name) for name in ("clean", "attacked")})
    return states


def legend(model: nn.Module, look: Look) -> list[tuple[str, str, str]]:
    """What the clean and the adversarial bars are: subscript and superscript of NS, and words."""
    y, title = (("clean", "clean"), ("adv", "adversarial"))[look.at]
    if look.held:
        return [("clean", y, f"clean images, {title} AP"), ("adv", y, "attacked images, the same AP")]
    if next(api.dual_layers(model))[1].design.share_statistics:
        return [("", "", "stored for clean images"), ("", "", "stored for attacked images: the same")]
    return [("clean", "clean", "clean images, clean AP"), ("adv", "adv", "attacked images, adversarial AP")]


def channel_rows(model: nn.Module, parts: tuple[Part, ...] | None, look: Look, layer: str) -> pd.DataFrame:
    """The bars of one layer as rows: channel, quantity (mean, sigma), images, value."""
    now = moments(model, parts)[-1 if look.held else 0]
    return pd.DataFrame(
        {"channel": channel, "quantity": quantity, "images": words, "value": value}
        for source, (_, _, words) in zip(("clean", "attacked"), legend(model, look), strict=True)
        for quantity, get in (("mean", mean), ("sigma", sigma))
        for channel, value in enumerate(get(now[source][layer]).tolist())
    )


def mean(moments: api.Moments) -> torch.Tensor:
    return moments.mean


def sigma(moments: api.Moments) -> torch.Tensor:
    return moments.var.sqrt()


def _pairs(state: dict[str, ByLayer], layer: str, get: Callable[[api.Moments], torch.Tensor]) -> Pairs:
    clean, attacked = (get(state[name][layer]).tolist() for name in ("clean", "attacked"))
    return clean, attacked


def _limits(
    states: list[dict[str, ByLayer]], layer: str, get: Callable[[api.Moments], torch.Tensor]
) -> tuple[float, float]:
    values = torch.cat([get(of[layer]) for state in states for of in state.values()])
    return min(0.0, values.min().item()), max(0.0, values.max().item())


def all_gaps(parts: tuple[Part, ...]) -> dict[str, list[Spread]]:
    """By source: every distance from the clean images, with its interval."""
    return {source: gaps(parts, source) for source in SOURCES}


def depth_rows(model: nn.Module, found: dict[str, list[Spread]], metric: str, quantity: str) -> pd.DataFrame:
    """Rows for `depth_chart`, the stored NS among them."""
    depth = {name: i for i, (name, _) in enumerate(sizes(model))}
    rows = [
        {"depth": depth[s.layer], "layer": s.layer, "source": SOURCES[source], "value": s.value, "low": s.low,
         "high": s.high}
        for source, spreads in found.items() for s in spreads
        if s.layer and (s.metric, s.quantity) == (metric, quantity)
    ]  # fmt: skip
    stored = stored_moments(model)
    for d in distances(stored["clean"], stored["attacked"]):
        value = d.value(metric, quantity)
        rows.append({"depth": depth[d.layer], "layer": d.layer, "source": STORED, "value": value, "low": value,
                     "high": value})  # fmt: skip
    return pd.DataFrame(rows)


def accuracy_rows(parts: tuple[Part, ...]) -> pd.DataFrame:
    """Rows for `accuracy_chart`: the measured images themselves."""
    n = sum(part.n for part in parts)
    names = {"clean": "clean images", "noisy": NOISY, "attacked": ATTACKED}
    rows: list[dict[str, object]] = []
    for source, title in names.items():
        i = api.wilson(sum(part.right[source] for part in parts), n)
        rows.append({"source": title, "accuracy": 100 * i.value, "low": 100 * i.low, "high": 100 * i.high, "n": n})
    return pd.DataFrame(rows)


def words(factor: str, moved: str) -> str:
    return f"σ differs by a factor of **{factor}** and μ by **{moved}** σ"


def stored_gap(model: nn.Module, layer: str) -> tuple[float, float]:
    """Standardised distances of mean and sigma between the two stored NS; `layer` '' is the average over layers."""
    stored = stored_moments(model)
    values = table(distances(stored["clean"], stored["attacked"]))
    return values[layer, "standardised", "mean"], values[layer, "standardised", "sigma"]


def held_gap(spreads: list[Spread], layer: str) -> tuple[Spread, Spread]:
    """The same of a measured source, with intervals."""
    by = {s.quantity: s for s in spreads if (s.layer, s.metric) == (layer, "standardised")}
    return by["mean"], by["sigma"]


def stored_words(gap: tuple[float, float]) -> str:
    return words(f"{math.exp(gap[1]):.2f}", f"{gap[0]:.2f}")


def held_words(gap: tuple[Spread, Spread]) -> str:
    moved, ratio = gap
    low, high = (f"{math.exp(v):.2f}" for v in (ratio.low, ratio.high))
    return words(
        f"{math.exp(ratio.value):.2f} ({low} to {high})", f"{moved.value:.2f} ({moved.low:.2f} to {moved.high:.2f})"
    )


def remains(stored: tuple[float, float], held: tuple[Spread, Spread], null: tuple[Spread, Spread]) -> str:
    """What is left of the stored gap at equal AP, in one sentence, chance beside it."""
    parts = [
        f"{100 * h.value / s:.0f} % of the stored gap in {name} (chance alone: {100 * n.value / s:.0f} %)"
        for name, s, h, n in zip(("μ", "σ"), stored, held, null, strict=True) if s > 0
    ]  # fmt: skip
    if not parts:
        return "Both branches have stored the same statistics: there is no gap to be misled by."
    return "At equal AP there remains " + " and ".join(parts) + "."


def depth_words(found: dict[str, list[Spread]], parts: tuple[Part, ...]) -> str:
    """Average distances of all sources and what they do to accuracy, in one sentence."""
    of = {source: held_gap(spreads, "") for source, spreads in found.items()}
    said = [
        f"{SOURCES[source]} **{moved.value:.3f}** σ in μ and a factor **{math.exp(ratio.value):.3f}** in σ"
        for source, (moved, ratio) in of.items()
    ]
    accuracy = {row["source"]: row["accuracy"] for row in accuracy_rows(parts).to_dict("records")}
    return (
        f"Averaged over layers, from the clean images: {'; '.join(said)}. Told right: "
        + ", ".join(f"{source} **{value:.0f} %**" for source, value in accuracy.items())
        + "."
    )
