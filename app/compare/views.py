"""From two selections to what the Compare page draws: the payload of the slider, and the images they disagree on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import streamlit as st

from app.charts.pictures import pixels
from app.compare.verdicts import Said
from app.components.duel import DuelPayload, DuelStart, Line, Row
from app.explore.payload import Sources, command
from app.selection import Selection
from app.shown import Shown
from engine import api

MOST = 8
ENDS = {"ap": ("clean AP", "adversarial AP"), "ns": ("clean NS", "adversarial NS")}


def payload(
    both: Sequence[Shown], selections: Sequence[Selection], found: Sequence[Sources], start: DuelStart
) -> DuelPayload:
    """Both networks' curves at the λ that all of them have; a robust panel where at least one is attacked."""
    clean = [_at_stops(one.clean) for one in found]
    robust = [_at_stops(one.robust or one.clean) for one in found]
    stops = sorted(set.intersection(*(set(curve) for curve in clean + robust)))
    rows = [_row("clean", "Clean accuracy", clean, stops)]
    if any(one.robust is not None for one in found):
        names = [selection.engine_attack.label if selection.engine_attack else "no attack" for selection in selections]
        title = names[0] if names[0] == names[1] else f"A: {names[0]}, B: {names[1]}"
        rows.append(_row("robust", f"Robust accuracy ({title})", robust, stops))
    ends = [ENDS[selection.slide] for selection in selections]
    at_zero, at_one = ("/".join(dict.fromkeys(names)) for names in zip(*ends, strict=True))
    return DuelPayload(stops, rows, at_zero, at_one, _provenance(both, selections, found), start)


def _at_stops(curve: api.Curve | None) -> dict[float, api.EvalRecord]:
    assert curve is not None
    return dict(zip(curve.lams, curve.records, strict=True))


def _row(kind: str, title: str, curves: Sequence[dict[float, api.EvalRecord]], stops: Sequence[float]) -> Row:
    first, second = (_line([curve[lam] for lam in stops]) for curve in curves)
    gaps = [api.difference(curves[1][lam], curves[0][lam]) for lam in stops]
    delta = Line([g.value for g in gaps], [g.low for g in gaps], [g.high for g in gaps])
    return Row(kind, title, first, second, delta)


def _line(records: Sequence[api.EvalRecord]) -> Line:
    intervals = [record.interval for record in records]
    return Line([i.value for i in intervals], [i.low for i in intervals], [i.high for i in intervals], intervals[0].n)


def _provenance(both: Sequence[Shown], selections: Sequence[Selection], found: Sequence[Sources]) -> str:
    sides = [
        f"{name}: {selection.checkpoint} ({shown.card.weights_sha256[:8]}), {selection.held_label}"
        for name, shown, selection in zip("AB", both, selections, strict=True)
    ]
    commands = dict.fromkeys(command(shown, one) for shown, one in zip(both, found, strict=True))
    return (
        f"{' · '.join(sides)} · white-box at every stop · seed {api.SEED} · 95 % intervals: Wilson, and Newcombe's for "
        f"the difference, as if the two were judged on different images · {' · '.join(commands)}"
    )


def disagreements(images: npt.NDArray[np.uint8], a: Said, b: Said, classes: tuple[str, ...]) -> None:
    """The first MOST images that only A gets right and the first MOST that only B does, with what the other says."""
    left, right = st.columns(2, gap="large")
    for column, name, other, wins, loser in (
        (left, "A", "B", a.right & ~b.right, b),
        (right, "B", "A", b.right & ~a.right, a),
    ):
        index = np.flatnonzero(wins)
        column.markdown(
            f"**Only {name} is right** on {len(index)} images" + (f"; the first {MOST}" * (len(index) > MOST))
        )
        if len(index):
            shown = index[:MOST]
            tiles = [pixels((images[i] / 255).astype(np.float32)).repeat(3, axis=0).repeat(3, axis=1) for i in shown]
            said = [f"{classes[a.labels[i]]}; {other}: {classes[loser.classes[i]]}" for i in shown]
            column.image(tiles, said, width=96)
