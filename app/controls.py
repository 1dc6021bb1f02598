"""The controls that pages share; each is a URL parameter and explains its words where the mouse rests on its sign."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import lecture
from app.selection import ATTACKS, DEFAULTS, EPS, HELD, PREFERRED, SLIDES, STALE, Selection, stale_values
from app.words import word


class Hideable:
    """A place whose controls are drawn unless the address hides them (`?hide=attack,eps`, by their keys).

    A hidden control is made all the same, in a place that is then emptied: it keeps what the link gives it, or its
    default, and is checked as ever.
    """

    def __init__(self, place: DeltaGenerator) -> None:
        self.place = place

    def __getattr__(self, name: str) -> Any:
        draw = getattr(self.place, name)

        def drawn(*args: Any, **options: Any) -> Any:
            if options.get("key") not in hidden():
                value = draw(*args, **options)
            else:
                cell = self.place.empty()
                value = getattr(cell, name)(*args, **options)
                cell.empty()
            # A parameter without a value (`?attack=`) empties a control, even one that requires a choice.
            return options.get("default") if value is None and options.get("required") else value

        return drawn if callable(draw) else draw


def hidden() -> frozenset[str]:
    """Keys of the controls that the address hides."""
    return frozenset(part.strip() for part in st.query_params.get(lecture.HIDE, "").split(",")) - {""}


def hideable(place: DeltaGenerator) -> DeltaGenerator:
    """The same place; a control drawn there with a key can be hidden."""
    return place if isinstance(place, Hideable) else cast(DeltaGenerator, Hideable(place))


def control_row(title: str = "Settings") -> DeltaGenerator:
    """Where a page's controls stand side by side; each can be hidden. A lecture folds them behind a button `title`."""
    if lecture.on():
        return hideable(st.popover(title, icon=":material/tune:"))
    return hideable(st.container(horizontal=True, gap="small", vertical_alignment="bottom"))


def model_control(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> str:
    """Which trained network."""
    first = names.index(preferred) if preferred in names else 0
    return hideable(row).selectbox(
        label, names, first, key=f"{prefix}model", width=248 if prefix else 272, bind="query-params",
        help=word("Design"),
    )  # fmt: skip


def eps_control(row: DeltaGenerator, prefix: str = "", label: str = "eps", disabled: bool = False) -> int:
    """eps as level/255."""
    level = hideable(row).selectbox(
        label, list(EPS), list(EPS).index(DEFAULTS["eps"]), key=f"{prefix}eps", width=92 if label == "eps" else 200,
        disabled=disabled, bind="query-params", help=word("eps"),
    )  # fmt: skip
    return EPS[level]


def line_controls(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> tuple[str, str, str]:
    """Checkpoint, and the engine's names of what the slider moves and of what is held.

    prefix, label: of their names and before the first, where a page has two such rows.
    """
    row = hideable(row)
    model = model_control(row, names, prefix, preferred, label)
    slide = SLIDES[
        row.segmented_control(
            "The slider moves", list(SLIDES), default=DEFAULTS["slide"], key=f"{prefix}slide", required=True,
            bind="query-params", help=word("λ", "AP", "NS"),
        )
    ]  # fmt: skip
    key, title, help_ = (
        ("ns", "Statistics (NS)", word("NS", "Stored NS", "Re-estimated NS"))
        if slide == "ap"
        else ("ap", "Affine parameters (AP)", word("AP"))
    )
    options = HELD[slide]
    held = row.segmented_control(
        title, list(options), default=DEFAULTS[key], key=f"{prefix}{key}", required=True, bind="query-params",
        help=help_,
    )  # fmt: skip
    return model, slide, options[held]


def selection_controls(
    row: DeltaGenerator, names: list[str], prefix: str = "", preferred: str = PREFERRED, label: str = "Checkpoint"
) -> Selection:
    """A checkpoint, a line through its settings and an attack."""
    model, slide, held = line_controls(row, names, prefix, preferred, label)
    attack = hideable(row).segmented_control(
        "Attack", ATTACKS, default=DEFAULTS["attack"], key=f"{prefix}attack", required=True, bind="query-params",
        help=word("FGSM", "PGD", "White-box"),
    )  # fmt: skip
    return Selection(model, slide, held, attack, eps_control(row, prefix, disabled=attack == "none"))


def check_link(page: str, names: list[str], own: Mapping[str, Collection[str]], without: str = "") -> None:
    """One message, on the first run of a visit to `page`, if the link asks for what is not here.

    own: what the page allows, see `stale_values`; without: a parameter that is another page's. Call it before any
    control is drawn, because a control takes out of the address what it cannot show.
    """
    if st.session_state.setdefault(f"{page}_link_checked", False):
        return
    st.session_state[f"{page}_link_checked"] = True
    query = {key: value for key, value in st.query_params.to_dict().items() if key != without}
    if stale := stale_values(query, names, own):
        st.toast(STALE.format(", ".join(stale)), duration="long")
