"""The closer looks of the Attack page, a tab each; only the open one is computed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app.attack import films, strength
from app.attack.films import Filmed, Side
from app.attack.strength import KINDS, Asked
from app.charts import attacks
from app.exhibits import footer, provenance, rows_of
from app.shown import Shown
from app.takeaway.figure import Part
from app.takeaway.tray import offer
from engine import api

CAMERA = {
    "displaylogo": False, "displayModeBar": True, "modeBarButtons": [["toImage", "resetCameraDefault3d"]],
    "toImageButtonOptions": {"format": "svg", "scale": 2, "filename": "loss-surface"},
}  # fmt: skip
"""The chart's own camera saves what was turned to, as an SVG of twice the size; WebGL draws pixels, so the landscape in
it is a picture. From above it can be taken away as a drawing."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What the controls ask for. steps and loss also stand for attacks that are only drawn here."""

    shown: Shown
    sides: tuple[Side, Side]
    attack: Filmed
    loss: str
    steps: int
    index: int


def landscape(at: Watched) -> None:
    """The loss around the image in both networks."""
    shown, sides, attack = at.shown, at.sides, at.attack
    st.caption(
        "Height: loss (cross-entropy) of this image when it is changed along the attack (1: the attacked image, 2: "
        "twice as far) and along random signs of the same size. White dots: the image and the attacked image. Blue: "
        "recognised; orange: fooled. Where the attack's "
        "axis climbs and the random one hardly moves, noise is no attack. Both landscapes have the same scales; drag "
        "to turn them."
    )
    found = [films.surface(shown, side, attack, at.index) for side in sides]
    for key, side, one, column in zip(("left", "right"), sides, found, st.columns(2, gap="large"), strict=True):
        column.markdown(f"**{side.name}**")
        column.plotly_chart(
            attacks.surface_figure(one, found), key=f"surface_{key}", config=CAMERA,
            alt=f"Surface of the loss around the image at {side.name}",
        )  # fmt: skip
    source = (
        f"One image, no interval · {attack.label} · {found[0].loss.size} points a surface, by the unfolded network · "
        f"seed {api.SEED} · weights {shown.card.weights_sha256[:8]}"
    )
    st.caption(source)
    highest = max(float(one.loss.max()) for one in found)
    offer(
        "The loss around the image",
        f"From above: loss along the attack (1: the attacked image) and along random signs. Image {at.index}. {source}",
        lambda: [(side.name, attacks.surface_chart(films.surface_table([side], [one]), highest))
                 for side, one in zip(sides, found, strict=True)],
        lambda: films.surface_table(sides, found),
    )  # fmt: skip


def ask(shown: Shown, kind: str, sides: tuple[Side, ...], attack: api.Attack) -> Asked:
    return Asked(kind, shown.card.name, shown.card.weights_sha256, sides, attack)


def interval(row: dict[str, float]) -> str:
    return f"**{row['accuracy']:.1f} %** [{row['low']:.1f}, {row['high']:.1f}]"


def by_eps(at: Watched) -> None:
    """Accuracy against eps, a line an attack, a chart a network."""
    shown, sides, attack = at.shown, at.sides, at.attack
    st.caption(
        "How many images are still recognised when every pixel may change by up to eps? The lowest line is the one to "
        "believe: the others missed what it found. An honest attack reaches zero as eps grows; if it does not, the "
        "attack is at fault, not the network strong."
    )
    chosen = st.pills(
        "Attacks", KINDS, selection_mode="multi", default=("FGSM", "PGD"), key="attacks",
        help="Square sees no gradient. Quick AutoAttack: APGD, targeted APGD, FAB and Square in turn; it takes long.",
        bind="query-params",
    )  # fmt: skip
    if not chosen:
        st.caption("Choose at least one attack.")
        return
    chosen = sorted(chosen, key=KINDS.index)
    tried = [strength.make_attack(kind, at.loss, attack.threat.eps, at.steps) for kind in chosen]
    different = films.distinct(sides)
    rows = rows_of(shown, [ask(shown, "eps", different, one) for one in tried], strength.over_eps, strength.N_CURVE)
    if rows is None:
        return
    colours = {
        strength.name(one): attacks.ATTACK_COLOURS[KINDS.index(kind)] for kind, one in zip(chosen, tried, strict=True)
    }
    drawn: list[Part] = []
    for side, column in zip(different, st.columns(len(different), gap="large"), strict=True):
        column.markdown(f"**{side.name}**")
        chart = attacks.curve_chart(strength.at(rows, side), "eps_255", "eps, in 1/255", colours)
        drawn.append((side.name, chart))
        column.altair_chart(chart, alt=f"Accuracy against eps at {side.name}, a line an attack, with 95 % bands")
    names = ", ".join(dict.fromkeys(rows["curve"]))
    source = provenance(shown, strength.N_CURVE, f"{names}, white-box at every eps")
    st.caption(source)
    offer("Accuracy against eps", source, lambda: drawn, lambda: rows)
    row = strength.telling(rows)
    said = f"{interval(row)} still right at λ = {row['lambda']:g} under {row['attack']}:"
    footer(shown, rows, "eps", said, row["command"])


def by_steps(at: Watched) -> None:
    """Accuracy against the number of steps."""
    shown, sides, attack = at.shown, at.sides, at.attack
    st.caption(
        "Flat on the right: the attack has converged. Still falling: it needs more steps, or restarts, and the "
        "accuracy it reports is too high."
    )
    if attack.steps == 1 and isinstance(attack, api.PGD) and not attack.random_start:
        st.info("FGSM is a single step; choose PGD or APGD above.")
        return
    different = films.distinct(sides)
    rows = rows_of(shown, [ask(shown, "steps", different, attack)], strength.over_steps, strength.N_CURVE)
    if rows is None:
        return
    named = rows.assign(curve=rows["lambda"].map("λ = {:g}".format))
    colours = {side.name: colour for side, colour in zip(different, attacks.COLOURS, strict=False)}
    chart = attacks.curve_chart(named, "steps", "steps", colours)
    st.altair_chart(chart, alt="Accuracy against the number of steps in both networks, with 95 % bands")
    source = provenance(shown, strength.N_CURVE, f"{attack.label} with 1 to 40 steps, white-box")
    st.caption(source)
    offer("Accuracy against steps", source, lambda: [("", chart)], lambda: rows)
    row = strength.telling(rows)
    said = f"{interval(row)} still right at λ = {row['lambda']:g} under {row['attack']}:"
    footer(shown, rows, "steps", said, row["command"])


def distance(at: Watched) -> None:
    """How far each image is from the boundary."""
    shown, sides, attack = at.shown, at.sides, at.attack
    far = strength.FARTHEST
    st.caption(
        "For each image the smallest eps at which this attack fools the network, found by halving: an upper bound on "
        "the true distance, because an attack may miss what is there. At 0: wrong without any attack."
    )
    different = films.distinct(sides)
    rows = rows_of(shown, [ask(shown, "distance", different, attack)], strength.distances, strength.N_DISTANCE)
    if rows is None:
        return
    values = [strength.at(rows, side)["smallest_eps_255"].tolist() for side in different]
    most = max(max(Counter(eps // attacks.BIN for eps in one).values()) for one in values) + 1
    drawn: list[Part] = []
    for number, (side, column) in enumerate(zip(different, st.columns(len(different), gap="large"), strict=True)):
        middle, low, high = (
            f"{x:.1f}/255" if math.isfinite(x) else f"over {far}/255" for x in strength.median_interval(values[number])
        )
        column.markdown(f"**{side.name}**: half the images within **{middle}** [{low}, {high}]")
        drawn.append((side.name, attacks.distance_chart(strength.at(rows, side), far, most, attacks.COLOURS[number])))
        column.altair_chart(
            drawn[-1][1],
            alt=f"Histogram of the smallest successful eps at {side.name}",
        )
        wrong, beyond = values[number].count(0.0), sum(map(math.isinf, values[number]))
        column.caption(f"Wrong unattacked: {wrong}; not fooled within {far}/255: {beyond}.")
    source = provenance(shown, strength.N_DISTANCE, f"{strength.name(attack)} up to {far}/255, white-box")
    st.caption(source)
    offer("Smallest eps that fools the network", source, lambda: drawn, lambda: rows)
    right, last = sum(eps > 0 for eps in values[-1]), different[-1]
    said = f"{right} of {strength.N_DISTANCE} images at {last.name} are right unattacked, a distance above 0:"
    footer(shown, rows, "distances", said, strength.at(rows, last)["command"].tolist()[0])


def across(at: Watched) -> None:
    """The transfer matrix."""
    shown, sides, attack = at.shown, at.sides, at.attack
    line = films.distinct([Side(lam, sides[0].line, sides[0].design) for lam in strength.CORNERS])
    text, figure = st.columns([2, 3], gap="large")
    text.caption(
        "Attacked images are crafted at one λ (row) and shown to the network at another (column); a number is the "
        "percentage still recognised, with its 95 % interval below. The framed diagonal is white-box: the attacker "
        "saw the very network that judges. Everything else is a **transfer attack** and should find less, so the "
        "framed cell should be the lowest of its column. Where it is not, the white-box attack is too weak."
    )
    if len(line) == 1:
        text.info("In this design λ changes nothing here, so there is one network only and nothing to transfer.")
        return
    with text:
        rows = rows_of(shown, [ask(shown, "transfer", line, attack)], strength.matrix, strength.N_CURVE)
    if rows is None:
        return
    chart = attacks.matrix_chart(rows)
    figure.altair_chart(chart, alt="Accuracy by the lambda crafted at and the lambda judged at")
    source = provenance(shown, strength.N_CURVE, f"{attack.label}, all steps")
    offer(
        "Crafted here, judged there", f"Framed: white-box, else transfer. {source}", lambda: [("", chart)], lambda: rows
    )
    with text:
        st.caption(source)
        row = strength.telling(rows)
        kind = "white-box" if row["white_box"] else "transfer"
        said = (
            f"{interval(row)} still right, crafted at λ = {row['crafted_at']:g}, judged at λ = {row['judged_at']:g} "
            f"({kind}). The command draws other random starts: expect the same within the interval."
        )
        footer(shown, rows, "transfer", said, row["command"])


def trust(at: Watched) -> None:
    """Signs that the attack is too weak for the accuracy it reports."""
    shown, sides, attack = at.shown, at.sides, at.attack
    side = sides[1]
    st.caption(
        f"Robust accuracy is what an attack did not find. These checks try to catch the attack on the right network "
        f"({side.name}) missing something: an attack that ought to be weaker must not find more."
    )
    if not isinstance(attack, api.PGD):
        st.info("The checks examine PGD and FGSM; choose one of them above.")
        return
    rows = rows_of(shown, [ask(shown, "checks", (side,), attack)], strength.doubts, strength.N_CURVE)
    if rows is None:
        return
    table = ["| | Check | Share of images |", "|---|---|---|"]
    for flag in rows.to_dict("records"):
        icon = ":orange[:material/warning:]" if flag["fired"] else ":green[:material/check:]"
        table.append(f"| {icon} | {flag['sentence']} | {flag['share']:.1f} % [{flag['low']:.1f}, {flag['high']:.1f}] |")
    st.markdown("\n".join(table))
    st.caption(
        provenance(shown, strength.N_CURVE, f"{attack.label}, against one step, {4 * attack.steps} steps, other λ and "
                   f"Square-{strength.N_QUERIES}")
        + " · share: images that speak against the attack (the first two checks look at 64)"
    )  # fmt: skip
    footer(shown, rows, "checks", "All of these checks, and the accuracy they are about:", rows["command"].tolist()[0])


LOOKS: dict[str, Callable[[Watched], None]] = {
    "Loss surface": landscape,
    "Attacks and eps": by_eps,
    "Steps": by_steps,
    "Distances": distance,
    "Transfer": across,
    "Can it be trusted?": trust,
}


def closer(at: Watched) -> None:
    """The tabs."""
    st.subheader("Look closer")
    tabs = st.tabs(list(LOOKS), key="look", bind="query-params")
    for tab, draw in zip(tabs, LOOKS.values(), strict=True):
        if tab.open:
            with tab:
                draw(at)
