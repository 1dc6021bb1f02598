"""Guided tour: eight steps from the puzzle to what it means, each a guess, a live figure and this network's answer."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import cache, lecture
from app.components.arrival import arrival
from app.components.copy_link import copy_link
from app.controls import check_link, control_row, hideable, model_control
from app.layers import measures
from app.layers.measures import Part, Question
from app.shown import Shown
from app.tour import conclusions
from app.tour.answers import Results
from app.tour.figures import draw
from app.tour.steps import STEPS, Step
from app.tour.values import JUST_TELL, Answer, reply
from app.words import word
from engine import api

LAST = len(STEPS)
Guesses = dict[tuple[str, int], int]
"""(weights, step) -> option."""


def guesses() -> Guesses:
    return st.session_state.setdefault("tour_guesses", {})


def go(by: int) -> None:
    st.session_state["step"] = min(LAST, max(1, (st.session_state["step"] or 1) + by))


def controls(names: list[str]) -> tuple[str, int, bool]:
    """Network, step (from 1) and whether the teacher's notes are shown; all in the link."""
    place = st.container(horizontal=True, gap="small", vertical_alignment="bottom")
    step = hideable(place).segmented_control(
        "Step", list(range(1, LAST + 1)), default=1, key="step", required=True, bind="query-params",
        help="  \n".join(f"{n}: {one.title}" for n, one in enumerate(STEPS, start=1)),
        label_visibility="collapsed" if lecture.on() else "visible",
    )  # fmt: skip
    with place:
        row = control_row() if lecture.on() else hideable(place)
        model = model_control(row, names, label="Network")
        notes = row.toggle(
            "Teacher’s notes", key="notes", bind="query-params", help="Hints for whoever leads the class"
        )
        if not lecture.on():
            st.button(
                "Lecture mode", key="enter_lecture", on_click=lecture.enter, icon=":material/co_present:",
                help="Large type and nothing else, for a projector",
            )  # fmt: skip
        copy_link(key="copy_tour")
    return model, step, notes


def ask(answer: Answer, guess: int | None, put: partial[None]) -> None:
    """The options as buttons, which say once a guess is made how it was."""
    st.markdown(f"**{answer.question}**")
    for option, text in enumerate(answer.options):
        icon = "radio_button_unchecked"
        if guess is not None:
            icon = "check_circle" if option in answer.right else "cancel" if option == guess else icon
        st.button(
            text, key=f"option_{option}", on_click=put, args=(option,), icon=f":material/{icon}:", width="stretch"
        )
    if guess is None:
        st.button("Just tell me", key="tell", on_click=put, args=(JUST_TELL,), type="tertiary")


def remember(sha: str, step: int, option: int) -> None:
    guesses()[sha, step] = option


def told(answer: Answer, guess: int | None, step: Step, name: str) -> None:
    """The answer, where it comes from, and the way to the page that shows it."""
    with st.container(border=True):
        if guess is not None:
            st.markdown(f"**{reply(answer, guess)}**")
        st.markdown(answer.text)
        if answer.evidence and not lecture.on():
            st.caption(answer.evidence)
        row = st.container(horizontal=True, gap="small")
        row.link_button(
            step.try_it, lecture.link(step.page, **{**step.query, **({} if step.page in PLAIN else {"model": name})}),
            icon=":material/science:", help="Opens in a new tab, in this very state",
        )  # fmt: skip
        if answer.commands and not lecture.on():
            with row.popover("Check a number", icon=":material/terminal:"):
                st.code("\n".join(answer.commands), "sh", wrap_lines=True)


PLAIN = ("/models", "/paper")
"""Pages that show all networks."""


def measured(shown: Shown, now: bool) -> tuple[Part, ...] | None:
    """What the sixth step measures, if it is there, or `now`, with progress; None where the images are not here."""
    if shown.bench is None:
        return None
    setting = api.canonical(api.branch_setting(api.Branch.ADV), shown.card.norm_design)
    question = Question(shown.card.weights_sha256, setting, 8, "uniform")
    parts = measures.complete(shown, question)
    if parts is None and now:
        bar = st.progress(0.0, "Attacking and measuring ...")
        parts = measures.measured(
            shown, question, lambda done, total: bar.progress(done / total, "Attacking and measuring ..."),
            lambda said: bar.progress(0.0, said),
        )  # fmt: skip
        bar.empty()
    return parts


def answered(of: Results, number: int, parts: tuple[Part, ...] | None) -> Answer:
    """The answer of a step; the last one draws on all before, the measured one only where it is there."""
    step = STEPS[number - 1]
    if step.answer is not None:
        return step.answer(of, parts)
    return conclusions.meaning(of, [one.answer(of, parts) for one in STEPS if one.answer is not None])


def show(of: Results, number: int, notes: bool) -> None:
    step, sha = STEPS[number - 1], of.card.weights_sha256
    guess = guesses().get((sha, number))
    left, right = st.columns([2, 3], gap="large")
    with left:
        lecture.prose(step.before(of), word(*step.words))
        parts = None if of.single else measured(of.shown, step.figure == "gap")
        answer = answered(of, number, parts)
        if answer.options:
            ask(answer, guess, partial(remember, sha, number))
        if guess is not None or not answer.options:
            told(answer, guess, step, of.card.name)
        if notes:
            st.markdown(f":material/school: *For the teacher.* {step.note}")
    with right:
        if not (of.single and step.figure not in ("channels", "tasks", "claims")):
            draw(step.figure, of, parts, guess is not None or not answer.options)


def page() -> None:
    cards, problems = cache.cards()
    if not cards:
        st.title("No checkpoints yet")
        st.markdown("The tour shows trained networks and found none. Train one: `sh runs/queue.sh`")
        return
    by_name = {card.name: card for card in cards}
    steps = [str(number) for number in range(1, LAST + 1)]
    check_link("tour", list(by_name), {"step": steps, "notes": ["true", "false"]})
    head = st.container(gap=None)
    name, number, notes = controls(list(by_name))
    step = STEPS[number - 1]
    with head:
        arrival(f"Step {number} of {LAST}: {step.title}", key="arrival")
        st.title(step.heading)
    body = st.container()
    with st.container(horizontal=True, gap="small"):
        st.button("Back", key="back_step", on_click=go, args=(-1,), icon=":material/arrow_back:", disabled=number == 1)
        following = "The end" if number == LAST else f"Next: {STEPS[number].title}"
        st.button(
            following, key="next_step", on_click=go, args=(1,), icon=":material/arrow_forward:", icon_position="right",
            disabled=number == LAST,
        )  # fmt: skip
    with body:
        try:
            shown = cache.shown(name, by_name[name].weights_sha256)
        except api.InputError as error:
            st.error(str(error), icon=":material/broken_image:")
            return
        for note in (*problems, *shown.notes):
            st.caption(f":material/warning: {note}")
        family = api.family_of(shown.card)
        found = {one: finding for (of, one), finding in cache.findings().by_key.items() if of == family}
        show(Results(shown, found, cards), number, notes)


page()
