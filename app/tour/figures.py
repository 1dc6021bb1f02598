"""The figure of each step: before the guess only what is known by then, after it the whole.

Usage::

    draw(STEPS[2], results, parts, told=False, key="swap")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import streamlit as st

from app import cache
from app.charts import gaps, models
from app.components.blend import Axis, BlendPayload, Curve, Curves, Start, blend
from app.explore import demand
from app.explore.payload import Sources, build, common_stops, sources
from app.layers.measures import Part
from app.layers.views import all_gaps, depth_rows
from app.paper.claim import badge, beyond, label, plain
from app.selection import Selection
from app.shown import Shown
from app.tour.answers import Results
from engine import api

ENDS = (0.0, 1.0)
WAITS = "The slider waits for your guess; for now it stands at the clean end."
BLANK = "Only the two ends are known so far. What lies between them shows when you have guessed."
QUIET = "Before any attack. The slider, here a switch between the branches, waits for your guess."
NO_IMAGES = "There are no images for this setting."


def selection(name: str, slide: str, held: str, attack: str = "PGD-10") -> Selection:
    """The attack of the tour is always the same: PGD-10 at 8/255."""
    return Selection(name, slide, held, attack, 8)


def found_for(shown: Shown, of: Selection) -> Sources:
    return demand.complete(shown, of, sources(shown, of))


def draw(figure: str, of: Results, parts: tuple[Part, ...] | None, told: bool) -> None:
    """One of: branches, channels, ns@0, ap@clean, blend, gap, tasks, claims."""
    match figure:
        case "branches":
            mounted(of.shown, figure, told, lambda: branches(of.shown, told))
        case "ns@0" | "ap@clean" | "blend":
            line = "ap@clean" if figure == "blend" else figure
            mounted(of.shown, figure, told, lambda: on_line(of.shown, line, figure == "blend", told))
        case "channels":
            channels(of.shown)
        case "gap":
            gap(of.shown, parts if told else None)
        case "tasks":
            tasks(of, told)
        case _:
            claims(of, told)


def mounted(shown: Shown, figure: str, told: bool, make: Callable[[], BlendPayload | None]) -> None:
    """The drag component; the same payload for the same question, so that it is sent once."""
    key = ("tour", shown.card.weights_sha256, figure, told)
    made: BlendPayload | None = cache.results().get(key) or make()
    if made is not None:
        cache.remember(key, made)
        blend(made, key=f"tour_{figure}_{shown.card.name}")


def on_line(shown: Shown, line: str, whole: bool, told: bool) -> BlendPayload | None:
    """Accuracies and images on a line: both ends, or all of it; before the guess only what was shown before."""
    slide, held = line.split("@")
    of = selection(shown.card.name, slide, held)
    found = found_for(shown, of)
    if found.clean is None or found.robust is None:
        return None
    stops = common_stops(found)
    known = stops if whole and told else list(ENDS) if whole or told else [0.0]
    axes = stops if whole else list(ENDS)
    made = build(shown, of, found, Start(), shown.problem or NO_IMAGES)
    assert made.curves.robust is not None
    clean, robust = (picked(curve, stops, axes, known) for curve in (made.curves.clean, made.curves.robust))
    return replace(
        made, stops=axes, curves=Curves(clean, robust), joined=whole and told, layers=None,
        locked="" if told else BLANK if whole else WAITS,
        start=Start(0.5 if whole and told else float(told), token=int(told)),
    )  # fmt: skip


def picked(curve: Curve, stops: list[float], axes: list[float], known: list[float]) -> Curve:
    """A curve at the stops of `axes`, with gaps where it is not to be known yet."""
    at = [stops.index(stop) for stop in axes]
    value, low, high = (
        [values[i] if stop in known else np.nan for i, stop in zip(at, axes, strict=True)]
        for values in (curve.value, curve.low, curve.high)
    )
    return Curve(value, low, high, curve.n)


def branches(shown: Shown, told: bool) -> BlendPayload | None:
    """A switch between the two branches as they were trained, each with its own AP and its own stored NS."""
    attack = "PGD-10" if told else "none"
    both = [selection(shown.card.name, "ap", held, attack) for held in ("stored:0", "stored:1")]
    found = [found_for(shown, of) for of in both]
    if any(one.clean is None or (told and one.robust is None) for one in found):
        return None
    clean, adv = found
    joint = Sources(
        switched(clean.clean, adv.clean), switched(clean.robust, adv.robust), both_ends(clean.strip, adv.strip), None,
        clean.computed,
    )  # fmt: skip
    return replace(
        build(shown, both[0], joint, Start(0.0, token=int(told)), shown.problem or NO_IMAGES), joined=False,
        layers=None, axis=Axis("branch", "clean branch", "adversarial branch"),
        statistics="each branch’s own stored NS", locked="" if told else QUIET,
    )  # fmt: skip


def switched(clean: api.Curve | None, adv: api.Curve | None) -> api.Curve | None:
    """Two stops: the first of one curve and the last of the other."""
    return api.Curve(ENDS, (clean.records[0], adv.records[-1])) if clean and adv else None


def both_ends(clean: api.Strip | None, adv: api.Strip | None) -> api.Strip | None:
    """The images at the first stop of one strip and at the last of the other."""
    if clean is None or adv is None or not np.array_equal(clean.indices, adv.indices):
        return None
    names = ("deltas", "clean_class", "clean_confidence", "adv_class", "adv_confidence")
    stacked = {name: np.stack([getattr(clean, name)[0], getattr(adv, name)[-1]]) for name in names}
    return api.Strip(indices=clean.indices, lams=np.array(ENDS), **stacked)


def channels(shown: Shown) -> None:
    """One layer's channels: scale and shift as dots, stored statistics as histograms."""
    names = [name for name, _ in api.dual_layers(shown.model)]
    layer = names[len(names) // 2]
    specs = cache.channel_specs(shown.card.name, shown.card.weights_sha256, layer, 0.5)
    st.markdown(f"**γ and β of layer {layer}**, learned: a line is a channel's way from clean to adversarial")
    st.vega_lite_chart(spec=specs["affine"], key="tour_affine", alt="Scale and shift of every channel, both branches")
    st.markdown("**μ and σ of the same channels**, seen: how many channels have which value")
    for name, column in zip(("mean", "sigma"), st.columns(2), strict=True):
        column.vega_lite_chart(
            spec=specs[name], key=f"tour_{name}", alt=f"Histogram of the stored {name} over channels, both branches"
        )


def gap(shown: Shown, parts: tuple[Part, ...] | None) -> None:
    """Distance by depth: between the stored NS, and once told between clean and attacked images at equal AP."""
    found = all_gaps(parts) if parts is not None else {}
    several = not shown.card.norm_design.share_statistics
    if not found and not several:
        st.markdown("Nothing is stored twice in this network.")
        return
    for quantity, title in (("mean", "mean μ"), ("sigma", "deviation σ")):
        rows = depth_rows(shown.model, found, "standardised", quantity)
        st.markdown(f"**{title}**, by depth of the layer")
        st.vega_lite_chart(
            spec=gaps.depth_chart(rows, "distance, relative", 0, several).to_dict(), key=f"tour_gap_{quantity}",
            alt=f"Distance in {title} by depth: stored by the branches, and attacked from clean images at equal AP",
        )  # fmt: skip


def tasks(of: Results, told: bool) -> None:
    """Clean against robust accuracy: networks with one set for all, this one's clean branch, once told both."""
    rows = models.branch_rows(card for card in of.cards if card.data["name"] == of.card.data["name"])
    if rows.empty:
        return
    own = rows["checkpoint"] == of.card.name
    rows = rows.loc[(own & (told | (rows["branch"] != "adversarial"))) | (~own & (rows["branch"] == models.ONLY))]
    st.altair_chart(
        models.scatter(rows, ()), alt="Clean against robust accuracy of this network's branches and of networks with "
        "one set of numbers",
    )  # fmt: skip
    st.caption(
        f"n = {rows['n'].max():,} · {rows['attack'].iloc[0]}, white-box · bars: 95 % Wilson intervals. Dashed: what "
        "no other beats in both."
    )


def claims(of: Results, told: bool) -> None:
    """Every claim, once told with its verdict."""
    st.markdown(f"**The claims, tested on {label(api.family_of(of.card))}**")
    rows = [
        f"| {name} | {plain(one.claim)} | {badge(one.verdict) if told else ''} |"
        for name, one in sorted(of.findings.items(), key=lambda item: (beyond(item[0]), int(item[0][1:])))
    ]
    st.markdown("\n".join(["| | claim | verdict |", "|---|---|---|", *rows]) if rows else "None yet.")
