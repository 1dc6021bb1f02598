"""Attack: one attack watched step by step at two settings, and how strong it is from eps to eps and from λ to λ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from app import attacking, cache
from app.attacking import Asked, Shot
from app.cache import remember, results
from app.charts import attacks
from app.components.film import film
from app.jobs import working
from app.payload import Shown
from app.selection import DEFAULTS, EPS, HELD, PREFERRED
from engine import api

LOSSES = {"cross-entropy": "ce", "margin": "margin", "KL": "kl"}
N_PICK = 200


def controls(names: list[str]) -> tuple[str, str, api.PGD]:
    """Checkpoint, the engine's name of the NS, and the attack; every control is a URL parameter."""
    row = st.container(horizontal=True, gap="small", vertical_alignment="bottom")
    first = names.index(PREFERRED) if PREFERRED in names else 0
    model = row.selectbox("Checkpoint", names, first, key="model", width=225, bind="query-params")
    ns = row.segmented_control(
        "Statistics (NS)", list(HELD["ap"]), default=DEFAULTS["ns"], key="ns", required=True, bind="query-params"
    )
    loss = row.segmented_control(
        "The attack raises", list(LOSSES), default="cross-entropy", key="loss", required=True, bind="query-params"
    )
    level = row.selectbox("eps", list(EPS), list(EPS).index("8/255"), key="eps", width=105, bind="query-params")
    steps = row.number_input("Steps", 1, 50, 20, key="steps", width=120, bind="query-params")
    eps = EPS[level] / 255
    chosen: Any = LOSSES[loss]
    attack = api.PGD(api.ThreatModel("Linf", eps), steps, max(eps / 4, eps / steps), loss=chosen)
    return model, HELD["ap"][ns], attack


def settings(held: str) -> tuple[api.NormSetting, api.NormSetting]:
    """The two settings that are compared."""
    left, right = st.columns(2, gap="large")
    a = left.slider("Left: λ of the AP", 0.0, 1.0, 0.0, 0.05, key="left", bind="query-params")
    b = right.slider("Right: λ of the AP", 0.0, 1.0, 1.0, 0.05, key="right", bind="query-params")
    line = api.LINES[f"ap@{held}"]
    return line(a), line(b)


def watch(shown: Shown, shot: Shot) -> None:
    """The film, what it shows in one sentence, and its exports."""
    assert shown.bench is not None
    shots = attacking.films(shown, shot)
    classes = shown.bench.test.classes
    key = (shot, "payload")
    if key not in results():
        remember(key, attacking.payload(shots, shot, classes))
    film(results()[key], key="film")
    frames = attacking.frame_names(shot.attack)
    said = [
        f"at {attacking.name(setting)} "
        + (f"fooled from “{frames[one.fooled_at]}” on" if one.fooled_at is not None else "never fooled")
        for setting, one in zip(shot.settings, shots, strict=True)
    ]
    st.caption(
        f"The network is {'; '.join(said)}. {shot.attack.label}, step {shot.attack.step_size * 255:.2f}/255, seed "
        f"{api.SEED}; each side attacked white-box through its own network, from the same start; verdicts by the "
        f"unfolded network. Differences × {attacking.MAGNIFY}; spectrum: low frequencies in the middle. Weights "
        f"{shown.card.weights_sha256[:8]}, {shown.bench.test.name} {shown.bench.test.split} image {shot.index}."
    )
    row = st.container(horizontal=True)
    row.download_button(
        "Frames (GIF)", lambda: attacking.animation(shots), "attack.gif", "image/gif", on_click="ignore",
        icon=":material/movie:",
    )  # fmt: skip
    row.download_button(
        "Data (CSV)", attacking.table(shots, shot, classes), "attack.csv", "text/csv", on_click="ignore",
        icon=":material/table:",
    )  # fmt: skip


def landscape(shown: Shown, shot: Shot) -> None:
    """The loss around the image at both settings."""
    st.subheader("The loss around this image")
    st.caption(
        "Height: loss. One axis leads along the attack (0 the image, 1 the attacked image), the other along random "
        "signs of the same size. Where the attack's axis climbs and the random one hardly moves, noise is no attack. "
        "Orange: the network is fooled."
    )
    dark = st.context.theme.type == "dark"
    found = attacking.surfaces(shown, shot)
    for side, setting, one, column in zip("ab", shot.settings, found, st.columns(2, gap="large"), strict=True):
        column.markdown(f"**{attacking.name(setting)}**")
        column.plotly_chart(
            attacks.surface_figure(one, dark), key=f"surface_{side}",
            alt=f"Surface of the loss around the image at {attacking.name(setting)}",
        )  # fmt: skip


def on_demand(shown: Shown, asked: Asked, label: str, compute: Callable[..., Any], n: int = attacking.N_CURVE) -> Any:
    """A figure's data if it is there; else a button, progress, and a way out."""
    if asked in results():
        return results()[asked]
    if st.button(f"Compute on {n} images", key=f"go_{asked.kind}", icon=":material/play_arrow:"):
        st.button("Cancel", key=f"cancel_{asked.kind}", icon=":material/stop:")
        with working(label) as progress:
            remember(asked, compute(shown.bench, asked, progress))
        st.rerun()
    return None


def strength(shown: Shown, shot: Shot) -> None:
    """Robust accuracy against eps and steps, and the transfer matrix."""
    sha, pair = shown.card.weights_sha256, shot.settings
    ways = (
        ("eps", "How far must it go?", "eps, in 1/255", False, attacking.over_eps,
         "An honest attack reaches zero as eps grows; if it does not, the attack is at fault, not the network strong."),
        ("steps", "Does a longer attack find more?", "steps", True, attacking.over_steps,
         "Flat on the right: the attack has converged. Still falling: more steps, or restarts, are needed."),
    )  # fmt: skip
    for (kind, title, axis, log, compute, note), column in zip(ways, st.columns(2, gap="large"), strict=True):
        with column:
            st.subheader(title)
            st.caption(note)
            points = on_demand(shown, Asked(sha, kind, pair, shot.attack), "Attacking ...", compute)
            if points is not None:
                chart = attacks.curve_chart(attacks.curve_rows(points), axis, log)
                st.altair_chart(chart, alt=f"Accuracy against {axis} at both settings, with 95 % bands")
    st.subheader("How far is each image from the edge?")
    st.caption(
        f"The smallest eps at which this attack fools the network, per image, by bisection (n {attacking.N_DISTANCE}): "
        "an upper bound, because an attack may miss what is there. 0: wrong without any attack."
    )
    asked = Asked(sha, "distance", pair, shot.attack)
    points = on_demand(shown, asked, "Halving eps ...", attacking.distances, attacking.N_DISTANCE)
    if points is not None:
        chart = attacks.distance_chart(points, attacking.FARTHEST)
        st.altair_chart(chart, alt="Histogram of the smallest successful eps at both settings")
        beyond = {title: sum(eps > attacking.FARTHEST for at, eps in points if at == title) for title, _ in points}
        left = ", ".join(f"{count} at {title}" for title, count in beyond.items())
        st.caption(f"Not fooled within {attacking.FARTHEST}/255: {left}.")
    st.subheader("Who fools whom?")
    st.caption(
        "Adversarial images crafted at one λ and judged at all. The framed diagonal is white-box; everything else is a "
        "transfer attack, which should find less. Where it finds more, the white-box attack is too weak."
    )
    held = pair[0].statistics
    line = tuple(api.NormSetting(lam, held) for lam in attacking.CORNERS)
    rows = on_demand(shown, Asked(sha, "transfer", line, shot.attack), "Crafting and judging ...", attacking.matrix)
    if rows is not None:
        st.altair_chart(attacks.matrix_chart(rows), alt="Accuracy by crafting and judging lambda")


def trust(shown: Shown, shot: Shot) -> None:
    """Signs that the attack is too weak for the accuracy it reports."""
    st.subheader("Can this attack be trusted?")
    st.caption(
        f"Robust accuracy is what an attack did not find. These checks try to catch the attack at "
        f"{attacking.name(shot.settings[1])} missing something."
    )
    asked = Asked(shown.card.weights_sha256, "checks", shot.settings, shot.attack)
    flags: list[api.Flag] | None = on_demand(shown, asked, "Checking ...", attacking.doubts)
    for flag in flags or ():
        icon = ":orange[:material/warning:]" if flag.fired else ":green[:material/check:]"
        st.markdown(f"{icon} {flag.sentence}")


def page() -> None:
    st.title("What does an attack do, step by step?")
    st.markdown(
        "It may change every pixel a little, never by more than **eps**, and climbs towards the change that fools the "
        "network. Watch it at two blends of the affine parameters at once."
    )
    cards, _ = cache.cards()
    if not cards:
        st.markdown("The explorer shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    model, held, attack = controls(list(by_name))
    try:
        shown = cache.shown(model, by_name[model].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    if shown.bench is None:
        st.info(shown.problem, icon=":material/image_not_supported:")
        return
    test = shown.bench.test
    index = st.selectbox(
        "Image", range(min(N_PICK, len(test))), key="picture", bind="query-params",
        format_func=lambda i: f"{i}: {test.classes[test.labels[i]]}",
    )  # fmt: skip
    shot = Shot(shown.card.weights_sha256, settings(held), attack, index)
    try:
        watch(shown, shot)
        landscape(shown, shot)
        strength(shown, shot)
        trust(shown, shot)
    except api.InputError as error:
        st.warning(str(error))


page()
