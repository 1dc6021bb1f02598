"""What the Compare page gives to take away: both networks' curves as a chart, and its settings.

Usage::

    offer_curves(payload, lam)
    take_away(place, about(both, selections, lam))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from app.charts.attacks import COLOURS, curve_chart
from app.components.duel import DuelPayload, Row
from app.selection import Selection
from app.shown import Shown
from app.takeaway.tray import About, offer

NAMES = ("A", "B")


def curve_rows(stops: Sequence[float], row: Row) -> pd.DataFrame:
    """A row a network and stop, and the difference B - A; percent with 95 % intervals."""
    rows: list[dict[str, Any]] = []
    for name, line in zip((*NAMES, "B - A"), (row.first, row.second, row.delta), strict=True):
        for lam, value, low, high in zip(stops, line.value, line.low, line.high, strict=True):
            numbers = {"accuracy": 100 * value, "low": 100 * low, "high": 100 * high, "n": line.n or row.first.n}
            rows.append({"lambda": lam, "curve": name} | numbers | {"attack": row.title})
    return pd.DataFrame(rows)


def offer_curves(payload: DuelPayload, lam: float) -> None:
    def chart(row: Row) -> Any:
        rows = curve_rows(payload.stops, row).query("curve != 'B - A'").assign(command="", weights="")
        title = f"λ: {payload.at_zero} → {payload.at_one}"
        return curve_chart(pd.DataFrame(rows), "lambda", title, dict(zip(NAMES, COLOURS, strict=True)), lam)

    offer(
        "Two networks, one slider",
        f"Dotted: λ = {lam:.2f}. n = {payload.rows[0].first.n:,} · {payload.provenance}",
        lambda: [(row.title, chart(row)) for row in payload.rows],
        lambda: pd.concat([curve_rows(payload.stops, row) for row in payload.rows], ignore_index=True),
    )


def about(both: Sequence[Shown], selections: Sequence[Selection], lam: float) -> About:
    words = "; ".join(f"{name}: {one.checkpoint}, {one.words}" for name, one in zip(NAMES, selections, strict=True))
    settings = {name: asdict(one) for name, one in zip(NAMES, selections, strict=True)} | {"lambda": lam}
    cards = list({shown.card.name: shown.card for shown in both}.values())
    return About("compare", cards, f"{words}; λ = {lam:.2f}", settings)
