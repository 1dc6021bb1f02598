"""One attack watched at two settings: the film, its outcome in words, and what can be taken away."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app.attack import films
from app.attack.films import Filmed, Side
from app.charts import attacks
from app.components.film import film
from app.shown import Shown
from app.takeaway.tray import offer
from app.words import word
from engine import api


def outcome(one: api.Film, frames: list[str], classes: tuple[str, ...]) -> str:
    """'fooled from “step 3 of 20” on', and when it was taken for the class aimed at."""
    when = "never fooled" if one.fooled_at is None else f"fooled from “{frames[one.fooled_at]}” on"
    said = "wrong before any attack" if one.fooled_at == 0 else when
    if one.target is None:
        return said
    there = "never" if one.reached_at is None else f"from “{frames[one.reached_at]}” on"
    return f"{said} (taken for {classes[one.target]}: {there})"


def watch(shown: Shown, sides: tuple[Side, Side], attack: Filmed, index: int, image: str = "") -> None:
    """The film, what it shows in one sentence, and its exports; image: what to call it, by default its place."""
    assert shown.bench is not None
    film(films.payload(shown, sides, attack, index), key="film")
    shots = [films.film(shown, side, attack, index) for side in sides]
    frames, classes = films.frame_names(attack), shown.bench.test.classes
    said = [f"at {side.name} {outcome(one, frames, classes)}" for side, one in zip(sides, shots, strict=True)]
    step = f"step {attack.step_size * 255:.2f}/255, " if isinstance(attack, api.PGD) else ""
    note = (
        f"The network is {'; '.join(said)}. {attack.label}, {step}seed {api.SEED}; each side is attacked white-box "
        "through its own network, from the same start; verdicts by the unfolded network. One image, so there is no "
        f"interval. Change × {films.MAGNIFY} around grey; sign: white up, black down, per colour; "
        f"frequencies: slow waves in the middle, fast ones at the rim. Weights {shown.card.weights_sha256[:8]}, "
        f"{image or f'{shown.bench.test.name} {shown.bench.test.split} image {index}'}."
    )
    st.caption(note, help=word("White-box", "Unfolded network", "Margin", "Loss"))
    table = partial(films.film_table, shown, sides, attack, index)
    offer(
        "The attack, step by step", note,
        lambda: [
            ("Margin: above 0 the network is fooled", attacks.film_chart(table(), "margin", "margin")),
            ("Loss", attacks.film_chart(table(), "loss", "cross-entropy")),
            *((f"At {side.name}: first frames to last, and × {films.MAGNIFY}", films.still(one))
              for side, one in zip(sides, shots, strict=True)),
        ],
        table,
    )  # fmt: skip
    row = st.container(horizontal=True, gap="small")
    row.download_button(
        "Frames (GIF)", lambda: films.animation(shots), "attack.gif", "image/gif", on_click="ignore",
        icon=":material/movie:",
    )  # fmt: skip
