"""The mixer card: AP set layer by layer, both accuracies measured at once, beside the blends that treat all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.cache import results, shared
from app.charts import gaps
from app.components.mixer import MixerPayload, mixed, mixer
from app.components.network import stages
from app.layers.mixing import N_CALIBRATION, NOTHING, Live, Mix, Verdicts, change, mix_text, parse_mix, refine
from app.layers.taken import offer_mix
from app.layers.views import sizes
from app.selection import DEFAULTS, HELD, HELD_LABELS
from app.shown import Shown
from app.words import word
from engine import api

Layers = tuple[tuple[int, float], ...]
KINDS = ("Clean accuracy", "Robust accuracy")


def mixer_card(shown: Shown, level: int, picked: int) -> None:
    """Sliders left, accuracies right; the answer is refined last, because a moved slider then starts anew at once."""
    st.header("Which layers carry the robustness?")
    if shown.card.norm_design.share_affine:
        st.markdown(
            "The branches of this network share the affine parameters of every layer: there is nothing to mix. Choose "
            "a checkpoint with dual BN or dual AP."
        )
        return
    st.markdown(
        "Give single layers the clean branch's scales and shifts and others the adversarial ones. The mix is a network "
        "of its own; it is attacked, white-box, whenever you let go of a slider."
    )
    names = [name for name, _ in sizes(shown.model)]
    layers = current(shown, len(names))
    row = st.container(horizontal=True, gap="medium", vertical_alignment="bottom")
    base = row.slider(
        "λ of all other layers", 0.0, 1.0, 1.0, 0.05, key="base", width=240, bind="query-params",
        on_change=bump, help=word("λ"),
    )  # fmt: skip
    ns = row.segmented_control(
        "Statistics (NS)", list(HELD["ap"]), default=DEFAULTS["ns"], key="ns", required=True, bind="query-params",
        help=word("NS", "Stored NS", "Re-estimated NS"),
    )  # fmt: skip
    buttons(row, base, picked, len(names))
    left, right = st.columns([3, 2], gap="large")
    with left:
        values = [dict(layers).get(depth, base) for depth in range(len(names))]
        token = f"{shown.card.weights_sha256[:8]}/{st.session_state.get('mix_token', 0)}"
        data = MixerPayload(stages(sizes(shown.model)), names, values, base, picked, token)
        st.caption(
            "Blue end: the layer uses the clean branch's AP; orange end: the adversarial branch's. Framed: picked."
        )
        mixer(data, key="mixer", on_mix_change=lambda: take(base, len(names)))
        note = st.empty()
    attack = api.pgd(10, level / 255)
    mix = Mix(base, HELD["ap"][ns], layers)
    live = Live(shown.card.weights_sha256, mix.setting(names), attack)
    uniform = Live(live.weights_sha256, Mix(base, mix.held).setting(names), attack)
    with right:
        if shown.bench is None:
            st.caption("Judging a mix needs the images.")
        else:
            answer(shown, live, uniform, mix, note)


def current(shown: Shown, n_layers: int) -> Layers:
    """The mix of this session, at first the link's; another network starts without one."""
    sha = shown.card.weights_sha256
    if "mix" not in st.session_state:
        try:
            given = parse_mix(st.query_params.get("mix", ""), n_layers)
        except api.InputError as error:
            st.warning(str(error), icon=":material/link_off:")
            given = ()
        st.session_state["mix"], st.session_state["mix_of"] = given, sha
    if st.session_state["mix_of"] != sha:
        st.session_state["mix"], st.session_state["mix_of"] = (), sha
    layers: Layers = st.session_state["mix"]
    text = mix_text(layers)
    if text and st.query_params.get("mix") != text:
        st.query_params["mix"] = text
    elif not text:
        st.query_params.pop("mix", None)
    return layers


def bump() -> None:
    """Makes the browser take over what Python holds."""
    st.session_state["mix_token"] = st.session_state.get("mix_token", 0) + 1


def put(layers: Layers) -> None:
    st.session_state["mix"] = layers
    bump()


def take(base: float, n_layers: int) -> None:
    """A slider was let go: layers that do not say what all say are set apart."""
    lams = mixed(st.session_state["mixer"].get("mix"), n_layers)
    if lams is not None:
        st.session_state["mix"] = tuple((depth, lam) for depth, lam in enumerate(lams) if lam != base)


def buttons(row: Any, base: float, picked: int, n_layers: int) -> None:
    """Reset, and three transplants around the picked layer: the other branch's AP."""
    other = 0.0 if base >= 0.5 else 1.0
    name = "clean" if other == 0 else "adversarial"
    row.button("Reset", key="mix_reset", icon=":material/restart_alt:", on_click=put, args=((),))
    with row.popover("Transplants", icon=":material/content_cut:"):
        ways: Sequence[tuple[str, range]] = (
            (f"Only layer {picked} {name}", range(picked, picked + 1)),
            (f"Layers 0 to {picked} {name}", range(picked + 1)),
            (f"Layers {picked} to {n_layers - 1} {name}", range(picked, n_layers)),
        )
        for at, (title, depths) in enumerate(ways):
            layers = tuple((depth, other) for depth in depths)
            st.button(title, key=f"transplant_{at}", on_click=put, args=(layers,), width="stretch")
        st.caption("The layer is the one picked in the diagram above.")


def answer(shown: Shown, live: Live, uniform: Live, mix: Mix, note: Any) -> None:
    """Both accuracies, first on few images, then on more; against the uniform blend on the same images."""
    cards = [column.empty() for column in st.columns(2)]
    chart = st.empty()
    curve = uniform_rows(shown, mix.held, live.attack)
    started, known, speed = time.monotonic(), len(results().get(live, NOTHING)), ""

    def show(found: Verdicts) -> None:
        before: Verdicts = results().get(uniform, NOTHING) if live != uniform else NOTHING
        draw(cards, found, before)
        rows = pd.concat([curve, mix_row(found)], ignore_index=True)
        chart.vega_lite_chart(
            rows,
            spec=shared("mix plane", lambda: bare(gaps.plane_chart().to_dict())),
            alt="Clean against robust accuracy: uniform blends as a line, the mix as a diamond with intervals",
        )  # fmt: skip
        said = caption(shown, live, mix, found, before)
        offer_mix(live, rows, said)
        note.caption(said + speed)

    try:
        found = NOTHING
        for found in refine(shown, live, note.caption):
            if not speed and len(found) > known:
                speed = f" · first answer in {1000 * (time.monotonic() - started):.0f} ms"
            show(found)
        if live != uniform and len(results().get(uniform, NOTHING)) < len(found):
            for _ in refine(shown, uniform, note.caption):
                show(found)
    except api.InputError as error:
        note.warning(str(error))


def draw(cards: list[Any], found: Verdicts, before: Verdicts) -> None:
    """Two metrics; the change against the uniform blend is paired, on the images that both have."""
    changes = change(found, before) if min(len(found), len(before)) > 1 else [None, None]
    for card, title, i, moved in zip(cards, KINDS, found.intervals, changes, strict=True):
        delta = None if moved is None else f"{100 * moved[0]:+.1f} ± {100 * moved[1]:.1f} points"
        card.metric(
            title, f"{100 * i.value:.1f} %", delta, border=True,
            delta_description=None if moved is None else "against all alike",
            help=f"95 % interval {100 * i.low:.1f} to {100 * i.high:.1f} %, n {i.n}",
        )  # fmt: skip


def uniform_rows(shown: Shown, held: str, attack: api.PGD) -> pd.DataFrame:
    """The uniform blend's curve from the sweep; empty where it was not swept at this eps."""
    line, design = api.LINES[f"ap@{held}"], shown.card.norm_design
    clean, robust = (api.curve(shown.records, design, line, a) for a in (None, attack))
    if clean is None or robust is None:
        return pd.DataFrame()
    of = dict(zip(clean.lams, clean.records, strict=True))
    labels = {0.0: "λ = 0", 1.0: "λ = 1"}
    return pd.DataFrame(
        {"kind": "uniform blend", "lam": lam, "label": labels.get(lam, ""), "clean": 100 * of[lam].interval.value,
         "robust": 100 * r.interval.value, "n": r.n}
        for lam, r in zip(robust.lams, robust.records, strict=True) if lam in of
    )  # fmt: skip


def mix_row(found: Verdicts) -> pd.DataFrame:
    clean, robust = found.intervals
    values = {f"{name}{end}": 100 * getattr(i, key) for name, i in (("clean", clean), ("robust", robust))
              for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}  # fmt: skip
    return pd.DataFrame([{"kind": "your mix", "lam": None, "n": clean.n} | values])


def caption(shown: Shown, live: Live, mix: Mix, found: Verdicts, before: Verdicts) -> str:
    clean, robust = found.intervals
    names = " ".join(f"--layer {name}={m.affine:g}" for name, m in live.setting.overrides)
    ns = f"clean:{N_CALIBRATION}" if mix.held == "clean" else mix.held
    more = "" if mix.held != "clean" else f" on {N_CALIBRATION} images"
    paired = f" · change: paired, on {min(len(found), len(before))} images, 95 %" if len(before) else ""
    return (
        f"n = {len(found)} · 95 % Wilson: clean {100 * clean.low:.1f} to {100 * clean.high:.1f} %, robust "
        f"{100 * robust.low:.1f} to {100 * robust.high:.1f} %{paired} · {live.attack.label}, white-box · "
        f"{HELD_LABELS[mix.held]}{more} · seed {api.SEED} · weights {live.weights_sha256[:8]} · grey line: the sweep, "
        f"all layers alike · python -m engine evaluate {shown.card.name} --n {len(found)} --ap {mix.base:g} --ns {ns} "
        f"{names} --attack pgd --steps 10 --eps {api.eps_label(live.attack.threat.eps)}"
    )


def bare(spec: dict[str, Any]) -> dict[str, Any]:
    """Without Altair's empty data, which would take the place of the rows given later."""
    spec.pop("datasets", None)
    spec.pop("data", None)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)
    return spec
