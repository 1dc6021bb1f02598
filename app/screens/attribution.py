"""Attribution: where a network looks at two blends of the AP, and how much of that is the shape or the grating."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app import cache, lecture
from app.attribution import maps, taken
from app.attribution.maps import LAMS, Measure, View
from app.attribution.methods import ABOUT, METHODS, NS
from app.attribution.side_by_side import side_by_side
from app.charts import attribution
from app.controls import control_row, eps_control, hideable, model_control
from app.forms import SHARES
from app.jobs import working
from app.lasting import computed, recall
from app.selection import DESIGN_NOTES, EPS
from app.shown import Shown
from app.takeaway.figure import Part
from app.takeaway.tray import heading, offer, take_away
from app.words import word
from engine import api

TARGETS: dict[str, api.TargetName] = {"its answer": "answer", "the right class": "label"}
N_PICK = 200
COUNTS = (20, 50, 100, 200, 500)


def stale(names: list[str]) -> list[str]:
    """URL parameters whose value this page cannot show."""
    options: dict[str, Sequence[str]] = {
        "model": names, "held": list(NS), "method": list(METHODS), "explain": list(TARGETS), "eps": list(EPS),
        "scale": ["shared", "each its own"], "count": [str(count) for count in COUNTS],
        "picture": [str(i) for i in range(N_PICK)], "steps": [str(i) for i in range(1, 51)],
    }  # fmt: skip
    wrong = [key for key, allowed in options.items() if st.query_params.get(key, allowed[0]) not in allowed]
    for key in ("left", "right"):
        try:
            inside = 0 <= float(st.query_params.get(key, "0")) <= 1
        except ValueError:
            inside = False
        wrong += [] if inside else [key]
    return wrong


def controls(names: list[str]) -> tuple[str, str, api.MethodName, api.TargetName, api.PGD]:
    """Checkpoint, NS, method, what is explained, and the attack; every control is a URL parameter."""
    row = control_row()
    model = model_control(row, names)
    method = row.selectbox(
        "Method", list(METHODS), 2, key="method", width=200, bind="query-params", help=word("Attribution")
    )
    explain = row.segmented_control(
        "Explain", list(TARGETS), default="its answer", key="explain", required=True, bind="query-params",
        help="Which class the pixels speak for: the one that the network names, right or wrong, or the true one.",
    )  # fmt: skip
    ns = row.selectbox("Statistics (NS)", list(NS), key="held", width=180, bind="query-params", help=word("NS"))
    level = eps_control(row)
    steps = row.number_input("PGD steps", 1, 50, 20, key="steps", width=120, bind="query-params", help=word("PGD"))
    eps = level / 255
    attack = api.PGD(api.ThreatModel("Linf", eps), steps, max(eps / 4, eps / steps))
    return model, NS[ns], METHODS[method], TARGETS[explain], attack


def findings(found: list[api.Shares]) -> None:
    """The two charts in words: paired differences with their intervals."""
    clean = [one for one in found if one.attack is None]
    first, last = clean[0], clean[-1]
    said = [
        f"From λ = {first.setting.affine:g} to {last.setting.affine:g} the share inside the shape "
        f"**{maps.points(maps.difference(first, last))}** on clean images."
    ]
    for one in (first, last):
        more = maps.preference(one)
        if more is not None:
            low, value, high = (100 * v for v in (more.low, more.value, more.high))
            hears = "the network **listens to it**" if low > 0 else "**no sign that the network listens to it**"
            said.append(
                f"At λ = {one.setting.affine:g} the image's own grating has {value:+.1f} points ({low:+.1f} to "
                f"{high:+.1f}) over gratings that the image does not carry: {hears}."
            )
    st.markdown(" ".join(said))


def against_truth(shown: Shown, view: View, held: str) -> None:
    """Shares over lambda, by the method, target and attack of a view, where shape and grating are known."""
    assert shown.bench is not None
    assert view.attack is not None
    st.subheader("Does it look at the shape, or listen to the grating?")
    st.markdown(
        "Every built-in image has a **shape** that decides its class, far stronger than any attack, and a faint "
        "**grating** (4/255) that only hints at it and that an attack can erase. We drew both, so we know where they "
        "are, and can measure how much of the map falls on either.",
        help=word("Robust feature", "Non-robust feature"),
    )
    n = st.segmented_control(
        "Images to measure on", COUNTS, default=100, key="count", required=True, bind="query-params", help=word("n")
    )
    settings = tuple(maps.setting(lam, held) for lam in LAMS)
    asked = Measure(view.weights_sha256, settings, view.attack, view.method, view.target, n)
    found = recall(asked, shown.bench, asked.n, SHARES)
    if found is None:
        seconds = "some seconds" if asked.method in ("saliency", "grad-cam") else "a minute or more"
        st.caption(f"{len(LAMS)} values of λ, clean and attacked: {seconds}. Any change of a control stops it.")
        if not st.button(f"Measure on {asked.n} images", key="go_measure", icon=":material/play_arrow:"):
            return
        st.button("Cancel", key="cancel_measure", icon=":material/stop:")
        bench = shown.bench
        with working("Asking the network about every image ...", "attribution", asked) as progress:
            computed(asked, lambda: maps.measured(bench, asked, progress), bench, asked.n, SHARES)
        st.rerun()
    findings(found)
    drawn: list[Part] = []
    left, right = st.columns(2, gap="large")
    for column, quantity, title, about, axis in (
        (left, "shape", "On the shape", "Share of the map's total size that lies inside the shape. Dashed: what a "
         "network that weighs all pixels alike would have.", "inside the shape, %"),
        (right, "grating", "In the grating's band", "Share of the energy of the network's response, by spatial "
         "frequency, at the image's own grating. Dashed: at gratings just as fine that it does not carry.",
         "in the band, %"),
    ):  # fmt: skip
        column.markdown(f"#### {title}")
        rows = attribution.share_rows(found, quantity)
        if rows.empty:
            column.caption(
                "This method's maps are too coarse to hold a grating. Choose gradient, SmoothGrad or integrated "
                "gradients."
            )
            continue
        column.caption(about)
        drawn.append((title, attribution.share_chart(rows, axis)))
        column.altair_chart(drawn[-1][1], alt=f"{title}: share over lambda with 95 % bands")
    right_of = ", ".join(
        f"{one.n_correct} of {asked.n} at λ = {one.setting.affine:g}" for one in found if one.attack is not None
    )
    source = (
        f"n {asked.n} · bands: 95 % bootstrap over images · {asked.attack.label}, white-box at every λ · seed "
        f"{api.SEED} · weights {shown.card.weights_sha256[:8]} · one trained network. Right under attack: {right_of}."
    )
    st.caption(source)
    command = maps.command(shown.card.name, asked, held)
    st.code(command, language=None, wrap_lines=True)
    rows = {name: attribution.share_rows(found, name).assign(of=name) for name in attribution.QUANTITIES}
    table = pd.concat([part for part in rows.values() if not part.empty])
    offer("Shape and grating", f"{source} {command}", lambda: drawn, lambda: table)
    with st.expander("The figures"):
        st.dataframe(table, hide_index=True, width="stretch", key="shares")


def page() -> None:
    place = heading("Where does the network look?")
    lecture.prose(
        "Which pixels speak **for** the class and which **against** it? One image, clean and attacked, asked of one "
        "network at two blends of its affine parameters.",
        word("Attribution", "AP", "Logit"),
    )
    cards, _ = cache.cards()
    if not cards:
        st.markdown("The explorer shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    wrong = stale(list(by_name))
    if wrong:
        st.toast(
            f"This link asks for something that is not here ({', '.join(wrong)}); the default is shown instead.",
            duration="long",
        )
    model, held, method, target, attack = controls(list(by_name))
    try:
        shown = cache.shown(model, by_name[model].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    if shown.bench is None:
        st.info(shown.problem, icon=":material/image_not_supported:")
        return
    for note in shown.notes:
        st.caption(f":material/warning: {note}")
    if shown.card.design in DESIGN_NOTES:
        st.markdown(f":material/info: {DESIGN_NOTES[shown.card.design]}")
    test, sha = shown.bench.test, shown.card.weights_sha256
    about, unit = ABOUT[method]
    row = hideable(st.grid(3, min_column_width=230))
    index = row.selectbox(
        "Image", range(min(N_PICK, len(test))), key="picture", bind="query-params",
        format_func=lambda i: f"{i}: {test.classes[test.labels[i]]}",
    )  # fmt: skip
    lams = (
        row.slider("Left: λ of the AP", 0.0, 1.0, 0.0, 0.05, key="left", bind="query-params", help=word("λ")),
        row.slider("Right: λ of the AP", 0.0, 1.0, 1.0, 0.05, key="right", bind="query-params", help=word("λ")),
    )
    st.markdown(about)
    views = [View(sha, maps.setting(lam, held), used, index, method, target) for lam in lams for used in (None, attack)]
    try:
        side_by_side(shown, views, unit)
        if test.name == "shapes":
            against_truth(shown, views[1], held)
        take_away(place, taken.about(shown, views, method, held))
    except api.InputError as error:
        st.warning(str(error))


page()
