"""Explore: drag from the clean to the adversarial branch of a trained network and see what follows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import cache, lecture
from app.components.blend import BlendState, Start, blend
from app.components.copy_link import copy_link
from app.controls import control_row, selection_controls
from app.explore import demand
from app.explore.formulas import formulas
from app.explore.live import live_card
from app.explore.payload import MAGNIFY, Sources, accuracy_at, sources
from app.explore.taken import about, offer_channels, offer_curves, offer_distances, offer_plane
from app.selection import (
    DESIGN_NOTES,
    PRESETS,
    STALE,
    Preset,
    Selection,
    parse_lam,
    stale_values,
)
from app.shown import Shown
from app.takeaway.tray import start, take_away
from app.words import word
from engine import api

TEXT = Path(__file__).resolve().parents[1] / "text"


def start_of_session(names: list[str]) -> None:
    """Once a session: where the slider starts, and one message if the link asks for what is not here.

    Coming back from another page or from a curve that is not there, the component has forgotten everything; it starts
    where the visitor left it.
    """
    if "start" in st.session_state:
        if "now" in st.session_state and "blend" not in st.session_state:
            move(st.session_state["now"].lam)
        return
    query = {key: st.query_params[key] for key in st.query_params}
    lam = parse_lam(query.get("lam"))
    image = query.get("image", "")
    pinned = int(image) if image.isdecimal() and len(image) < 3 else 0
    st.session_state["start"] = Start(0.5 if lam is None else lam, pinned, query.get("layer"))
    stale = stale_values(query, names)
    if stale:
        st.toast(STALE.format(", ".join(stale)), duration="long")


def move(lam: float) -> None:
    """Makes the slider jump there; the pinned image and the chosen layer stay."""
    old: Start = st.session_state["start"]
    now: Start | BlendState = st.session_state.get("now", old)
    st.session_state["now"] = st.session_state["start"] = Start(lam, now.pinned, now.layer, old.token + 1)


def jump(preset: Preset) -> None:
    """Sets the controls and the slider to a preset."""
    for key, value in preset.values.items():
        st.session_state[key] = value
    move(preset.lam)
    st.session_state["preset"] = preset


def header() -> DeltaGenerator:
    """Title and actions; the place for what can be taken away."""
    title, actions = st.columns([5, 3], vertical_alignment="bottom")
    title.title("Where does a network keep its robustness?")
    with actions.container(horizontal=True, horizontal_alignment="right"):
        with st.popover("Presets", icon=":material/science:", help="Claims to check"):
            for index, preset in enumerate(PRESETS):
                st.button(preset.title, key=f"preset_{index}", on_click=jump, args=(preset,), width="stretch")
                st.caption(preset.claim)
        place = start()
        copy_link(key="copy")
    lecture.prose(
        "Trained on clean and on attacked images at once, a network can keep **two sets of scales and shifts** in "
        "every batch-norm layer: one for each. Slide from one set to the other; every other weight stays as it is.",
        word("Adversarial image", "BN", "AP"),
    )
    return place


def controls(names: list[str]) -> Selection:
    """The control row; every control is a URL parameter."""
    return selection_controls(control_row(), names)


def change(by: float) -> dict[str, Any]:
    """How a metric shows a difference of fractions; no arrow where there is none."""
    points = f"{100 * by:+.1f} points"
    return {"delta": points} if points[1:] != "0.0 points" else {
        "delta": "unchanged", "delta_color": "off", "delta_arrow": "off",
    }  # fmt: skip


def numbers(found: Sources, lam: float) -> None:
    """Accuracies at the slider, against its left end."""
    assert found.clean is not None
    grid = st.grid(4, min_column_width=200)
    clean, clean_0 = accuracy_at(found.clean, lam).interval, found.clean.records[0].interval
    grid.metric(
        "Clean accuracy", f"{100 * clean.value:.1f} %", delta_description="since λ = 0", border=True,
        help=word("Clean accuracy"), **change(clean.value - clean_0.value),
    )  # fmt: skip
    if found.robust is None:
        return
    record = accuracy_at(found.robust, lam)
    robust, robust_0 = record.interval, found.robust.records[0].interval
    grid.metric(
        "Robust accuracy", f"{100 * robust.value:.1f} %", delta_description="since λ = 0", border=True,
        help=word("Robust accuracy"), **change(robust.value - robust_0.value),
    )  # fmt: skip
    grid.metric(
        "Lost to the attack", f"{100 * (clean.value - robust.value):.1f} points", border=True,
        delta=f"n = {robust.n:,} images", delta_color="off", delta_arrow="off",
        help="Images that are right clean and wrong attacked",
    )  # fmt: skip
    grid.metric(
        "95 % interval, robust", f"{100 * robust.low:.1f} to {100 * robust.high:.1f} %", border=True,
        delta=f"seed {record.seed}", delta_color="off", delta_arrow="off", help=word("95 % interval", "Seed"),
    )  # fmt: skip


def selected_values(event: Any, name: str) -> dict[str, Any]:
    """What a click on a chart selected, or nothing."""
    points = dict(event.get("selection", {})).get(name, []) if event else []
    return dict(points[0]) if points else {}


def distances_card(key: tuple[str, str], names: list[str], layer: str) -> str:
    """Distances of the branches by depth; the layer that was clicked, or `layer`."""
    st.caption(
        "Wasserstein distance over channels between clean and adversarial branch, by depth. Click a layer.",
        help=word("W1", "AP", "NS"),
    )
    event = st.vega_lite_chart(
        spec=cache.distance_spec(*key, layer), key="distances", on_select="rerun", selection_mode="layer",
        alt="Bars: distance between the two branches' scale, shift, mean and deviation in each norm layer",
    )  # fmt: skip
    picked = selected_values(event, "layer")
    return str(picked["layer"]) if picked.get("layer") in names else layer


def layer_cards(shown: Shown, lam: float, selected: str | None) -> None:
    """Distances of the branches by depth; one layer's channels."""
    key = shown.card.name, shown.card.weights_sha256
    layers = dict(api.dual_layers(shown.model))
    names = list(layers)
    layer = selected if selected in names else names[len(names) // 2]
    design = shown.card.norm_design
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("How far apart are the branches?")
        if design.share_affine and design.share_statistics:
            st.markdown(
                "Not at all: every layer of this network has one set of scales, shifts and statistics for both."
            )
            layer = st.selectbox("Layer to look into", names, names.index(layer))
        else:
            layer = distances_card(key, names, layer)
            offer_distances(shown, layer)
    specs = cache.channel_specs(*key, layer, lam)
    with right:
        st.subheader(f"Layer {layer}, channel by channel")
        n = layers[layer].num_features
        st.caption(
            f"{n} channels; a line is one channel's way from clean to adversarial scale and shift.",
            help=word("Channel"),
        )
        st.vega_lite_chart(
            spec=specs["affine"], key="affine",
            alt="Scatter of scale and shift of every channel in both branches and at the slider",
        )  # fmt: skip
        st.caption("Stored statistics of the same channels in both branches.", help=word("Stored NS"))
        for name, column in zip(("mean", "sigma"), st.columns(2), strict=True):
            column.vega_lite_chart(
                spec=specs[name], key=f"histogram_{name}",
                alt=f"Histogram of the stored {name} over channels, both branches",
            )  # fmt: skip
    offer_channels(shown, layer, lam, specs)


def go_to_cell(key: str) -> None:
    """Moves the slider to the clicked cell of the plane: AP there, stored NS of the nearer branch."""
    picked = selected_values(st.session_state[key], "cell")
    if "ap" in picked and "ns" in picked:
        move(float(picked["ap"]))
        st.session_state["slide"] = "affine"
        st.session_state["ns"] = "adversarial" if float(picked["ns"]) > 0.5 else "clean"


def plane_card(shown: Shown) -> None:
    specs = cache.plane_specs(shown.card.name, shown.card.weights_sha256)
    if not specs:
        return
    st.subheader("Statistics or affine parameters: the whole plane")
    st.caption(
        "Every mix of stored NS (up) and AP (right). If the affine parameters carry the robustness, colours change "
        "from left to right; if the statistics do, from bottom to top. Robust: PGD-10 at 8/255, white-box in every "
        "cell. Click a cell to go there.",
        help=word("NS", "AP", "White-box"),
    )
    offer_plane(shown, specs)
    for (kind, spec), column in zip(specs.items(), st.columns(2, gap="large"), strict=True):
        key = f"plane_{kind[:5]}"
        column.vega_lite_chart(
            spec=spec, key=key, on_select=partial(go_to_cell, key), selection_mode="cell",
            alt=f"Heatmap of {kind} over the mix of statistics and affine parameters",
        )  # fmt: skip


def remember_in_url(state: BlendState) -> None:
    """λ, the pinned image and the layer belong to the link as well."""
    wanted = {"lam": f"{state.lam:g}", "image": str(state.pinned), "layer": state.layer}
    for key, value in wanted.items():
        if value is None:
            st.query_params.pop(key, None)
        elif st.query_params.get(key) != value:
            st.query_params[key] = value


def page() -> None:
    cards, problems = cache.cards()
    if not cards:
        st.title("No checkpoints yet")
        st.markdown("The explorer shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    start_of_session(list(by_name))
    place = header()
    selection = controls(list(by_name))
    try:
        shown = cache.shown(selection.checkpoint, by_name[selection.checkpoint].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    for note in (*problems, *shown.notes):
        st.caption(f":material/warning: {note}")
    if shown.card.design in DESIGN_NOTES:
        st.markdown(f":material/info: {DESIGN_NOTES[shown.card.design]}")
    preset: Preset | None = st.session_state.get("preset")
    if preset is not None and preset.shows(selection):
        st.markdown(f":material/science: **{preset.title}.** {preset.claim}")
    found = demand.complete(shown, selection, sources(shown, selection))
    if found.clean is None or (found.robust is None and selection.engine_attack is not None):
        demand.offer(shown, selection)
        return
    message = shown.problem.replace("`", "") or "These images cannot be attacked at this setting."
    payload = cache.payload(shown, selection, found, st.session_state["start"], message)
    state = blend(payload, key="blend")
    st.session_state["now"] = state
    remember_in_url(state)
    # The charts' libraries take a browser longer than all else: at first they wait until the slider is there.
    st.session_state.setdefault("painted", False)
    st.session_state["painted"] |= state.painted
    if not st.session_state["painted"]:
        return
    if shown.bench is None:
        st.info(shown.problem, icon=":material/image_not_supported:")
    numbers(found, state.lam)
    offer_curves(shown, selection, found, state.lam)
    setting = api.LINES[selection.line](state.lam)
    layer_cards(shown, setting.affine, state.layer)
    if shown.bench is not None:
        indices = tuple(int(i) for i in found.strip.indices) if found.strip else tuple(range(8))
        live_card(shown, setting, indices, state.pinned, MAGNIFY)
    plane_card(shown)
    with st.expander("Why does this happen?"):
        st.markdown((TEXT / "explore.md").read_text())
    names = [name for name, _ in api.dual_layers(shown.model)]
    with st.expander("The formulas, with the numbers of this moment"):
        st.markdown(formulas(shown, setting, state.layer if state.layer in names else names[len(names) // 2]))
    take_away(place, about(shown, selection, found, state, payload))


page()
