"""What the Layers page gives to take away, beside what stands where it is drawn.

Usage::

    offer_stored(shown, look, layer=5)
    take_away(place, about(shown, question, look, channel=0))
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.charts import gaps
from app.exhibits import stored_in
from app.layers import measures, views
from app.layers.measures import METRICS, QUANTITIES, Part, Question
from app.layers.mixing import Live
from app.layers.views import Look
from app.shown import Shown
from app.takeaway.code import gaps_code
from app.takeaway.tray import About, offer
from engine import api


def offer_stored(shown: Shown, at: Look, layer: int) -> None:
    """The diagram's colours as a chart: the stored gap by depth."""
    if shown.card.norm_design.share_statistics:
        return
    offer(
        "Gap between the two stored NS by depth",
        f"Distance between what the two branches have stored, each behind its own AP; {METRICS[at.metric]}: "
        f"{measures.MEANING[at.metric]}. {stored_in(shown)}",
        lambda: [
            (title, gaps.depth_chart(views.depth_rows(shown.model, {}, at.metric, of), "distance", layer, True))
            for of, title in QUANTITIES.items()
        ],
    )


def offer_channels(
    shown: Shown, parts: tuple[Part, ...] | None, question: Question, at: Look, layer: str, channel: int
) -> None:
    """The diagram's bars as a chart: mean and deviation of every channel of the picked layer."""
    rows = views.channel_rows(shown.model, parts, at, layer)
    if at.held and parts is not None:
        what = f"measured through one network, so at equal AP. {provenance(shown, question, parts)}"
    else:
        what = f"as each branch has stored them, behind its own AP. {stored_in(shown)}"
    offer(
        "Channel by channel",
        f"What flows into the {rows['channel'].nunique()} channels of layer {layer}, {what}",
        lambda: [
            (title, gaps.bars_chart(rows.query(f"quantity == '{of}'").drop(columns="quantity"), title, channel))
            for of, title in QUANTITIES.items()
        ],
        lambda: rows.assign(layer=layer, weights=shown.card.weights_sha256),
    )


def provenance(shown: Shown, question: Question, parts: tuple[Part, ...]) -> str:
    n = sum(part.n for part in parts)
    data = str(shown.card.data["name"])
    family = data if data == "shapes" else f"{data}-{shown.card.architecture}"
    return (
        f"n = {n} {data} images a source, the same images clean, attacked and noisy, {n} others as "
        f"the null · {question.attack.label}, all steps, white-box through the branch that is measured · 95 % "
        f"jackknife over {n // measures.GROUP} groups of images · seed {api.SEED} · weights "
        f"{shown.card.weights_sha256[:8]} · python -m engine paper E3 E4 E6 --family {family}"
    )


def offer_values(
    shown: Shown, parts: tuple[Part, ...], question: Question, layer: str, channel: int, spec: dict[str, Any]
) -> None:
    offer(
        "One channel's values",
        f"What enters channel {channel} of layer {layer}, clean and attacked images through one network. "
        + provenance(shown, question, parts),
        lambda: [("", spec)],
    )


def offer_depth(
    shown: Shown, parts: tuple[Part, ...], question: Question, at: Look, drawn: list[tuple[str, Any]]
) -> None:
    offer(
        "Distance from the clean images by depth",
        f"All sources through the same network; {METRICS[at.metric]}: {measures.MEANING[at.metric]}. "
        + provenance(shown, question, parts),
        lambda: drawn,
    )


def offer_mix(live: Live, rows: pd.DataFrame, caption: str) -> None:
    offer(
        "A mix of AP among the uniform blends",
        f"Grey: all layers alike, from the sweep; violet: the mix, with both intervals. {caption}",
        lambda: [("", {**gaps.plane_chart().to_dict(), "data": {"values": _values(rows)}})],
        lambda: rows.assign(attack=live.attack.label, seed=api.SEED, weights=live.weights_sha256),
    )


def _values(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as Vega-Lite takes them: nothing where there is no number."""
    return [{name: value for name, value in row.items() if pd.notna(value)} for row in rows.to_dict("records")]  # pyright: ignore[reportReturnType]


def about(shown: Shown, question: Question, at: Look, channel: int) -> About:
    """What the page's figures share; the code measures clean and attacked images at this AP."""
    name = ("clean", "adversarial")[at.at]
    words = (
        f"{shown.card.norm_design.label}; AP held at the {name} branch's; {question.attack.label} against noise of "
        f"the same size ({question.noise})"
    )
    settings = {
        "setting": question.setting.as_json(), "attack": question.attack.label, "noise": question.noise,
        "metric": at.metric, "quantity": at.quantity, "channel": channel, "mix": st.session_state.get("mix", ()),
    }  # fmt: skip
    code = ""
    if shown.bench is not None:
        n = measures.size(shown.bench)
        code = gaps_code(shown, question.setting, question.attack, n, measures.GROUP)
    return About("layers", [shown.card], words, settings, code)
