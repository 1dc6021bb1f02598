"""The only place where results are cached. Keys are names and frozen values; what is returned is never written to."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import streamlit as st
from torch import nn

from app import journal, mode
from app.charts import layers, plane
from app.charts.findings import panels
from app.components.blend import BlendPayload, Start
from app.explore.payload import Sources, build
from app.kept import Kept
from app.selection import Selection
from app.shown import Shown
from engine import api

N_IMAGES = 1000
Result = TypeVar("Result")
UNOFFICIAL = "DUAL_BN_UNOFFICIAL"
"""Set this environment variable to let the pages use CIFAR-10 files that are not the published ones."""


@st.cache_resource(ttl=30, show_spinner=False)
def cards() -> tuple[list[api.ModelCard], list[str]]:
    """Readable cards, and a sentence for each that is not."""
    found, problems = api.list_cards()
    return found, [mode.current().plain(problem) for problem in problems]


@st.cache_resource(max_entries=4, show_spinner="Loading the network ...")
def shown(checkpoint: str, weights_sha256: str) -> Shown:
    """Everything the pages draw of one checkpoint. InputError where its weights cannot be used."""
    folder, device, plain = api.checkpoint_folder(checkpoint), api.pick_device("auto"), mode.current().plain
    try:
        model, card = api.load_checkpoint(folder, device)
    except api.InputError as error:
        raise api.InputError(plain(str(error))) from None
    if card.weights_sha256 != weights_sha256:
        raise api.InputError(f"{checkpoint} was replaced a moment ago; reload the page.")
    bench, problem = None, ""
    try:
        unofficial = UNOFFICIAL in os.environ
        bench, _ = api.open_bench(checkpoint, device, n=N_IMAGES, at_most=True, allow_unofficial=unofficial)
    except api.InputError as error:
        problem = plain(str(error))
    sets = () if bench is None else (bench.test, bench.calibration)
    notes = [images.note for images in sets if images is not None and images.note]

    def read(name: str, load: Callable[[Path], Any], nothing: Any) -> Any:
        """What a file beside the weights holds; where it is damaged or stale, nothing and a note."""
        try:
            return load(folder / name) if (folder / name).exists() else nothing
        except api.InputError as error:
            notes.append(plain(str(error)))
            return nothing

    sweep, records = read("sweep.jsonl", lambda path: _sweep(path, card, bench), ({}, []))
    tracks = read("gaps.json", lambda path: api.load_tracks(path, weights_sha256), {})
    strips = read("strip.npz", lambda path: api.load_strips(path, weights_sha256), {})
    network = model if bench is None else bench.model
    settle()
    return Shown(card, network, bench, tuple(records), tracks, strips, sweep, problem, tuple(notes))


def settle() -> None:
    """Takes what is loaded by now (torch above all) out of the garbage collector's sight.

    Streamlit collects garbage after every run of every visitor; over these objects that takes 150 ms, in which no
    message leaves the server.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _sweep(path: Path, card: api.ModelCard, bench: api.Bench | None) -> tuple[dict[str, Any], list[api.EvalRecord]]:
    """Header and records, if they were made with these weights, this version and, where they are here, these images."""
    head = api.sweep_header(path)
    expected = {"weights_sha256": card.weights_sha256, "engine_version": api.__version__}
    if bench is not None:
        n = head["n"] if isinstance(head.get("n"), int) else 0
        expected["data_sha256"] = api.checksum(bench.test.images[:n], bench.test.labels[:n])
    return head, api.load_sweep(path, expected)


Networks = tuple[nn.Module, api.LogitsFn]
"""A view, which judges, and its folded twin, which gives gradients."""


@st.cache_resource(max_entries=32, show_spinner=False)
def networks_at(_bench: api.Bench, weights_sha256: str, setting: api.NormSetting) -> Networks:  # noqa: ARG001 (a key)
    """The networks at a setting; re-estimating and folding take twice as long as an attack on a few images.

    InputError where the setting is impossible.
    """
    view = view_at(_bench, weights_sha256, setting)
    return view, api.crafting_network(view)


@st.cache_resource(max_entries=64, show_spinner=False)
def view_at(_bench: api.Bench, weights_sha256: str, setting: api.NormSetting) -> nn.Module:  # noqa: ARG001 (a key)
    """The network at a setting, to judge with; measuring NS anew takes ten times as long as all else."""
    return _bench.view(setting)


@st.cache_resource(show_spinner=False)
def results() -> Kept:
    """Results computed for visitors, by frozen key; shared, so that a second visitor need not wait. See `shared`."""
    return _bounded("results", 0.75)


@st.cache_resource(show_spinner=False)
def quick_results() -> Kept:
    """What takes a fraction of a second, such as films: apart, so that it never displaces what took minutes."""
    return _bounded("quick results", 0.25)


MAX_RESULTS = 256


def _bounded(name: str, part: float) -> Kept:
    """A cache with its part of the bytes that this server grants, watched by the journal."""
    made = Kept(MAX_RESULTS, round(part * mode.current().result_bytes))
    journal.gauge("cache_entries", name, lambda: float(len(made)))
    journal.gauge("cache_bytes", name, lambda: float(made.bytes))
    journal.gauge("cache_hits", name, lambda: float(made.counts.hits))
    journal.gauge("cache_misses", name, lambda: float(made.counts.misses))
    journal.gauge("cache_evicted", name, lambda: float(made.counts.evicted))
    return made


def remember(key: Any, value: Any, kept: Kept | None = None) -> None:
    """Keeps a computed result in `results`, or where told; it may go at any moment, so read it once, by `get`."""
    (results() if kept is None else kept).put(key, value)


def shared(key: Any, make: Callable[[], Result], kept: Kept | None = None) -> Result:
    """The result under a key in `results`, or where told; made and kept if it is not there.

    Where making it takes the slot, call this inside, so that who waited for the same finds it.
    """
    place = results() if kept is None else kept
    found: Result | None = place.get(key)
    if found is None:
        found = make()
        place.put(key, found)
    return found


def payload(shown_: Shown, selection: Selection, found: Sources, start: Start, message: str) -> BlendPayload:
    """The drag component's payload; the same object for the same question, so that it is encoded once."""
    key = (shown_.card.weights_sha256, selection, start, message, found.computed, found.strip is None)
    return shared(key, lambda: build(shown_, selection, found, start, message))


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
    charts = {"affine": layers.affine_chart(frame, lam)} | {k: layers.histogram(frame, k) for k in ("mean", "sigma")}
    return {key: chart.to_dict() for key, chart in charts.items()}


@st.cache_data(max_entries=64, show_spinner=False)
def training_log(checkpoint: str, weights_sha256: str) -> pd.DataFrame | None:  # noqa: ARG001 (a key)
    """Means by epoch of a checkpoint's training, or None where its log is not there or damaged."""
    path = api.checkpoint_folder(checkpoint) / "log.csv"
    try:
        log = pd.read_csv(path)
    except (OSError, ValueError):
        return None
    return log if {"epoch", "clean_accuracy", "robust_accuracy"} <= set(log.columns) else None


@dataclass(frozen=True, slots=True)
class Findings:
    """The experiments' results on file by (family, experiment), and a sentence for each file that cannot be read.

    stamp: another number as soon as a file or a checkpoint is another.
    """

    by_key: dict[tuple[str, str], api.Finding]
    problems: list[str]
    stamp: int


def findings() -> Findings:
    """Read again only when a file, or a checkpoint that makes one stale, has changed."""
    folder = api.CHECKPOINTS / api.FINDINGS
    files = tuple(sorted((str(path), path.stat().st_mtime_ns) for path in folder.glob("*/*.json")))
    hashes = tuple((card.name, card.weights_sha256) for card in cards()[0])
    return _findings(folder, hash((files, hashes)))


@st.cache_resource(max_entries=2, show_spinner=False)
def _findings(folder: Path, stamp: int) -> Findings:
    found, problems = api.load_findings(folder, cards()[0])
    named = [mode.current().plain(problem.replace(f"{folder}/", f"{folder.name}/")) for problem in problems]
    return Findings({(one.family, one.experiment): one for one in found}, named, stamp)


@st.cache_data(max_entries=512, show_spinner=False)
def evidence_specs(stamp: int, family: str, experiment: str, index: int, small: bool) -> list[tuple[str, Spec]]:  # noqa: ARG001 (a key)
    """A finding's chart: title and plot of each panel."""
    finding = findings().by_key[family, experiment]
    return [(panel.title, panel.spec) for panel in panels(finding, index, small)]


def model_of(checkpoint: str, weights_sha256: str) -> nn.Module:
    """The shared network; only to be read."""
    return shown(checkpoint, weights_sha256).model
