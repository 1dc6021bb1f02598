"""Compare: two networks, settings or attacks under one slider, on the same images and the same axes."""

from __future__ import annotations

import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator

from app import cache, lecture
from app.charts.confusion import confusion_chart
from app.command import evaluate_command
from app.compare.sides import SIDES, allowed, side, swap
from app.compare.taken import about, offer_curves
from app.compare.verdicts import Asked, N, Said, ask, confusion, counts, image_rows, known, same_images
from app.compare.views import disagreements, payload
from app.components.copy_link import copy_link
from app.components.duel import DuelStart, duel
from app.explore import demand
from app.explore.payload import Sources, sources
from app.jobs import working
from app.selection import DESIGN_NOTES, STALE, Selection, parse_lam, stale_values
from app.shown import Shown
from app.takeaway.figure import Part
from app.takeaway.tray import offer, start, take_away
from app.words import word
from engine import api

NAMES = ("A", "B")


def start_of_session(names: list[str]) -> None:
    """Once a visit to the page: where the slider starts, and one message if the link asks for what is not here."""
    if "duel_start" in st.session_state and ("duel" in st.session_state or "duel_lam" not in st.session_state):
        return
    lam = st.session_state.get("duel_lam", parse_lam(st.query_params.get("lam")))
    query = {key: st.query_params[key] for key in st.query_params}
    stale = stale_values(query, names, allowed(names)) if "duel_start" not in st.session_state else []
    st.session_state["duel_start"] = DuelStart(0.5 if lam is None else lam)
    if stale:
        st.toast(STALE.format(", ".join(stale)), duration="long")


def header() -> DeltaGenerator:
    """Title and actions; the place for what can be taken away."""
    title, actions = st.columns([5, 3], vertical_alignment="bottom")
    title.title("Two networks, one slider")
    with actions.container(horizontal=True, horizontal_alignment="right"):
        st.button(
            "Swap A and B", key="swap", icon=":material/swap_horiz:", on_click=swap, help="A becomes B and B becomes A"
        )
        place = start()
        copy_link(key="copy")
    lecture.prose(
        "Pick a network, what its slider blends and an attack for **A** and for **B**. One slider moves both; the bars "
        "below each chart say which is ahead, and by how much.",
        word("Setting", "Clean accuracy", "Robust accuracy", "95 % interval", "Points"),
    )
    return place


def choices(names: list[str]) -> list[Selection]:
    """Both rows of controls."""
    with st.container(border=True):
        return [side(which, names) for which in SIDES]


def load(selection: Selection, cards: dict[str, api.ModelCard]) -> Shown | None:
    try:
        return cache.shown(selection.checkpoint, cards[selection.checkpoint].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return None


def found_for(shown: Shown, selection: Selection, name: str) -> Sources | None:
    """Its curves; where there are none, an offer to compute them."""
    found = demand.with_curves(shown, selection, sources(shown, selection))
    if found.clean is not None and (found.robust is not None or selection.engine_attack is None):
        return found
    st.markdown(f"**{name}** has no curves yet.")
    demand.offer(shown, selection)
    return None


def asked_for(shown: Shown, selection: Selection, lam: float) -> Asked:
    setting = api.canonical(api.LINES[selection.line](lam), shown.card.norm_design)
    return Asked(shown.card.weights_sha256, setting, selection.engine_attack, N)


def image_by_image(both: list[Shown], selections: list[Selection], lam: float) -> None:
    """Confusion matrices, and the images on which the two disagree."""
    st.subheader(f"Image by image at λ = {lam:.2f}")
    if not same_images(*both):
        problem = next((shown.problem for shown in both if shown.bench is None), "")
        st.markdown(problem or "These networks are judged on different images, so there is no image to compare on.")
        return
    asked = [asked_for(shown, selection, lam) for shown, selection in zip(both, selections, strict=True)]
    said = [known(shown.bench, one) for shown, one in zip(both, asked, strict=True)]
    if None in said:
        st.markdown(
            f"Which of the first {N} held-out images does each network get right here, attacked white-box at its own "
            "setting? It takes a few seconds; any change of a control stops it."
        )
        if not st.button(f"Judge {N} images", key="judge", icon=":material/play_arrow:"):
            return
        st.button("Cancel", key="cancel", icon=":material/stop:")
        for name, shown, one in zip(NAMES, both, asked, strict=True):
            assert shown.bench is not None
            with working(f"Judging {name} ...", "compare", one) as progress:
                if known(shown.bench, one) is None:  # a visitor who asked for the same may have held the slot until now
                    ask(shown.bench, one, progress)
        st.rerun()
    judged(both, selections, asked, [one for one in said if one is not None])


def judged(both: list[Shown], selections: list[Selection], asked: list[Asked], said: list[Said]) -> None:
    a, b = said
    bench = both[0].bench
    assert bench is not None
    gap = api.paired(torch.from_numpy(a.right), torch.from_numpy(b.right), api.SEED)
    cells = counts(a.right, b.right)
    total = len(a.labels)
    for (label, count), column in zip(cells.items(), st.columns(4), strict=True):
        column.metric(
            label[0].upper() + label[1:], f"{count}", f"{100 * count / total:.0f} % of {total}", border=True,
            delta_color="off", delta_arrow="off",
        )  # fmt: skip
    st.markdown(
        f"On the very same images **B is {gap.points}** from A (95 %, paired bootstrap); pairing makes this interval "
        "narrower than the one under the slider, which only knows the two counts."
    )
    classes = tuple(bench.test.classes)
    drawn: list[Part] = []
    for name, one, selection, column in zip(NAMES, said, selections, st.columns(2, gap="large"), strict=True):
        attack = selection.engine_attack
        title = f"{name}: {selection.checkpoint}, {attack.label if attack else 'no attack'}"
        drawn.append((title, confusion_chart(confusion(one, classes), title)))
        column.altair_chart(drawn[-1][1], key=f"confusion_{name}")
    disagreements(bench.test.images, a, b, classes)
    commands = [
        evaluate_command(selection.checkpoint, api.EvalRecord(
            one.setting, one.attack, None if one.attack is None else one.setting, one.n, 0, api.SEED
        ), *["--unofficial"] * bool(bench.test.note))
        for selection, one in zip(selections, asked, strict=True)
    ]  # fmt: skip
    hashes = ", ".join(f"{name} {shown.card.weights_sha256[:8]}" for name, shown in zip(NAMES, both, strict=True))
    source = (
        f"First {N} {bench.test.name} {bench.test.split} images; white-box at each network's own setting; images that "
        f"are wrong without an attack are not attacked; seed {api.SEED}; weights {hashes}."
    )
    st.caption(source)
    offer(
        "Image by image", f"B is {gap.points} from A (95 %, paired bootstrap). {source} {' · '.join(commands)}",
        lambda: drawn, lambda: image_rows(a, b, classes),
    )  # fmt: skip
    with st.popover("Check a number", icon=":material/terminal:"):
        st.code("\n".join(commands), "sh", wrap_lines=True)


def page() -> None:
    cards, problems = cache.cards()
    by_name = {card.name: card for card in cards}
    if not by_name:
        st.title("No checkpoints yet")
        st.markdown("The explorer compares trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    start_of_session(list(by_name))
    place = header()
    selections = choices(list(by_name))
    both = [shown for selection in selections if (shown := load(selection, by_name)) is not None]
    if len(both) < 2:
        return
    for note in dict.fromkeys((*problems, *both[0].notes, *both[1].notes)):
        st.caption(f":material/warning: {note}")
    for name, shown in zip(NAMES, both, strict=True):
        if shown.card.design in DESIGN_NOTES:
            st.caption(f"**{name}**: {DESIGN_NOTES[shown.card.design]}")
    found: list[Sources] = []
    for name, shown, selection in zip(NAMES, both, selections, strict=True):
        one = found_for(shown, selection, name)
        if one is None:
            return
        found.append(one)
    sent = payload(both, selections, found, st.session_state["duel_start"])
    lam = duel(sent, key="duel")
    offer_curves(sent, lam)
    st.session_state["duel_lam"] = lam
    if st.query_params.get("lam") != f"{lam:g}":
        st.query_params["lam"] = f"{lam:g}"
    image_by_image(both, selections, lam)
    take_away(place, about(both, selections, lam))


page()
