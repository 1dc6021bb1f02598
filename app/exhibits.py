"""Figures that take a while: drawn if some visitor had them computed, else offered; each with what makes it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.attack.strength import Asked, Progress
from app.forms import TABLE
from app.jobs import working
from app.lasting import computed, recall
from app.shown import Shown
from engine import api

Compute = Callable[[api.Bench, Asked, Progress], pd.DataFrame]


def rows_of(shown: Shown, wanted: Sequence[Asked], compute: Compute, n: int) -> pd.DataFrame | None:
    """The rows of all that is there, and for the rest a button, progress, and a way out."""
    assert shown.bench is not None
    there: dict[Asked, pd.DataFrame | None] = {asked: recall(asked, shown.bench, n, TABLE) for asked in wanted}
    missing = [asked for asked, rows in there.items() if rows is None]
    kind = wanted[0].kind
    if missing and st.button(f"Compute on {n} images", key=f"go_{kind}", icon=":material/play_arrow:"):
        st.button("Cancel", key=f"cancel_{kind}", icon=":material/stop:")
        for number, asked in enumerate(missing, start=1):
            text = asked.attack.label + (f" ({number} of {len(missing)})" if len(missing) > 1 else "")
            with working(f"{text} ...", kind, asked) as progress:
                computed(asked, partial(compute, shown.bench, asked, progress), shown.bench, n, TABLE)
        st.rerun()
    found = [rows for rows in there.values() if rows is not None]
    return pd.concat(found, ignore_index=True) if found else None


def provenance(shown: Shown, n: int, attack: str) -> str:
    """What every figure says about itself."""
    assert shown.bench is not None
    test = shown.bench.test
    return (
        f"First {n} {test.name} {test.split} images · 95 % intervals · {attack} · seed {api.SEED} · "
        f"weights {shown.card.weights_sha256[:8]}"
    )


def stored_in(shown: Shown) -> str:
    """Where figures of the weights alone come from."""
    weights = shown.card.weights_sha256[:8]
    return f"From the weights alone, no images · weights {weights} · python -m engine show {shown.card.name}"


def footer(shown: Shown, rows: pd.DataFrame, kind: str, checked: str, command: str) -> None:
    """The table as CSV, and the command that makes one of its numbers again."""
    assert shown.bench is not None
    row = st.container(horizontal=True, gap="small")
    with row.popover("Check a number", icon=":material/terminal:"):
        st.markdown(checked)
        st.code(command + (" --unofficial" if shown.bench.test.note else ""), "sh", wrap_lines=True)
        st.caption("The CSV has such a command in every row.")
    download(row, lambda: rows, f"{shown.card.name}-{kind}.csv")


def download(row: DeltaGenerator, rows: Callable[[], pd.DataFrame], file_name: str) -> None:
    """The button; the file is made when it is pressed."""
    row.download_button(
        "Data (CSV)", lambda: rows().to_csv(index=False), file_name, "text/csv", key=f"csv_{file_name}",
        on_click="ignore", icon=":material/table:",
    )  # fmt: skip
