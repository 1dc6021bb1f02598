"""The button "Take away" of every page, and what is behind it: each figure as a file, its settings, the code for it.

Usage::

    place = start()                                          # in the page's head; what was offered before is forgotten
    offer("Accuracy", caption, lambda: [("", chart)])        # where a figure is drawn
    take_away(place, about)                                  # at the page's end

Files are made when they are asked for, off the torch slot, and kept for whoever asks for the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import lecture
from app.cache import quick_results, shared
from app.takeaway.figure import Figure, Format, Part, drawn, key, source_line, table
from engine import api

FIGURES = "takeaway_figures"
KINDS: dict[Format, tuple[str, str]] = {
    "png": ("image/png", "For slides: twice as many pixels as points"),
    "svg": ("image/svg+xml", "For print and for editing; holds its typeface"),
    "pdf": ("application/pdf", "For print; one page"),
}


@dataclass(frozen=True, slots=True)
class About:
    """What all figures of a page share. words: the settings in one line; settings: the same as JSON takes it.

    code: the engine calls; handout: makes a file of the page, where there is one.
    """

    page: str
    cards: Sequence[api.ModelCard]
    words: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    code: str = ""
    handout: Callable[[], str] | None = None

    @property
    def line(self) -> str:
        """What stands below the caption of every figure."""
        return "\n".join(filter(None, (self.words, source_line(self.cards))))

    @property
    def file_name(self) -> str:
        return "-".join([self.page, *(card.name for card in self.cards)])


def heading(title: str) -> DeltaGenerator:
    """A page's title, with the place for the button beside it."""
    left, actions = st.columns([5, 1], vertical_alignment="bottom")
    left.title(title)
    with actions.container(horizontal=True, horizontal_alignment="right"):
        return start()


def start() -> DeltaGenerator:
    """An empty place for the button; the page has offered nothing yet."""
    st.session_state[FIGURES] = {}
    return st.container(width="content")


def offer(
    title: str,
    caption: str,
    parts: Callable[[], Sequence[Part]],
    rows: Callable[[], pd.DataFrame] | None = None,
    wide: bool = False,
) -> None:
    """A figure of this page that can be taken away; see `Figure`."""
    st.session_state.setdefault(FIGURES, {})[title] = Figure(title, caption, parts, rows, wide)


def configuration(about: About) -> dict[str, Any]:
    """All that the page was asked for: the address, the networks, and the page's own settings."""
    query = {name: st.query_params[name] for name in st.query_params}
    link = f"/{'' if about.page == 'explore' else about.page}" + (f"?{urlencode(query)}" if query else "")
    networks = {card.name: card.weights_sha256 for card in about.cards}
    return {"page": about.page, "link": link, "networks": networks, "engine": api.__version__} | about.settings


def take_away(place: DeltaGenerator, about: About) -> None:
    """The button. Nothing, where the page has drawn nothing, and in a lecture."""
    figures: dict[str, Figure] = st.session_state.get(FIGURES, {})
    if figures and not lecture.on():
        with place.popover("Take away", icon=":material/ios_share:", width="content"):
            _choose(figures, about, json.dumps(configuration(about), indent=1))


@st.fragment
def _choose(figures: dict[str, Figure], about: About, settings: str) -> None:
    """One figure's files, then the page's."""
    title = st.selectbox("Figure", list(figures), key=f"take_{about.page}")
    figure = figures[title]
    name = f"{about.file_name}-{figure.file_name}"
    with st.container(horizontal=True, gap="small"):
        for kind, (mime, help_) in KINDS.items():
            st.download_button(
                kind.upper(), lambda of=kind: file(figure, about.line, of), f"{name}.{kind}", mime, key=f"take_{kind}",
                on_click="ignore", help=help_,
            )  # fmt: skip
        st.download_button(
            "CSV", lambda: csv(figure), f"{name}.csv", "text/csv", key="take_csv", on_click="ignore",
            help="The numbers behind it",
        )  # fmt: skip
    st.caption("Caption, settings and source stand in the figure.")
    st.markdown("**The whole page**")
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Settings (JSON)", settings, f"{about.file_name}.json", "application/json", key="take_json",
            on_click="ignore",
        )  # fmt: skip
        if about.handout is not None:
            st.download_button(
                "Hand-out (HTML)", about.handout, f"{about.file_name}.html", "text/html", key="take_html",
                on_click="ignore", help="One page that works offline, slider and all; also for print",
            )  # fmt: skip
    if about.code:
        st.markdown("**The same in Python**")
        st.caption("Runs as it stands from the project's folder.")
        st.code(about.code, None, wrap_lines=True)  # its colours for Python are too faint, its scrolling not for keys


def file(figure: Figure, settings: str, kind: Format) -> bytes:
    """The figure's file, drawn once."""
    return shared(key(figure, settings, kind), lambda: drawn(figure, settings, kind), quick_results())


def csv(figure: Figure) -> str:
    found = table(figure)
    return "" if found is None else found.to_csv(index=False)
