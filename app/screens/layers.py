"""Layers: is the gap between clean and attacked images real? Statistics of every norm layer, stored and at equal AP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
import torch

from app import cache, lecture
from app.cache import shared
from app.charts import gaps
from app.components.copy_link import copy_link
from app.components.network import encode, network, picked
from app.controls import control_row, eps_control, hideable, model_control
from app.layers import measures, taken, views
from app.layers.measures import METRICS, QUANTITIES, Part, Question
from app.layers.mixer_card import mixer_card
from app.layers.views import Look
from app.selection import EPS, STALE
from app.shown import Shown
from app.takeaway.tray import About, start, take_away
from app.words import word
from engine import api

TEXT = Path(__file__).resolve().parents[1] / "text"
BRANCHES = {"clean": api.Branch.CLEAN, "adversarial": api.Branch.ADV}
NOISES: dict[str, measures.Noise] = {"uniform, as in the paper": "uniform", "random signs": "sign"}
METRIC_NAMES = {label: name for name, label in METRICS.items()}
QUANTITY_NAMES = {"μ": "mean", "σ": "sigma"}
NOTES = {
    "single": "This network has **one** set of statistics and affine parameters for all images: nothing is stored "
    "twice, so there is no stored gap to be misled by. Hold AP fixed to measure clean and attacked images.",
    "dual-ap": "The branches of this network **share their statistics**: nothing is stored twice, so there is no "
    "stored gap. Hold AP fixed to measure clean and attacked images at either AP.",
    "dual-ns": "The branches of this network share their affine parameters and have their **own statistics**: the "
    "stored gap here is at equal AP already. The AP switch chooses only whose statistics the network uses.",
    "dual-linear": "The branches of this network share every norm layer and have their **own linear head**: nothing "
    "is stored twice. Hold AP fixed to measure clean and attacked images.",
}


def check_link(query: dict[str, str], names: list[str], shown: Shown) -> None:
    """Once a session: one message if the link asks for what is not here."""
    if st.session_state.get("layers_seen"):
        note = st.session_state.pop("layers_note", None)
        if note is not None:  # the page reran by itself when it had measured, which takes a toast away
            st.toast(note, duration="long")
        return
    st.session_state["layers_seen"] = True
    layers = [name for name, _ in views.sizes(shown.model)]
    allowed: dict[str, list[str]] = {
        "model": names, "layer": layers, "eps": list(EPS), "hold": ["true", "false"], "at": list(BRANCHES),
        "metric": list(METRIC_NAMES), "of": list(QUANTITY_NAMES), "noise": list(NOISES),
    }  # fmt: skip
    wrong = [name for name, values in allowed.items() if name in query and query[name] not in values]
    wrong += ["channel"] if not query.get("channel", "0").isdecimal() else []
    if wrong:
        st.session_state["layers_note"] = STALE.format(", ".join(wrong))
        st.toast(st.session_state["layers_note"], duration="long")


def controls(names: list[str]) -> tuple[str, int]:
    """Checkpoint and eps as level/255."""
    row = control_row()
    return model_control(row, names), eps_control(row, label="eps of attack and noise")


def look(shown: Shown) -> Look:
    """The switch, and what the colours show."""
    row = hideable(st.container(horizontal=True, gap="medium", vertical_alignment="bottom"))
    held = row.toggle(
        "**Hold AP fixed**", key="hold", bind="query-params", disabled=shown.bench is None,
        help="Off: what the two branches have stored, each with its own AP. On: clean and attacked images, measured "
        "through one and the same network.",
    )  # fmt: skip
    metric = row.segmented_control(
        "Distance", list(METRIC_NAMES), default=METRICS["standardised"], key="metric", required=True,
        bind="query-params", help="; ".join(f"{METRICS[name]}: {text}" for name, text in measures.MEANING.items()),
    )  # fmt: skip
    of = row.segmented_control(
        "of", list(QUANTITY_NAMES), default="σ", key="of", required=True, bind="query-params", help=word("NS")
    )
    branch = api.Branch.CLEAN
    if not (shown.card.norm_design.share_parameters and shown.card.norm_design.share_statistics):
        branch = api.Branch.ADV
        if held:
            at = row.segmented_control(
                "at which AP (y)", list(BRANCHES), default="adversarial", key="at", required=True, bind="query-params",
                help=word("NS_x^y"),
            )  # fmt: skip
            branch = BRANCHES[at]
    return Look(held and shown.bench is not None, branch, METRIC_NAMES[metric], QUANTITY_NAMES[of])


def take_pick(sizes: list[tuple[str, int]]) -> None:
    """A click in the diagram sets the twin controls."""
    sent = st.session_state["network"].get("picked")
    for name, value in picked(sent, [n for _, n in sizes]).items():
        st.session_state[name] = sizes[value][0] if name == "layer" else value


def picker(shown: Shown) -> tuple[int, int, Any]:
    """Layer and channel, by controls that do the same as a click, and the place above them where the diagram goes."""
    sizes = dict(views.sizes(shown.model))
    names = list(sizes)
    place = st.container()
    row = control_row()
    name = row.selectbox("Layer", names, len(names) // 2, key="layer", width=260, bind="query-params", help=word("BN"))
    last = sizes[name] - 1
    if st.session_state.get("channel", 0) > last:
        st.session_state["channel"] = 0
    channel = row.number_input("Channel", 0, last, key="channel", width=130, bind="query-params", help=word("Channel"))
    return names.index(name), int(channel), place


def verdict(shown: Shown, found: dict[str, list[measures.Spread]] | None, layer: str) -> None:
    """The gap of the picked layer and of all layers, in words."""
    several = not shown.card.norm_design.share_statistics
    lines: list[str] = []
    for at, where in ((layer, "This layer"), ("", f"All {len(views.sizes(shown.model))} layers, averaged")):
        stored = shared((shown.card.weights_sha256, "stored", at), lambda of=at: views.stored_gap(shown.model, of))
        said = [f"stored, {views.stored_words(stored)}"] if several else []
        if found is not None:
            held, null = (views.held_gap(found[source], at) for source in ("attacked", "other"))
            said.append(f"at equal AP, {views.held_words(held)}; two sets of clean images: "
                        f"{views.held_words(null)}")  # fmt: skip
            if several and not at:
                st.markdown(f"#### {views.remains(stored, held, null)}")
        lines.append(f"- **{where}:** " + "; ".join(said) + ".")
    st.markdown("\n".join(lines) if several or found else "Hold AP fixed to measure this network.")


def histogram(parts: tuple[Part, ...], question: Question, shown: Shown, layer: str, channel: int) -> None:
    """The values themselves of one channel."""
    st.subheader(f"Channel {channel}: the values themselves")
    st.caption("Everything that enters this channel of the layer, clean and attacked images through the same network.")
    assert shown.bench is not None
    view, _ = cache.networks_at(shown.bench, question.weights_sha256, question.setting)
    bounds = api.edges(view, layer)[channel].tolist()
    counts = {
        title: torch.stack([part.counts[name][layer][channel] for part in parts]).sum(0).tolist()
        for name, title in (("clean", "clean images"), ("attacked", gaps.ATTACKED))
    }
    key = (question, "histogram", layer, channel)
    spec = shared(key, lambda: gaps.histogram_chart(gaps.histogram_rows(bounds, counts)).to_dict())
    st.vega_lite_chart(spec=spec, key="values", alt="Histogram of one channel's values, clean and attacked images")
    taken.offer_values(shown, parts, question, layer, channel, spec)
    st.caption(
        f"{sum(counts['clean images']):,} values a source; four stored deviations to both sides, all beyond in the "
        "outermost bins."
    )


def depth(
    shown: Shown,
    parts: tuple[Part, ...],
    question: Question,
    found: dict[str, list[measures.Spread]],
    at: Look,
    layer: int,
) -> None:
    """Distance from the clean images by depth for every source, and the accuracies of the same sources."""
    st.subheader("Is an attack further away than noise?")
    st.caption(
        "Distance of each source's statistics from those of the clean images, all through the same network "
        f"({METRICS[at.metric]}: {measures.MEANING[at.metric]}). Other clean images show how much chance alone does. "
        "Compare the distances with what the same images do to accuracy."
    )
    row = hideable(st.container(horizontal=True, gap="medium", vertical_alignment="bottom"))
    row.segmented_control(
        "Noise of the same eps", list(NOISES), default=next(iter(NOISES)), key="noise", required=True,
        bind="query-params",
        help="Uniform noise is at most as large as the attack; random signs are as large in every pixel.",
    )  # fmt: skip
    several = not shown.card.norm_design.share_statistics
    stored = several and row.toggle(
        "With the stored NS", key="with_stored", bind="query-params", help=word("Stored NS")
    )
    st.markdown(shared((question, "words"), lambda: views.depth_words(found, parts)))
    left, middle, right = st.columns([2, 2, 1.5], gap="large")
    drawn: list[tuple[str, Any]] = []
    for (quantity, title), column in zip(QUANTITIES.items(), (left, middle), strict=True):
        key = (question, "depth", at.metric, quantity, layer, stored)

        def make(of: str = quantity) -> dict[str, Any]:
            rows = views.depth_rows(shown.model, found, at.metric, of)
            return gaps.depth_chart(rows, "distance", layer, stored).to_dict()

        drawn.append((title, shared(key, make)))
        column.markdown(f"**{title}**")
        column.vega_lite_chart(
            spec=drawn[-1][1],
            key=f"depth_{quantity}",
            alt=f"Distance of the {title} from clean images by depth: attacked, noisy and other clean images",
        )  # fmt: skip
    drawn.append(("Accuracy on these images", shared((question, "accuracy"),
                 lambda: gaps.accuracy_chart(views.accuracy_rows(parts)).to_dict())))  # fmt: skip
    taken.offer_depth(shown, parts, question, at, drawn)
    right.markdown(f"**{drawn[-1][0]}**")
    right.vega_lite_chart(
        spec=drawn[-1][1], key="accuracy", alt="Accuracy on clean, noisy and attacked images, with 95 % intervals",
    )  # fmt: skip


def measure(shown: Shown, question: Question) -> None:
    """Computes what is missing, with progress and a way out, then shows the page again."""
    if st.session_state.get("layers_stopped") == question:
        if not st.button("Measure clean, noisy and attacked images", key="measure", icon=":material/play_arrow:"):
            return
        st.session_state.pop("layers_stopped")
    bar = st.progress(0.0, "Attacking and measuring ...")
    st.button(
        "Stop", key="stop", icon=":material/stop:", on_click=st.session_state.__setitem__,
        args=("layers_stopped", question),
    )  # fmt: skip
    measures.measured(
        shown, question, lambda done, total: bar.progress(done / total, "Attacking and measuring ..."),
        lambda said: bar.progress(0.0, said),
    )  # fmt: skip
    st.rerun()


def page() -> None:
    title, actions = st.columns([5, 2], vertical_alignment="bottom")
    title.title("Is there really a gap between clean and attacked images?")
    with actions.container(horizontal=True, horizontal_alignment="right"):
        place = start()
        copy_link(key="copy_layers")
    cards, problems = cache.cards()
    if not cards:
        st.markdown("The explorer shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    lecture.prose(
        "Every norm layer keeps the **mean μ** and **deviation σ** of what flows in. A network with two branches keeps "
        "them twice, and they differ a lot: as if clean and attacked images came from two worlds. But the two were "
        "taken behind **different affine parameters (AP)**. Hold those fixed, and see what remains.",
        word("NS", "AP", "NS_x^y", "Null"),
    )
    query = {key: st.query_params[key] for key in st.query_params}  # before a control takes out what it cannot show
    name, level = controls(list(by_name))
    try:
        shown = cache.shown(name, by_name[name].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    check_link(query, list(by_name), shown)
    for note in (*problems, *shown.notes):
        st.caption(f":material/warning: {note}")
    if shown.card.design in NOTES:
        st.markdown(f":material/info: {NOTES[shown.card.design]}")
    if shown.bench is None:
        st.info(f"{shown.problem} Until then: what the network has stored.", icon=":material/image_not_supported:")
    about = body(shown, level)
    with st.expander("What is compared here, exactly?"):
        st.markdown((TEXT / "layers.md").read_text())
    take_away(place, about)


def body(shown: Shown, level: int) -> About:
    """All that is drawn; what its figures share."""
    at = look(shown)
    noise = NOISES.get(str(st.session_state.get("noise")), "uniform")
    setting = api.canonical(api.branch_setting(at.at), shown.card.norm_design)
    question = Question(shown.card.weights_sha256, setting, level, noise)
    parts = measures.complete(shown, question)
    layer, channel, place = picker(shown)
    sizes = views.sizes(shown.model)
    sha, label = shown.card.weights_sha256, sizes[layer][0]
    view = at if parts is not None else Look(False, at.at, at.metric, at.quantity)
    key = (sha, question if parts else None, view, layer, channel)
    data = shared(key, lambda: encode(views.network_payload(shown.model, parts, view, layer, channel)))
    with place:
        network(data, key="network", on_picked_change=lambda: take_pick(sizes))
    found = shared((question, "gaps"), lambda: views.all_gaps(parts)) if parts else None
    taken.offer_channels(shown, parts, question, view, label, channel)
    taken.offer_stored(shown, at, layer)
    if parts is None or found is None:
        verdict(shown, found, label)
    else:
        left, right = st.columns(2, gap="large")
        with left:
            verdict(shown, found, label)
            st.caption(taken.provenance(shown, question, parts), help=word("95 % interval", "White-box", "Weights"))
        with right:
            histogram(parts, question, shown, label, channel)
        depth(shown, parts, question, found, at, layer)
    if parts is None and shown.bench is not None:
        measure(shown, question)
    mixer_card(shown, level, layer)
    return taken.about(shown, question, at, channel)


page()
