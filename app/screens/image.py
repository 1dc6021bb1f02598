"""Your image: a picture of the visitor's own named by both branches, attacked and looked into."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from app import cache, lecture
from app.attack import films
from app.attack.films import Side
from app.attack.watch import watch
from app.attribution.maps import View
from app.attribution.methods import ABOUT, METHODS, NS
from app.attribution.side_by_side import side_by_side
from app.charts.answers import answer_chart, answer_rows
from app.charts.pictures import enlarged
from app.controls import check_link, control_row, eps_control, model_control
from app.image.asked import STOPS, Floats, answers, shown_with, table
from app.image.source import DRAWING, WAYS, Taken, take
from app.selection import DESIGN_NOTES, OWN
from app.shown import Shown
from app.takeaway.tray import About, heading, offer, take_away
from app.words import word
from engine import api

SIDE, ENLARGE = 32, 6
SAYS = "what it says at λ = 1"
MOST_STEPS = 50


def allowed(classes: list[str]) -> dict[str, Collection[str]]:
    """What a link may ask this page for."""
    return {
        "from": WAYS, "held": list(NS), "truth": [SAYS, *classes], "method": list(METHODS),
        "steps": [str(steps) for steps in range(1, MOST_STEPS + 1)],
    }  # fmt: skip


def ways(shown: Shown) -> tuple[str, ...]:
    """How a picture can get to this network; what is drawn on the pad looks like `shapes`."""
    return WAYS if shown.card.classes == api.shapes.CLASSES else WAYS[1:]


def statistics(shown: Shown) -> list[str]:
    """The NS that can be had: without calibration images only those that are stored; the branch's own come first."""
    stored = [name for name, held in NS.items() if held != "clean"]
    anew = [name for name in NS if name not in stored]
    return stored[::-1] + (anew if shown.bench is not None and shown.bench.calibration is not None else [])


def summary(own: Shown, taken: Taken, found: Floats, line: str) -> None:
    """What the network sees, its answers at both ends, and the curve between them."""
    classes = own.card.classes
    left, right = st.columns([1, 2], vertical_alignment="center")
    left.image(
        enlarged(taken.pixels, ENLARGE), width=SIDE * ENLARGE, alt=f"{taken.name} as the network sees it",
        caption=f"As the network sees it, {SIDE}\u00a0×\u00a0{SIDE}",
    )  # fmt: skip
    what = "branch" if line == f"ap@{OWN}" else "AP"
    grid = right.grid(2, min_column_width=180)
    for title, row in ((f":blue[λ = 0, clean {what}]", found[0]), (f":orange[λ = 1, adversarial {what}]", found[-1])):
        grid.metric(
            title, classes[int(row.argmax())], f"{100 * row.max():.1f} % sure", border=True, delta_color="off",
            delta_arrow="off", help=word("Probability"),
        )  # fmt: skip
    assert own.bench is not None
    rows = answer_rows(STOPS, found, classes, int(own.bench.test.labels[0]))
    st.altair_chart(answer_chart(rows), alt="Probability of the likeliest classes over lambda", key="answers")
    caption = (
        f"{len(STOPS)} values of λ, softmax of the unfolded network; one picture, so there is no interval. "
        f"Weights {own.card.weights_sha256[:8]}, {taken.name}."
    )
    st.caption(caption, help=word("Probability", "Unfolded network"))
    offer(
        "What it is taken for", caption, lambda: [("Probability over λ", answer_chart(rows))],
        lambda: table(own, found, line),
    )  # fmt: skip


def attack_controls() -> tuple[api.PGD, tuple[float, float]]:
    """The attack, and λ of the two networks that it goes through; all URL parameters."""
    row = st.container(horizontal=True, gap="small", vertical_alignment="bottom")
    level = eps_control(row)
    steps = row.number_input(
        "PGD steps", 1, MOST_STEPS, 20, key="steps", width=140, bind="query-params", help=word("PGD")
    )
    lams = [
        column.slider(
            f"{key.capitalize()} network: λ, from 0 (clean) to 1 (adversarial)", 0.0, 1.0, start, films.LAM_STEP,
            key=key, bind="query-params", help=word("λ"),
        )
        for column, key, start in zip(st.columns(2, gap="large"), ("left", "right"), (0.0, 1.0), strict=True)
    ]  # fmt: skip
    eps = level / 255
    attack = api.PGD(api.ThreatModel("Linf", eps), steps, max(eps / 4, eps / steps))
    return attack, (round(lams[0], 2), round(lams[1], 2))


def look(own: Shown, sides: tuple[Side, Side], attack: api.PGD, name: str) -> None:
    """Maps, once the fold is opened."""
    fold = st.expander("Where does it look?", key="fold_look", on_change="rerun")
    if not fold.open:
        return
    assert own.bench is not None
    with fold:
        method = METHODS[
            st.selectbox("Method", list(METHODS), 2, key="method", bind="query-params", help=word("Attribution"))
        ]
        about, unit = ABOUT[method]
        st.markdown(about)
        sha, images = own.card.weights_sha256, own.bench.test.checksum
        views = [
            View(sha, side.network, used, 0, method, "answer", images) for side in sides for used in (None, attack)
        ]
        side_by_side(own, views, unit, name)


def picture_controls(names: dict[str, api.ModelCard]) -> tuple[Shown, str, str] | None:
    """The checkpoint, how the picture gets in, and the line through settings; None where the weights are unusable."""
    row = control_row("Network and picture")
    model = model_control(row, list(names))
    try:
        shown = cache.shown(model, names[model].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None
    way = row.segmented_control(
        "Picture from", ways(shown), default=ways(shown)[0], key="from", required=True, bind="query-params",
        help="Whatever it is, it is cut to a square and averaged down to the size that the network takes.",
    )  # fmt: skip
    held = row.selectbox(
        "Statistics (NS)", statistics(shown), key="held", width=180, bind="query-params",
        help=word("NS", "Stored NS", "Re-estimated NS"),
    )  # fmt: skip
    return shown, way, f"ap@{NS[held]}"


def page() -> None:
    place = heading("What does the network make of your picture?")
    lecture.prose(
        "Draw something or bring a picture, see what the clean and the adversarial branch take it for, and then attack "
        "it. The network learned **ten classes** and names one of them whatever it is shown, even an empty page.",
        word("Branch", "Adversarial image"),
    )
    cards, _ = cache.cards()
    if not cards:
        st.markdown("The explorer shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    check_link("image", list(by_name), allowed(sorted({name for card in cards for name in card.classes})))
    chosen = picture_controls(by_name)
    if chosen is None:
        return
    shown, way, line = chosen
    if shown.card.design in DESIGN_NOTES:
        st.markdown(f":material/info: {DESIGN_NOTES[shown.card.design]}")
    if shown.bench is None or shown.bench.calibration is None:
        st.markdown(
            ":material/info: The images this network learned from are not here, so its statistics cannot be measured "
            "anew; those stored with it can be used."
        )
    left, right = st.columns([2, 3], gap="large")
    with left:
        taken = take(way, SIDE)
        st.caption(
            ":material/lock: Your picture stays in the memory of the computer that runs this app, until newer ones "
            "take its place. It is written to no disk, shown to nobody else and sent nowhere."
        )
    with right:
        if taken is None:
            st.markdown("The answers appear here as soon as there is a picture." if way != DRAWING else "")
            return
        unlabelled = shown_with(shown, taken.pixels, 0)
        found = answers(unlabelled, line)
        says = int(found[-1].argmax())
        truth = st.selectbox(
            "What is it really?", [SAYS, *shown.card.classes], key="truth", bind="query-params",
            help="The attack tries to make the network say anything else than this.",
        )  # fmt: skip
        own = shown_with(shown, taken.pixels, says if truth == SAYS else shown.card.classes.index(truth))
        summary(own, taken, found, line)
    st.subheader("Attack it")
    attack, lams = attack_controls()
    first, second = (Side(lam, line, shown.card.norm_design) for lam in lams)
    watch(own, (first, second), attack, 0, taken.name)
    look(own, (first, second), attack, taken.name)
    words = f"{own.card.norm_design.label}; a picture of one's own; {first.name} against {second.name} on {line}"
    settings = {"sides": [side.network.as_json() for side in (first, second)], "attack": attack.label}
    take_away(place, About("image", [own.card], words, settings))


page()
