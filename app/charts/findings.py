"""One way to draw every chart of an experiment: bars, lines, points or a grid, a panel for each value of its facet.

Usage::

    for panel in panels(finding, 0):
        panel.title, panel.chart        # the first chart of engine.api.Finding `finding`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from engine import api

CLEAN, ADV = "#1b8ea3", "#e0681f"
OTHERS = ("#6f86d0", "#b8559a", "#968a1f", "#3f9a75", "#8a6ccf", "#b5563f", "#8a98a0", "#5b78c4")
GREY = "#6f7e87"
"""Readable on both backgrounds, as are all colours above."""
DASHES = ([1, 0], [7, 4], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4], [1, 2], [6, 2, 2, 2])
SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")
LYING = 14
"""Up to so many named bars lie on their side, where a name has room; more of them stand."""
CHANNELS: dict[str, Any] = {"x": alt.X, "y": alt.Y, "xOffset": alt.XOffset, "yOffset": alt.YOffset}
Encoding = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of a chart; title is the facet's value, "" where there is none."""

    title: str
    chart: alt.LayerChart | alt.FacetChart


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the panels of a chart have in common. names: of the series; ends: of the value axis; named: x is text.

    merged: places are pairs of x and series, because most pairs are not there.
    """

    chart: Any
    small: bool
    names: list[str]
    places: list[str]
    ends: tuple[float, float]
    named: bool
    merged: bool

    @property
    def value_title(self) -> str:
        return f"{self.chart.y_title}, %" if self.chart.percent else self.chart.y_title

    @property
    def lying(self) -> bool:
        return self.named and len(self.places) <= LYING and self.chart.kind in ("bars", "points")

    def value(self, field: str) -> Encoding:
        """Scale and title of the value axis for a field."""
        log = self.chart.y_scale == "log"
        scale = alt.Scale(type="log") if log else alt.Scale(domain=self.ends, nice=False, zero=False)
        title = self.value_title or None
        axis = _axis(tickCount=4 if self.small else 5, titlePadding=6, **({"format": ".1~g"} if log else {}))
        return {"field": field, "type": "quantitative", "scale": scale, "title": title, "axis": axis}

    def place(self) -> Encoding:
        """x: names in the order of the table, or numbers."""
        title = None if self.small or not self.chart.x_title else self.chart.x_title
        if not self.named and self.chart.kind not in ("bars", "grid"):
            whole = {"tickMinStep": 1, "format": "d"} if all(place.isdecimal() for place in self.places) else {}
            scale = alt.Scale(zero=False, nice=False)
            return {"field": "x", "type": "quantitative", "title": title, "scale": scale, "axis": _axis(**whole)}
        crowded = len(self.places) > LYING
        axis = _axis(labelAngle=0, labelOverlap="greedy", labelLimit=150, ticks=False)
        if self.named and crowded:
            axis = _axis(labelAngle=-90, labelOverlap="greedy", labelLimit=90, ticks=False)
        return {"field": "x", "type": "nominal", "sort": self.places, "title": title, "axis": axis}

    @property
    def legend(self) -> alt.Legend | None:
        """One for colour, dashes and shapes together; none where the places name the series."""
        if self.merged:
            return None
        return alt.Legend(
            orient="top", title=None, labelLimit=320 if self.legend_columns == 1 else 165, columns=self.legend_columns,
            offset=4, symbolOpacity=1, symbolType="stroke" if self.chart.kind == "lines" else alt.Undefined,
        )  # fmt: skip

    @property
    def legend_columns(self) -> int:
        """0: as many as there are names."""
        long, width = max(map(len, self.names)) > 26, sum(len(name) + 5 for name in self.names)
        if self.small:
            return 1 if width > 34 else 0
        return 1 if long else 2 if width > 40 else 0

    @property
    def around(self) -> int:
        """Pixels beside the plot itself: legend, labels and title below it."""
        lines = 0
        if self.names and not self.merged and self.chart.kind != "grid":
            lines = -(-len(self.names) // (self.legend_columns or len(self.names)))
        below = 90 if self.named and not self.lying and len(self.places) > LYING else 22
        titled = self.value_title if self.lying else self.chart.x_title and not self.small
        return (12 + 19 * lines if lines else 6) + below + (22 if titled else 0)

    def series(self, channel: Any, values: Sequence[Any]) -> Any:
        """The series in a channel, with the legend that it shares with the others."""
        scale = alt.Scale(domain=self.names, range=[values[i % len(values)] for i in range(len(self.names))])
        return channel("series:N", scale=scale, legend=self.legend)

    def colour(self) -> Any:
        """Teal and orange for clean and adversarial, as everywhere; other names never get these two."""
        return self.series(alt.Color, colours(self.names)) if self.names else alt.value(OTHERS[0])


def _axis(**options: Any) -> alt.Axis:
    """An axis whose first and last label stand where they belong; Streamlit's look moves them inwards."""
    return alt.Axis(labelFlush=False, **options)


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
    """The chart's table as x, y, low, high, series, facet, n; percent where it says so; only rows with a y."""
    chart = finding.charts[index]
    table = finding.table(chart.table)
    times = 100.0 if chart.percent else 1.0
    frame = pd.DataFrame(list(table.rows), columns=list(table.columns)).dropna(subset=[chart.y])
    found = pd.DataFrame({"x": frame[chart.x]})
    for key, column in (("y", chart.y), ("low", chart.low or chart.y), ("high", chart.high or chart.y)):
        numbers: Any = pd.to_numeric(frame[column], errors="coerce")
        found[key] = times * numbers
    found = found.dropna(subset=["x", "y"])
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


def ends_of(rows: pd.DataFrame, bars: bool, percent: bool) -> tuple[float, float]:
    """A value axis that holds every interval: from 0 for bars, to 100 where shares come near it."""
    low, high = float(rows[["low", "y"]].min().min()), float(rows[["high", "y"]].max().max())
    if percent and low >= 0 and 40 < high <= 100:
        return 0.0, 100.0
    from_zero = bars or (low >= 0 and low < 0.6 * high)
    low, high = (min(0.0, low), max(0.0, high)) if from_zero else (low, high)
    room = 0.08 * (high - low) or 1.0
    return (low if low == 0 else low - room), (high if high == 0 else high + room)


def panels(finding: api.Finding, index: int, small: bool = False) -> list[Panel]:
    """The chart's plots, all on the same scales; none where no row has a value. Small: for a row of the overview."""
    chart, rows = finding.charts[index], rows_of(finding, index)
    if rows.empty:
        return []
    named = bool(rows["x"].map(lambda x: isinstance(x, str)).any())
    if named or chart.kind in ("bars", "grid"):
        rows["x"] = rows["x"].map(label)
    rows["interval"] = "" if not chart.low else rows.apply(lambda r: f"{r.low:.4g} to {r.high:.4g}", axis=1)
    ends = ends_of(rows, chart.kind == "bars", chart.percent)
    names = list(dict.fromkeys(rows["series"])) if chart.series else []
    merged = named and chart.kind in ("bars", "points") and _sparse(rows, len(names))
    if merged:
        rows["x"] = _pairs(rows)
    drawing = Drawing(chart, small, names, list(dict.fromkeys(map(str, rows["x"]))), ends, named, merged)
    draw = {"bars": bars, "lines": lines, "points": points, "grid": grid}[chart.kind]
    return [
        Panel(f"{facet}", draw(part.drop(columns="facet"), drawing))
        for facet, part in rows.groupby("facet", sort=False)
    ]


def _sparse(rows: pd.DataFrame, n_names: int) -> bool:
    """Whether under three quarters of the places have every series."""
    pairs = len(set(zip(rows["x"], rows["series"], strict=True)))
    return n_names > 1 and pairs < 0.75 * len(set(rows["x"])) * n_names


def _pairs(rows: pd.DataFrame) -> Any:
    """'dual-bn, clean'; only x where it has one series."""
    single = rows.groupby("x")["series"].transform("nunique") == 1
    return rows["x"].where(single, rows["x"] + ", " + rows["series"])


def base_of(rows: pd.DataFrame, d: Drawing) -> alt.Chart:
    """Rows and what pointing at one tells; as plain values, because Altair refuses more than 5,000 rows otherwise."""
    values = rows.astype(object).where(rows.notna(), None).to_dict("records")
    tips = [alt.Tooltip("x", type="nominal" if d.named else "quantitative", title=d.chart.x_title or d.chart.x)]
    if d.names:
        tips.append(alt.Tooltip("series:N", title=d.chart.series))
    tips.append(alt.Tooltip("y:Q", format=".4~g", title=d.value_title or d.chart.y))
    if d.chart.low:
        tips.append(alt.Tooltip("interval:N", title="95 % interval"))
    if "n" in rows:
        tips.append(alt.Tooltip("n:Q", format=","))
    return alt.Chart(alt.InlineData(values=values)).encode(tooltip=tips)


def zero_line(d: Drawing, channel: str) -> list[alt.Chart]:
    """Where values may be negative, where zero is."""
    if d.chart.y_scale == "log" or not d.ends[0] < 0 < d.ends[1]:
        return []
    at: Encoding = {channel: CHANNELS[channel](datum=0)}
    return [alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=GREY, strokeDash=[3, 3]).encode(**at)]


def bars(rows: pd.DataFrame, d: Drawing) -> alt.LayerChart | alt.FacetChart:
    """A bar each with its whisker, side by side within a place; on a log axis a bar has no foot, so dots instead."""
    if d.chart.y_scale == "log":
        return points(rows, d)
    along, across = ("y", "x") if d.lying else ("x", "y")
    base = _placed(rows, d, along, across)
    drawn = base.mark_bar(cornerRadiusEnd=2, opacity=0.6 if d.chart.low else 0.85).encode(**_on(d, across))
    layers = [drawn, *_whiskers(base, d, across), *zero_line(d, across)]
    if d.lying and d.ends[0] == 0 and not (d.small and len(rows) > 8):
        layers.append(
            base.mark_text(align="left", dx=5, fontSize=11)
            .encode(text=alt.Text("y:Q", format=".3~g"), color=alt.value(GREY), **_on(d, across, "high"))
        )  # fmt: skip
    return _sized(alt.layer(*layers), d)


def points(rows: pd.DataFrame, d: Drawing) -> alt.LayerChart | alt.FacetChart:
    """Marks with their intervals."""
    along, across = ("y", "x") if d.lying else ("x", "y")
    base = _placed(rows, d, along, across)
    marks = base.mark_point(filled=True, size=45 if d.small else 70, opacity=1).encode(**_on(d, across), **_shape(d))
    return _sized(alt.layer(*_whiskers(base, d, across), marks, *zero_line(d, across)), d)


def lines(rows: pd.DataFrame, d: Drawing) -> alt.LayerChart | alt.FacetChart:
    """Lines with bands; every point is marked where there are few."""
    base = base_of(rows, d).encode(x=alt.X(**d.place()), color=d.colour())
    few = len(rows) <= 24 * max(1, len(d.names)) and not d.small
    line = base.mark_line(point=alt.OverlayMarkDef(size=35) if few else False, strokeWidth=2).encode(**_on(d, "y"))
    if d.names:
        line = line.encode(strokeDash=d.series(alt.StrokeDash, DASHES))
    band = base.mark_area(opacity=0.18, line=False).encode(**_on(d, "y", "low"), y2="high:Q")
    return _sized(alt.layer(*([band] if d.chart.low else []), line, *zero_line(d, "y")), d)


def grid(rows: pd.DataFrame, d: Drawing) -> alt.LayerChart | alt.FacetChart:
    """A matrix: the darker a cell, the higher its value, which stands in it."""
    low, high = d.ends
    base = base_of(rows, d).encode(
        x=alt.X("x:N", sort=d.places, title=d.chart.x_title or None, axis=_axis(labelAngle=0, ticks=False)),
        y=alt.Y("series:N", sort=d.names, title=None, axis=_axis(ticks=False, labelLimit=130)),
    )
    fill = alt.Color("y:Q", scale=alt.Scale(domain=[low, high], range=["#e9eff6", "#33518f"]), legend=None)
    ink = alt.condition(f"datum.y > {low + 0.5 * (high - low)}", alt.value("#ffffff"), alt.value("#1d2b35"))
    text = base.mark_text(fontSize=11 if d.small else 13).encode(text=alt.Text("y:Q", format=".3~g"), color=ink)
    return _sized(alt.layer(base.mark_rect(cornerRadius=2).encode(color=fill), text), d)


def _on(d: Drawing, channel: str, field: str = "y") -> Encoding:
    """A field on the value axis."""
    return {channel: CHANNELS[channel](**d.value(field))}


def _shape(d: Drawing) -> Encoding:
    return {"shape": d.series(alt.Shape, SHAPES)} if d.names else {}


def _placed(rows: pd.DataFrame, d: Drawing, along: str, across: str) -> alt.Chart:
    place = d.place()
    if across == "x":
        place["axis"] = _axis(labelLimit=150, ticks=False, labelOverlap=False)
    placed: Encoding = {along: CHANNELS[along](**place), "color": d.colour()}
    base = base_of(rows, d).encode(**placed)
    if len(d.names) < 2 or d.merged or place["type"] != "nominal":
        return base
    beside: Encoding = {f"{along}Offset": CHANNELS[f"{along}Offset"]("series:N", sort=d.names)}
    return base.encode(**beside)


def _whiskers(base: alt.Chart, d: Drawing, across: str) -> list[alt.Chart]:
    if not d.chart.low:
        return []
    return [base.mark_rule(strokeWidth=2).encode(**_on(d, across, "low"), **{f"{across}2": "high:Q"})]


def _sized(chart: Any, d: Drawing) -> alt.LayerChart | alt.FacetChart:
    """Height by what there is to show; the width is the page's."""
    if d.lying:
        beside = 1 if d.merged else max(1, len(d.names))
        height = len(d.places) * ((12 if d.small else 18) * beside + 8)
    elif d.chart.kind == "grid":
        height = max(1, len(d.names)) * (34 if d.small else 48)
    else:
        height = 130 if d.small else 260
    return chart.properties(height=height + d.around, padding={"top": 4, "bottom": 4, "left": 2, "right": 10})
