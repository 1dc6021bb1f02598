"""Attribution: where a network looks at two blends of the AP, and how much of that is the shape or the grating."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app import cache
from app.attribution import maps
from app.attribution.maps import LAMS, OWN, Measure, Seen, View
from app.cache import results
from app.charts import attribution
from app.controls import eps_control, model_control
from app.jobs import working
from app.selection import DESIGN_NOTES, EPS, HELD
from app.shown import Shown
from app.words import word
from engine import api

NS = {**HELD["ap"], "the branch's own": OWN}
METHODS: dict[str, api.MethodName] = {
    "gradient": "saliency",
    "SmoothGrad": "smoothgrad",
    "integrated gradients": "integrated-gradients",
    "Grad-CAM": "grad-cam",
    "occlusion": "occlusion",
}
ABOUT: dict[api.MethodName, tuple[str, str]] = {
    "saliency": (
        "**Gradient** (saliency): would the class's score rise if this pixel were a little brighter? Green: yes; "
        "purple: it would fall.",
        "logits per unit of brightness",
    ),
    "smoothgrad": (
        "**SmoothGrad**: the gradient, averaged over 32 copies of the image with noise of size 0.05, so that what "
        "holds for one exact image alone cancels out.",
        "logits per unit of brightness",
    ),
    "integrated-gradients": (
        "**Integrated gradients**: starts from the image's mean colour, with nothing to see, and credits every pixel "
        "with what it adds to the class's score on the way to the image. All pixels together add up to the whole "
        "gain.",
        "logits",
    ),
    "grad-cam": (
        "**Grad-CAM**: which places of the last block's feature map raise the class's score. That map is only a few "
        "cells wide, so this is the coarsest view.",
        "logits",
    ),
    "occlusion": (
        "**Occlusion**: a 5 × 5 square of the image's mean colour covers the image place by place; green where the "
        "class's score drops without what it hides.",
        "logits lost when covered",
    ),
}
"""Method -> what it shows, in plain words, and the unit of its values."""
TARGETS: dict[str, api.TargetName] = {"its answer": "answer", "the right class": "label"}
ENDS = {0.0: ": the clean branch's AP", 1.0: ": the adversarial branch's AP"}
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
    row = st.container(horizontal=True, gap="small", vertical_alignment="bottom")
    model = model_control(row, names)
    method = row.selectbox(
        "Method", list(METHODS), 2, key="method", width=200, bind="query-params", help=word("Attribution")
    )
    explain = row.segmented_control(
        "Explain", list(TARGETS), default="its answer", key="explain", required=True, bind="query-params"
    )
    ns = row.selectbox("Statistics (NS)", list(NS), key="held", width=180, bind="query-params", help=word("NS"))
    level = eps_control(row)
    steps = row.number_input("PGD steps", 1, 50, 20, key="steps", width=120, bind="query-params")
    eps = level / 255
    attack = api.PGD(api.ThreatModel("Linf", eps), steps, max(eps / 4, eps / steps))
    return model, NS[ns], METHODS[method], TARGETS[explain], attack


def verdict(one: Seen, classes: tuple[str, ...], label: int) -> str:
    """'Attacked: says star (99 %), wrong.'"""
    images = "Clean image" if one.view.attack is None else "Attacked image"
    right = "right" if one.answer == label else f"but it is {classes[label]}"
    said = f"{images}: the network says **{classes[one.answer]}** ({100 * one.confidence:.0f}\u00a0%), {right}."
    return said + ("" if one.explained == one.answer else f" The map is that of {classes[one.explained]}.")


def total(one: Seen) -> str:
    """What integrated gradients add up to."""
    return f"; all pixels together {one.values.sum():+.1f}" if one.view.method == "integrated-gradients" else ""


def side_by_side(shown: Shown, views: list[View], unit: str) -> None:
    """Image and map, clean above attacked, a column a setting; one legend for all."""
    assert shown.bench is not None
    if maps.missing(views):
        with working("Asking the network ...", "attribution", tuple(views)) as progress:
            seen = maps.maps(shown, views, progress)
    else:
        seen = maps.maps(shown, views, lambda *_: None)
    index, test = views[0].index, shown.bench.test
    dark = st.context.theme.type == "dark"
    shape = maps.mask(shown, index)
    left, right = st.columns([3, 1], gap="large", vertical_alignment="bottom")
    shared = right.segmented_control(
        "Colour scale", ["shared", "each its own"], default="shared", key="scale", required=True, bind="query-params",
        help="Shared: the same colour is the same value in all four maps. Robust networks have small gradients, so "
        "their maps can look pale; with its own scale each map fills the colours.",
    ) == "shared"  # fmt: skip
    limits = maps.limits(seen, shared)
    ends = f"to ±{limits[0]:.2g} {unit}" if shared else "as far as stands below each map"
    left.image(
        attribution.legend(dark), width="stretch", alt="Colours of the maps, from purple over pale to green",
        caption=f"← purple: against the class · middle: no matter · green: for it →, {ends}",
    )  # fmt: skip
    for start, column in zip((0, 2), st.columns(2, gap="large"), strict=True):
        lam = views[start].setting.affine
        column.markdown(f"#### λ = {lam:g}" + ENDS.get(lam, ""))
        for one, limit in zip(seen[start : start + 2], limits[start : start + 2], strict=True):
            column.markdown(verdict(one, test.classes, int(test.labels[index])))
            column.image(
                attribution.picture(one.image, one.values, limit, dark, shape), width="stretch",
                alt=f"The image and, beside it, which pixels speak for {test.classes[one.explained]} and which against",
                caption=f"Full colour at ±{limit:.2g} {unit}{total(one)}.",
            )  # fmt: skip
    attack = views[1].attack
    assert attack is not None
    outline = " The line is the shape's true outline." if shape is not None else ""
    st.caption(
        f"Image on the left, map on the right.{outline} Strongest 1 % of pixels cut off at full colour. Attacked: "
        f"{attack.label}, step {attack.step_size * 255:.2f}/255, seed {api.SEED}, white-box at each λ. Weights "
        f"{shown.card.weights_sha256[:8]}, {test.name} {test.split} image {index}; captum 0.9."
    )


def points(interval: api.Interval) -> str:
    """'rises by 19.1 points (16.6 to 21.8)', or that it cannot be told."""
    values = [100 * value for value in (interval.value, interval.low, interval.high)]
    if interval.low <= 0 <= interval.high:
        return f"changes by {values[0]:+.1f} points ({values[1]:+.1f} to {values[2]:+.1f}), which may be chance"
    verb, sign = ("rises", 1) if values[0] > 0 else ("falls", -1)
    low, high = sorted(sign * value for value in values[1:])
    return f"{verb} by {abs(values[0]):.1f} points ({low:.1f} to {high:.1f})"


def findings(found: list[api.Shares]) -> None:
    """The two charts in words: paired differences with their intervals."""
    clean = [one for one in found if one.attack is None]
    first, last = clean[0], clean[-1]
    said = [
        f"From λ = {first.setting.affine:g} to {last.setting.affine:g} the share inside the shape "
        f"**{points(maps.difference(first, last))}** on clean images."
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
        "are, and can measure how much of the map falls on either."
    )
    n = st.segmented_control(
        "Images to measure on", COUNTS, default=100, key="count", required=True, bind="query-params"
    )
    settings = tuple(maps.setting(lam, held) for lam in LAMS)
    asked = Measure(view.weights_sha256, settings, view.attack, view.method, view.target, n)
    found: list[api.Shares] | None = results().get(asked)
    if found is None:
        seconds = "some seconds" if asked.method in ("saliency", "grad-cam") else "a minute or more"
        st.caption(f"{len(LAMS)} values of λ, clean and attacked: {seconds}. Any change of a control stops it.")
        if not st.button(f"Measure on {asked.n} images", key="go_measure", icon=":material/play_arrow:"):
            return
        st.button("Cancel", key="cancel_measure", icon=":material/stop:")
        bench = shown.bench
        with working("Asking the network about every image ...", "attribution", asked) as progress:
            cache.shared(asked, lambda: maps.measured(bench, asked, progress))
        st.rerun()
    findings(found)
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
        column.altair_chart(attribution.share_chart(rows, axis), alt=f"{title}: share over lambda with 95 % bands")
    right_of = ", ".join(
        f"{one.n_correct} of {asked.n} at λ = {one.setting.affine:g}" for one in found if one.attack is not None
    )
    st.caption(
        f"n {asked.n} · bands: 95 % bootstrap over images · {asked.attack.label}, white-box at every λ · seed "
        f"{api.SEED} · weights {shown.card.weights_sha256[:8]} · one trained network. Right under attack: {right_of}."
    )
    st.code(maps.command(shown.card.name, asked, held), language=None, wrap_lines=True)
    with st.expander("The figures"):
        rows = {name: attribution.share_rows(found, name).assign(of=name) for name in attribution.QUANTITIES}
        table = pd.concat([part for part in rows.values() if not part.empty])
        st.dataframe(table, hide_index=True, width="stretch", key="shares")


def page() -> None:
    st.title("Where does the network look?")
    st.markdown(
        "Which pixels speak **for** the class and which **against** it? The same image, clean and attacked, asked of "
        "the same network at two blends of its affine parameters."
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
    row = st.grid(3, min_column_width=230)
    index = row.selectbox(
        "Image", range(min(N_PICK, len(test))), key="picture", bind="query-params",
        format_func=lambda i: f"{i}: {test.classes[test.labels[i]]}",
    )  # fmt: skip
    lams = (
        row.slider("Left: λ of the AP", 0.0, 1.0, 0.0, 0.05, key="left", bind="query-params"),
        row.slider("Right: λ of the AP", 0.0, 1.0, 1.0, 0.05, key="right", bind="query-params"),
    )
    st.markdown(about)
    views = [View(sha, maps.setting(lam, held), used, index, method, target) for lam in lams for used in (None, attack)]
    try:
        side_by_side(shown, views, unit)
        if test.name == "shapes":
            against_truth(shown, views[1], held)
    except api.InputError as error:
        st.warning(str(error))


page()
