"""What a chart of an experiment is drawn from: rows, the value axis that holds them, and a colour for each series.

Usage::

    rows = rows_of(finding, 0)          # x, y, low, high, interval, series, facet of its first chart
    ends_of(rows, finding.charts[0])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from engine import api

CLEAN, ADV = "#1b8ea3", "#e0681f"
OTHERS = ("#6f86d0", "#b8559a", "#968a1f", "#3f9a75", "#8a6ccf", "#b5563f", "#8a98a0", "#5b78c4")
GREY = "#6f7e87"
"""Readable on both backgrounds, as are all colours above."""


def colours(names: Sequence[str]) -> list[str]:
    """One for each name; the first that speaks of clean and the first of adversarial get the colours of those."""
    left, found = list(OTHERS), dict[str, str]()
    for colour, words, not_words in ((CLEAN, ("clean",), ("adv", "robust")), (ADV, ("adv", "robust"), ("clean",))):
        for name in names:
            low = name.lower()
            if any(word in low for word in words) and not any(word in low for word in not_words):
                found[name] = colour
                break
    return [found.get(name) or (left.pop(0) if left else GREY) for name in names]


def rows_of(finding: api.Finding, index: int) -> pd.DataFrame:
    """The chart's table as x, y, low, high, interval, series, facet, n; in percent where it says so.

    Only rows with a y, above 0 on a log axis; without an interval both its ends are y.
    """
    chart = finding.charts[index]
    table = finding.table(chart.table)
    times = 100.0 if chart.percent else 1.0
    frame = pd.DataFrame(list(table.rows), columns=list(table.columns)).dropna(subset=[chart.y])
    found = pd.DataFrame({"x": frame[chart.x]})
    for key, column in (("y", chart.y), ("low", chart.low or chart.y), ("high", chart.high or chart.y)):
        numbers: Any = pd.to_numeric(frame[column], errors="coerce")
        found[key] = times * numbers
    found = found.dropna(subset=["x", "y"])
    both = zip(found["low"], found["high"], strict=True)
    found["interval"] = [f"{low:.4g} to {high:.4g}" if low == low and high == high else "none" for low, high in both]
    for key in ("low", "high"):
        found[key] = found[key].fillna(found["y"])
    if chart.y_scale == "log":
        found = found.loc[found["y"] > 0]
        found["low"] = found["low"].where(found["low"] > 0, found["y"])
    for key, column in (("series", chart.series), ("facet", chart.facet)):
        found[key] = frame[column].map(label) if column else ""
    if "n" in frame:
        found["n"] = frame["n"]
    return found


def label(cell: object) -> str:
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def ends_of(rows: pd.DataFrame, chart: Any) -> tuple[float, float]:
    """A value axis that holds every interval: from 0 for bars, to 100 where shares come near it, whole decades."""
    low, high = min(map(float, rows["low"])), max(map(float, rows["high"]))
    if chart.y_scale == "log":
        return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
    if chart.percent and low >= 0 and 40 < high <= 100:
        return 0.0, 100.0
    if chart.kind == "bars" or (low >= 0 and low < 0.6 * high):
        low, high = min(0.0, low), max(0.0, high)
    room = 0.08 * (high - low) or 1.0
    return (low if low == 0 else low - room), (high if high == 0 else high + room)


def decades(ends: tuple[float, float]) -> list[float]:
    """Powers of ten from end to end; every second where there are many."""
    first, last = round(math.log10(ends[0])), round(math.log10(ends[1]))
    return [10.0**k for k in range(first, last + 1, 1 if last - first < 6 else 2)]


def sparse(rows: pd.DataFrame, n_names: int) -> bool:
    """Whether under three quarters of the places have every series."""
    pairs = len(set(zip(rows["x"], rows["series"], strict=True)))
    return n_names > 1 and pairs < 0.75 * len(set(rows["x"])) * n_names


def pairs_of(rows: pd.DataFrame) -> Any:
    """'dual-bn, clean'; only x where it has one series."""
    single = rows.groupby("x")["series"].transform("nunique") == 1
    return rows["x"].where(single, rows["x"] + ", " + rows["series"])
