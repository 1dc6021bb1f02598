"""What was not precomputed, computed when a visitor asks for it: with progress, cancellable, kept for the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import streamlit as st

from app.explore.payload import Sources
from app.forms import CURVES, STRIP
from app.jobs import working
from app.lasting import computed, recall
from app.selection import Selection
from app.shown import Shown
from engine import api

STOPS = tuple(round(0.1 * i, 1) for i in range(11))
N_CURVE, N_STRIP = 200, 8


@dataclass(frozen=True, slots=True)
class Key:
    """Under what a computed curve or strip is kept: all that it depends on."""

    kind: str
    weights_sha256: str
    line: str
    attack: api.PGD | None
    stops: tuple[float, ...]


def with_curves(shown: Shown, selection: Selection, found: Sources) -> Sources:
    """Adds the curves that an earlier visitor had computed."""
    if found.clean is not None and (found.robust is not None or not selection.engine_attack):
        return found
    kept = recall(_curve_key(shown, selection), shown.bench, N_CURVE, CURVES)
    return found if kept is None else replace(found, clean=kept[0], robust=kept[1], computed=True)


def complete(shown: Shown, selection: Selection, found: Sources) -> Sources:
    """Adds such curves, and computes the image strip at once where only that is missing."""
    found = with_curves(shown, selection, found)
    if found.strip is None and shown.bench is not None and found.clean is not None:
        try:
            found = replace(found, strip=_strip(shown, shown.bench, selection))
        except api.InputError as error:
            st.caption(f":material/warning: {error}")
    return found


def _curve_key(shown: Shown, selection: Selection) -> Key:
    return Key("curve", shown.card.weights_sha256, selection.line, selection.engine_attack, STOPS)


def _strip(shown: Shown, bench: api.Bench, selection: Selection) -> api.Strip:
    attack = selection.engine_attack or api.pgd(10, api.MAIN_EPS)
    key = Key("strip", shown.card.weights_sha256, selection.line, attack, STOPS)
    made = recall(key, bench, N_STRIP, STRIP)
    if made is not None:
        return made
    line = api.LINES[selection.line]
    with working("Attacking the images at every stop ...", "strip", key) as progress:
        return computed(
            key, lambda: api.make_strip(bench, line, STOPS, attack, range(N_STRIP), api.SEED, progress), bench, N_STRIP,
            STRIP,
        )  # fmt: skip


def offer(shown: Shown, selection: Selection) -> None:
    """A curve that is nowhere yet: says so, and computes it on a click."""
    with st.container(border=True):
        st.subheader("This curve has not been computed yet")
        if shown.bench is None:
            st.markdown(shown.problem)
            return
        attack = selection.engine_attack
        what = attack.label if attack else "no attack"
        st.markdown(
            f"{selection.checkpoint}, {selection.held_label}, {what}: computed here on {N_CURVE} images at "
            f"{len(STOPS)} stops, it takes about half a minute. Any change of a control stops it."
        )
        if not st.button("Compute it now", key="compute", icon=":material/play_arrow:"):
            return
        st.button("Cancel", key="cancel", icon=":material/stop:")
        try:
            bench, key = shown.bench, _curve_key(shown, selection)
            with working("Attacking every stop ...", "curve", key) as progress:
                computed(key, lambda: _curves(bench, selection, progress), bench, N_CURVE, CURVES)
        except api.InputError as error:
            st.warning(str(error))
            return
        st.rerun()


def _curves(
    bench: api.Bench, selection: Selection, progress: Callable[[int, int], None]
) -> tuple[api.Curve, api.Curve | None]:
    attack = selection.engine_attack
    rows: list[list[api.EvalRecord]] = []
    for index, lam in enumerate(STOPS):
        setting = api.LINES[selection.line](lam)

        def within(done: int, total: int, before: int = index) -> None:
            progress(before * total + done, len(STOPS) * total)

        attacks: list[api.PGD | None] = [None] if attack is None else [None, attack]
        rows.append(list(bench.evaluate_many(setting, attacks, N_CURVE, api.SEED, progress=within)))
    clean = api.Curve(STOPS, tuple(row[0] for row in rows))
    return clean, None if attack is None else api.Curve(STOPS, tuple(row[1] for row in rows))
