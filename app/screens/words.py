"""Words: every term on screen explained, with the paper's notation."""

from __future__ import annotations

import streamlit as st

from app.words import glossary


def page() -> None:
    st.title("What the words mean")
    st.markdown(
        "Every term on these pages in a sentence or two. The same text appears where the mouse rests on a "
        ":material/help: sign. The formulas behind them are in `docs/science.md`."
    )
    wanted = st.text_input(
        "Look for", key="word", placeholder="for instance: white-box", bind="query-params", max_chars=60
    )
    found = 0
    for chapter, entries in glossary().items():
        shown = {term: text for term, text in entries.items() if wanted.casefold() in f"{term} {text}".casefold()}
        if not shown:
            continue
        found += len(shown)
        st.subheader(chapter)
        with st.container(border=True):
            st.markdown("\n\n".join(f"**{term}**  \n{text}" for term, text in shown.items()))
    if not found:
        st.markdown("No term here has that in it. Clear the field to see all of them.")


page()
