"""The only place where results are cached. Keys are names and frozen values; what is returned is never written to."""

from __future__ import annotations

from typing import Any

import streamlit as st
from torch import nn

from app.charts import layers, plane
from app.components.blend import BlendPayload, Start
from app.payload import Shown, Sources, build
from app.selection import Selection
from engine import api

N_IMAGES = 1000


@st.cache_resource(ttl=30, show_spinner=False)
def cards() -> tuple[list[api.ModelCard], list[str]]:
    """Readable cards, and a sentence for each that is not."""
    return api.list_cards()


@st.cache_resource(max_entries=4, show_spinner="Loading the network ...")
def shown(checkpoint: str, weights_sha256: str) -> Shown:
    """Everything the pages draw of one checkpoint. InputError where its weights cannot be used."""
    card = api.load_card(api.checkpoint_folder(checkpoint))
    folder = api.checkpoint_folder(checkpoint)
    assert card.weights_sha256 == weights_sha256
    bench, problem = None, ""
    try:
        bench, _ = api.open_bench(checkpoint, api.pick_device("auto"), n=N_IMAGES, allow_unofficial=True)
    except api.InputError as error:
        if card.data["name"] == "shapes":
            raise
        problem = str(error)
    notes: list[str] = []
    sweep: dict[str, Any] = {}
    records: list[api.EvalRecord] = []
    tracks: dict[str, api.Track] = {}
    strips: dict[str, api.Strip] = {}
    expected = {"weights_sha256": card.weights_sha256, "engine_version": api.__version__}
    if bench is not None and card.data["name"] == "shapes":
        expected["data"] = "shapes"
    for name in ("sweep.jsonl", "gaps.json", "strip.npz"):
        path = folder / name
        try:
            if not path.exists():
                continue
            if name == "sweep.jsonl":
                records, sweep = api.load_sweep(path, expected), api.sweep_header(path)
            elif name == "gaps.json":
                tracks = api.load_tracks(path, card.weights_sha256)
            else:
                strips = api.load_strips(path, card.weights_sha256)
        except api.InputError as error:
            notes.append(str(error))
    return Shown(card, folder, bench, tuple(records), tracks, strips, sweep, problem, tuple(notes))


@st.cache_resource(max_entries=64, show_spinner=False)
def results() -> dict[Any, Any]:
    """Results computed for visitors, by frozen key; shared, so that a second visitor need not wait. See `remember`."""
    return {}


MAX_RESULTS = 128


def remember(key: Any, value: Any) -> None:
    """Keeps a computed result; the oldest go first."""
    kept = results()
    kept[key] = value
    for old in list(kept)[: max(0, len(kept) - MAX_RESULTS)]:
        kept.pop(old, None)


def payload(shown_: Shown, selection: Selection, found: Sources, start: Start, message: str) -> BlendPayload:
    """The drag component's payload; the same object for the same question, so that it is encoded once."""
    key = (shown_.card.weights_sha256, selection, start, message, found.computed, found.strip is None)
    kept = results()
    if key not in kept:
        remember(key, build(shown_, selection, found, start, message))
    return kept[key]


Spec = dict[str, Any]
"""A Vega-Lite chart; kept as such, because validating a chart takes Altair longer than all else on the page."""


@st.cache_data(max_entries=64, show_spinner=False)
def plane_specs(checkpoint: str, weights_sha256: str) -> dict[str, Spec]:
    """The NS x AP plane by kind of accuracy; empty where it was not swept."""
    of = shown(checkpoint, weights_sha256)
    frame = plane.plane(of.records, of.card.norm_design)
    kinds = [] if frame.empty else list(dict.fromkeys(frame["kind"]))
    return {kind: plane.plane_chart(frame, kind).to_dict() for kind in kinds}


@st.cache_data(max_entries=64, show_spinner=False)
def distance_spec(checkpoint: str, weights_sha256: str, layer: str) -> Spec:
    """Distances between the branches by depth, one layer selected."""
    return layers.distance_chart(layers.distances(model_of(checkpoint, weights_sha256)), layer).to_dict()


@st.cache_data(max_entries=256, show_spinner=False)
def channel_specs(checkpoint: str, weights_sha256: str, layer: str, lam: float) -> dict[str, Spec]:
    """One layer's channels: 'affine' at lambda, histograms of 'mean' and 'sigma'."""
    frame = layers.channels(model_of(checkpoint, weights_sha256), layer, lam)
    charts = {"affine": layers.affine_chart(frame)} | {k: layers.histogram(frame, k) for k in ("mean", "sigma")}
    return {key: chart.to_dict() for key, chart in charts.items()}


def model_of(checkpoint: str, weights_sha256: str) -> nn.Module:
    """The shared network; only to be read."""
    bench = shown(checkpoint, weights_sha256).bench
    assert bench is not None
    return bench.model
