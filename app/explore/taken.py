"""What Explore gives to take away: its curves as a chart, its settings in words, the code, and the hand-out.

Usage::

    offer_curves(shown, selection, found, state.lam)
    take_away(place, about(shown, selection, found, state.lam, payload))
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from app import cache
from app.charts.attacks import curve_chart
from app.command import evaluate_command, sweep_command
from app.components.blend import BlendPayload, BlendState, Start
from app.exhibits import stored_in
from app.explore.payload import Sources, accuracy_at, common_stops, provenance
from app.selection import Selection
from app.shown import Shown
from app.takeaway.code import curve_code
from app.takeaway.figure import source_line
from app.takeaway.handout import Handout, page
from app.takeaway.tray import About, offer
from engine import api

COLOURS = {"clean": "#1b8ea3", "robust": "#e0681f"}
QUESTION = "Where does a network keep its robustness?"


def curve_rows(shown: Shown, found: Sources) -> pd.DataFrame:
    """A row a record of the curves: percent with its 95 % interval, and the command that makes it again."""
    rows: list[dict[str, Any]] = []
    for name, curve in (("clean", found.clean), ("robust", found.robust)):
        for lam, record in zip(curve.lams, curve.records, strict=True) if curve else ():
            i, attack = record.interval, record.attack.label if record.attack else "none"
            rows.append({
                "lambda": lam, "curve": name, "accuracy": 100 * i.value, "low": 100 * i.low, "high": 100 * i.high,
                "n": record.n, "n_correct": record.n_correct, "attack": attack, "seed": record.seed,
                "weights": shown.card.weights_sha256, "command": evaluate_command(shown.card.name, record),
            })  # fmt: skip
    return pd.DataFrame(rows)


def offer_curves(shown: Shown, selection: Selection, found: Sources, lam: float) -> None:
    rows = curve_rows(shown, found)
    values = {row["curve"]: row["accuracy"] for row in rows.to_dict("records") if row["lambda"] == lam}
    said = ", ".join(f"{name} {value:.1f} %" for name, value in values.items())
    offer(
        "Accuracy over λ",
        f"From the clean (λ = 0) to the adversarial branch (λ = 1). At λ = {lam:.2f}, dotted: {said}. "
        + provenance(shown, selection, found),
        lambda: [("", curve_chart(rows, "lambda", "λ: clean → adversarial", COLOURS, lam))],
        lambda: rows,
    )


def offer_distances(shown: Shown, layer: str) -> None:
    offer(
        "How far apart the branches are",
        "Wasserstein distance over channels between the clean and the adversarial branch, by depth. Picked: "
        f"{layer}. {stored_in(shown)}",
        lambda: [("", cache.distance_spec(shown.card.name, shown.card.weights_sha256, layer))],
    )


def offer_channels(shown: Shown, layer: str, lam: float, specs: dict[str, cache.Spec]) -> None:
    parts = {"affine": "Scale and shift", "mean": "Stored means", "sigma": "Stored deviations"}
    offer(
        "One layer, channel by channel",
        f"Layer {layer}; a line is one channel's way from its clean to its adversarial scale and shift, at λ = "
        f"{lam:.2f} now. {stored_in(shown)}",
        lambda: [(title, specs[name]) for name, title in parts.items()],
    )


def offer_plane(shown: Shown, specs: dict[str, cache.Spec]) -> None:
    offer(
        "The plane of NS and AP",
        "Percent right in every mix of stored NS (up) and AP (right); robust: PGD-10 at 8/255, white-box in every "
        f"cell · the CSV has n and 95 % intervals · seed {api.SEED} · weights {shown.card.weights_sha256[:8]} · "
        + sweep_command(shown.card.name, shown.records, shown.tracks),
        lambda: list(specs.items()),
    )


def about(shown: Shown, selection: Selection, found: Sources, state: BlendState, payload: BlendPayload) -> About:
    """What the page's files share, and the hand-out of the state that it is in."""
    assert found.clean is not None
    lams, n = common_stops(found), found.clean.records[0].n
    code = curve_code(shown, selection.line, selection.engine_attack, lams, n)
    words = f"{shown.card.norm_design.label}; {selection.words}; λ = {state.lam:.2f}"
    settings = {"selection": asdict(selection), "lambda": state.lam, "image": state.pinned, "layer": state.layer}
    made = About("explore", [shown.card], words, settings, code)
    start = Start(state.lam, state.pinned, state.layer)
    # Read here, in the run: the file itself is made later, outside of it.
    address = _address()
    return replace(
        made, handout=lambda: page(handout(shown, selection, found, replace(payload, start=start), made, address))
    )


def handout(
    shown: Shown, selection: Selection, found: Sources, payload: BlendPayload, made: About, address: str
) -> Handout:
    """The page's state as a file of its own."""
    records = {name: accuracy_at(curve, payload.start.lam)
               for name, curve in (("clean", found.clean), ("robust", found.robust)) if curve}  # fmt: skip
    figures = [
        (f"{name.capitalize()} accuracy" + (f" under {record.attack.label}, white-box" if record.attack else ""),
         f"{100 * record.interval.value:.1f} %",
         f"95 % interval {100 * record.interval.low:.1f} to {100 * record.interval.high:.1f} %, n = {record.n:,}")
        for name, record in records.items()
    ]  # fmt: skip
    last = list(records.values())[-1]
    commands = f"{provenance(shown, selection, found)} · at this λ: {evaluate_command(shown.card.name, last)}"
    images = ""
    if shown.card.data["name"] != "shapes" and payload.images is not None:
        images = (
            f"This file contains {payload.images.count} images of {shown.card.data['name'].upper()}, which are not "
            "ours to give away: use it in class, do not publish it."
        )
    setting = f"{shown.card.name}, {made.words}"
    return Handout(
        "Dual-BN Explorer", QUESTION, setting, figures, commands, source_line(made.cards), address, images, payload
    )


def _address() -> str:
    """The link to what is on screen, as this server is reached; "" where nobody asked by a browser."""
    url = st.context.url
    return f"{url.rstrip('/')}/?{urlencode(dict(st.query_params))}" if url else ""
