"""The only place where results are cached. Keys are names and frozen values; what is returned is never written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from engine import api

N_IMAGES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A checkpoint as the pages see it. bench is None where its images are not here; problem then says what to do."""

    card: api.ModelCard
    folder: Path
    bench: api.Bench | None
    records: tuple[api.EvalRecord, ...]
    tracks: dict[str, api.Track]
    strips: dict[str, api.Strip]
    sweep: dict[str, Any]
    problem: str
    notes: tuple[str, ...]


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
