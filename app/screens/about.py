"""Models and data: the checkpoints with their figures, and what they were trained on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from app import cache
from engine import api

TEXT = Path(__file__).resolve().parents[1] / "text"


def accuracy(card: api.ModelCard, branch: api.Branch, attacked: bool) -> str:
    """'63.8 % (61.7 to 65.9)', or a dash."""
    for record in card.records:
        if record.setting == api.branch_setting(branch) and (record.attack is not None) == attacked:
            interval = record.interval
            return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
    return "—"


def table(cards: list[api.ModelCard]) -> pd.DataFrame:
    """One row a checkpoint."""
    return pd.DataFrame(
        {
            "checkpoint": card.name,
            "design": card.norm_design.label,
            "network": card.architecture,
            "clean branch, clean": accuracy(card, api.Branch.CLEAN, attacked=False),
            "clean branch, robust": accuracy(card, api.Branch.CLEAN, attacked=True),
            "adversarial branch, clean": accuracy(card, api.Branch.ADV, attacked=False),
            "adversarial branch, robust": accuracy(card, api.Branch.ADV, attacked=True),
            "n": card.records[0].n if card.records else 0,
            "images seen": card.images_seen,
            "trained in": f"{card.wall_seconds / 60:.0f} min",
        }
        for card in cards
    )


def page() -> None:
    st.title("What was trained, and on what?")
    st.markdown((TEXT / "about_table.md").read_text())
    cards, problems = cache.cards()
    for problem in problems:
        st.caption(f":material/warning: {problem}")
    if cards:
        st.dataframe(table(cards), hide_index=True, width="stretch")
        name = st.selectbox("Card", [card.name for card in cards], key="card", bind="query-params")
        card = next(card for card in cards if card.name == name)
        st.code(card.command, language=None)
        with st.expander("The whole card"):
            st.json(card.as_json(), expanded=1)
    st.markdown((TEXT / "about.md").read_text())


page()
