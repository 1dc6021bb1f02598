"""Attack: one attack watched step by step in two networks, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import streamlit as st

from app import cache, lecture
from app.attack import films, looks
from app.attack.films import Filmed, Side
from app.attack.strength import FILMED, KINDS, LOSSES, make_attack
from app.attack.watch import watch
from app.controls import check_link, control_row, eps_control, hideable, line_controls
from app.selection import DESIGN_NOTES
from app.shown import Shown
from app.takeaway.code import film_code
from app.takeaway.tray import About, heading, take_away
from app.words import word
from engine import api

MOST_STEPS = 50
ENDS = {
    "ap": "0: scales and shifts (AP) trained on clean images; 1: those trained on attacked ones",
    "ns": "0: statistics (NS) of clean images; 1: those of attacked ones",
}


def allowed(classes: list[str]) -> dict[str, Collection[str]]:
    """What a link may ask this page for."""
    return {
        "method": FILMED,
        "loss": list(LOSSES),
        "steps": [str(steps) for steps in range(1, MOST_STEPS + 1)],
        "picture": [str(index) for index in range(cache.N_IMAGES)],
        "look": list(looks.LOOKS),
        "towards": [ANY, *classes],
        "attacks": KINDS,
    }


ANY = "any other class"


def attack_controls(classes: tuple[str, ...]) -> tuple[Filmed, str, int, int, str]:
    """The attack, the loss it raises, its steps, the image and the class to be taken for; all URL parameters."""
    row = control_row("Attack")
    kind = row.segmented_control(
        "Attack", FILMED, default="PGD", key="method", required=True, bind="query-params",
        help="FGSM: one step. PGD: many steps of one size. APGD: many steps that shrink where they stop paying.",
    )  # fmt: skip
    loss = row.segmented_control(
        "It raises the", list(LOSSES), default="cross-entropy", key="loss", required=True, bind="query-params",
        disabled=kind == "FGSM", help="What each step increases. Margin: the best wrong class against the true one.",
    )  # fmt: skip
    level = eps_control(row)
    steps = row.number_input(
        "Steps", 1, MOST_STEPS, 20, key="steps", width=125, bind="query-params", disabled=kind == "FGSM",
        help="More steps find more, up to a point: see the tab Steps below.",
    )  # fmt: skip
    index = row.number_input(
        "Image", 0, cache.N_IMAGES - 1, 0, key="picture", width=125, bind="query-params", help=word("Held-out images")
    )
    attack = make_attack(kind, "cross-entropy" if kind == "FGSM" else loss, level / 255, steps)
    assert isinstance(attack, api.PGD | api.APGD)
    towards = row.selectbox(
        "To be taken for", [ANY, *classes], key="towards", width=160, bind="query-params",
        help="What the film's attack aims at. Where images are counted, below, it is any other class.",
    )  # fmt: skip
    return attack, loss, steps, index, towards


def two_sides(slide: str, held: str, design: api.NormDesign) -> tuple[Side, Side]:
    """The two networks that are compared."""
    sides: list[Side] = []
    for column, key, start in zip(st.columns(2, gap="large"), ("left", "right"), (0.0, 1.0), strict=True):
        label = f"{key.capitalize()} network: λ, from 0 (clean) to 1 (adversarial)"
        lam = hideable(column).slider(
            label, 0.0, 1.0, start, films.LAM_STEP, key=key, bind="query-params",
            help=ENDS[slide],
        )  # fmt: skip
        sides.append(Side(round(lam, 2), f"{slide}@{held}", design))
    return sides[0], sides[1]


def about(shown: Shown, sides: tuple[Side, Side], attack: Filmed, index: int) -> About:
    """What the page's figures share; the code is that of the film."""
    settings = [side.network for side in sides]
    words = f"{shown.card.norm_design.label}; {' against '.join(side.name for side in sides)} on {sides[0].line}"
    data = {"sides": [one.as_json() for one in settings], "attack": attack.label, "image": index}
    return About("attack", [shown.card], words, data, film_code(shown, settings, attack, index))


def page() -> None:
    place = heading("What does an attack do, step by step?")
    lecture.prose(
        "It changes every pixel a little, never by more than **eps**, in the direction that fools the network. Here it "
        "attacks one image in two networks that differ only in λ. Press play.",
        word("Adversarial image", "eps", "λ"),
    )
    cards, _ = cache.cards()
    if not cards:
        st.markdown("The explorer shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    check_link("attack", list(by_name), allowed(sorted({name for card in cards for name in card.classes})), "attack")
    row = control_row("Networks")
    model, slide, held = line_controls(row, list(by_name))
    try:
        shown = cache.shown(model, by_name[model].weights_sha256)
    except api.InputError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    if shown.bench is None:
        st.info(shown.problem, icon=":material/image_not_supported:")
        return
    if shown.card.design in DESIGN_NOTES:
        st.markdown(f":material/info: {DESIGN_NOTES[shown.card.design]}")
    attack, loss, steps, index, towards = attack_controls(shown.bench.test.classes)
    sides = two_sides(slide, held, shown.card.norm_design)
    if index >= len(shown.bench.test):
        st.info(f"There are {len(shown.bench.test)} images here; choose one below that number.")
        return
    try:
        aimed = attack if towards == ANY else replace(attack, target=shown.bench.test.classes.index(towards))
        watch(shown, sides, aimed, index)
        looks.closer(looks.Watched(shown, sides, attack, loss, steps, index))
        take_away(place, about(shown, sides, aimed, index))
        films.prepare_neighbours(shown, sides)
    except api.InputError as error:
        st.warning(str(error))


page()
