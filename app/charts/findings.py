"""One way to draw every chart of an experiment: bars, lines, points or a grid, a panel for each value of its facet.

Usage::

    for panel in panels(finding, 0):
        panel.title, panel.spec         # the first chart of engine.api.Finding `finding`, as Vega-Lite

Written as Vega-Lite itself: Altair checks every part of a chart against its schema, which takes 50 ms a panel, and a
page of claims has forty. It checks them in the tests instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
Part = dict[str, Any]
"""A piece of a Vega-Lite chart."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of a chart; title is the facet's value, "" where there is none."""

    title: str
    spec: Part


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the panels of a chart have in common. names: of the series; ends: of the value axis; named: x is text.

    merged: places are pairs of x and series, because most pairs are not there; counted: rows have an n.
    """

    chart: Any
    small: bool
    names: list[str]
    places: list[str]
    ends: tuple[float, float]
    named: bool
    merged: bool
    counted: bool

    @property
    def value_title(self) -> str:
        return f"{self.chart.y_title}, %" if self.chart.percent else self.chart.y_title

    @property
    def lying(self) -> bool:
        return self.named and len(self.places) <= LYING and self.chart.kind in ("bars", "points")

    @property
    def across(self) -> str:
        """The value axis."""
        return "x" if self.lying else "y"

    def value(self, field: str = "y") -> Part:
        """A field on the value axis."""
        scale: Part = {"domain": list(self.ends), "nice": False, "zero": False}
        axis: Part = {"labelFlush": False, "tickCount": 4 if self.small else 5, "titlePadding": 6}
        if self.chart.y_scale == "log":
            scale = {"type": "log", "domain": list(self.ends)}
            axis |= {"values": decades(self.ends), "format": ".1~g"}
        title = self.value_title or None
        return {self.across: {"field": field, "type": "quantitative", "scale": scale, "title": title, "axis": axis}}

    def place(self) -> Part:
        """The other axis: names in the order of the table, or numbers; series side by side within a name."""
        along = "y" if self.lying else "x"
        share = ", %" if self.chart.percent and self.chart.kind == "points" and not self.named else ""
        title = None if self.small or not self.chart.x_title else self.chart.x_title + share
        axis: Part = {"labelFlush": False}
        if not self.named and self.chart.kind != "bars":
            if all(place.isdecimal() for place in self.places):
                axis |= {"tickMinStep": 1, "format": "d"}
            scale = {"zero": False, "nice": False}
            return {along: {"field": "x", "type": "quantitative", "title": title, "scale": scale, "axis": axis}}
        axis |= {"ticks": False, "labelLimit": 150, "labelAngle": 0, "labelOverlap": False if self.lying else "greedy"}
        if self.upright:
            axis |= {"labels": False} if self.small else {"labelAngle": -90, "labelLimit": 90}
        found: Part = {along: {"field": "x", "type": "nominal", "sort": self.places, "title": title, "axis": axis}}
        if len(self.names) > 1 and not self.merged and self.chart.kind != "lines":
            found[f"{along}Offset"] = {"field": "series", "type": "nominal", "sort": self.names}
        return found

    @property
    def upright(self) -> bool:
        """Whether the names are too many to lie below the plot."""
        return self.named and not self.lying and len(self.places) > LYING

    def series(self, channel: str, values: Sequence[Any]) -> Part:
        """The series in a channel, with the legend that it shares with the others; places may name it already."""
        if not self.names:
            return {}
        scale = {"domain": self.names, "range": [values[i % len(values)] for i in range(len(self.names))]}
        legend: Part | None = None
        if not self.merged:
            legend = {"orient": "top", "title": None, "columns": self.legend_columns, "offset": 4, "symbolOpacity": 1}
            legend |= {"symbolSize": 60, "rowPadding": 2}
            legend["labelLimit"] = 320 if self.legend_columns == 1 else 165
            if self.chart.kind == "lines":
                legend["symbolType"] = "stroke"
        return {channel: {"field": "series", "type": "nominal", "scale": scale, "legend": legend}}

    @property
    def legend_columns(self) -> int:
        """0: as many as there are names."""
        long, width = max(map(len, self.names)) > 18, sum(len(name) + 5 for name in self.names)
        if self.small:
            return 1 if width > 34 else 0
        return 1 if long else 2 if width > 40 else 0

    @property
    def height(self) -> int:
        """By what there is to show, with legend, labels and title; the width is the page's."""
        if self.lying:
            beside = 1 if self.merged else max(1, len(self.names))
            plot = len(self.places) * ((12 if self.small else 18) * beside + 8)
        elif self.chart.kind == "grid":
            plot = max(1, len(self.names)) * (34 if self.small else 48)
        else:
            plot = 130 if self.small else 260
        lines = 0
        if self.names and not self.merged and self.chart.kind != "grid":
            lines = -(-len(self.names) // (self.legend_columns or len(self.names)))
        titled = self.value_title if self.lying else self.chart.x_title and not self.small
        labels = (4 if self.small else 90) if self.upright else 22
        return plot + (12 + 19 * lines if lines else 6) + labels + (22 if titled else 0)

    @property
    def base(self) -> Part:
        """Place, colour and what pointing at a row tells."""
        tips: list[Part] = [
            {"field": "x", "type": "nominal" if self.named else "quantitative",
             "title": self.chart.x_title or self.chart.x},
            {"field": "y", "type": "quantitative", "format": ".4~g", "title": self.value_title or self.chart.y},
        ]  # fmt: skip
        if self.names:
            tips.insert(1, {"field": "series", "type": "nominal", "title": self.chart.series})
        if self.chart.low:
            tips.append({"field": "interval", "type": "nominal", "title": "95 % interval"})
        if self.counted:
            tips.append({"field": "n", "type": "quantitative", "format": ","})
        # Teal and orange for clean and adversarial, as everywhere; other names never get these two.
        colour = self.series("color", colours(self.names)) or {"color": {"value": OTHERS[0]}}
        return {**self.place(), **colour, "tooltip": tips}

    def layer(self, mark: str, encoding: Part, **options: Any) -> Part:
        return {"mark": {"type": mark, **options}, "encoding": {**self.base, **encoding}}

    def whiskers(self) -> list[Part]:
        if not self.chart.low:
            return []
        return [self.layer("rule", {**self.value("low"), f"{self.across}2": {"field": "high"}}, strokeWidth=2)]

    def zero(self) -> list[Part]:
        """Where values may be negative, where zero is."""
        if self.chart.y_scale == "log" or not self.ends[0] < 0 < self.ends[1]:
            return []
        mark = {"type": "rule", "color": GREY, "strokeDash": [3, 3]}
        return [{"data": {"values": [{}]}, "mark": mark, "encoding": {self.across: {"datum": 0}}}]


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


def ends_of(rows: pd.DataFrame, bars: bool, percent: bool) -> tuple[float, float]:
    """A value axis that holds every interval: from 0 for bars, to 100 where shares come near it."""
    low, high = float(min(*rows["low"], *rows["y"])), float(max(*rows["high"], *rows["y"]))
    if percent and low >= 0 and 40 < high <= 100:
        return 0.0, 100.0
    from_zero = bars or (low >= 0 and low < 0.6 * high)
    low, high = (min(0.0, low), max(0.0, high)) if from_zero else (low, high)
    room = 0.08 * (high - low) or 1.0
    return (low if low == 0 else low - room), (high if high == 0 else high + room)


def decades(ends: tuple[float, float]) -> list[float]:
    """Powers of ten from end to end; every second where there are many."""
    first, last = round(math.log10(ends[0])), round(math.log10(ends[1]))
    return [10.0**k for k in range(first, last + 1, 1 if last - first < 6 else 2)]


def panels(finding: api.Finding, index: int, small: bool = False) -> list[Panel]:
    """The chart's plots, all on the same scales; none where no row has a value. Small: for a row of the overview."""
    chart, rows = finding.charts[index], rows_of(finding, index)
    if rows.empty:
        return []
    if chart.kind == "points" and chart.percent and all(isinstance(x, (int, float)) for x in rows["x"]):
        rows["x"] = 100 * rows["x"]  # a scatter of two shares
    named = chart.kind == "grid" or bool(rows["x"].map(lambda x: isinstance(x, str)).any())
    if named or chart.kind == "bars":
        rows["x"] = rows["x"].map(label)
    ends = ends_of(rows, chart.kind == "bars", chart.percent)
    if chart.y_scale == "log":
        low, high = float(min(rows["low"])), float(max(rows["high"]))
        ends = (10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))
    names = list(dict.fromkeys(rows["series"])) if chart.series else []
    merged = named and chart.kind in ("bars", "points") and _sparse(rows, len(names))
    if merged:
        rows["x"] = _pairs(rows)
    places = list(dict.fromkeys(map(label, rows["x"])))
    drawing = Drawing(chart, small, names, places, ends, named, merged, "n" in rows)
    draw = {"bars": bars, "lines": lines, "points": points, "grid": grid}[chart.kind]
    found: list[Panel] = []
    for facet, part in rows.groupby("facet", sort=False):
        values = part.drop(columns="facet").astype(object).where(part.notna(), None).to_dict("records")
        padding = {"top": 4, "bottom": 4, "left": 2, "right": 10}
        layers = draw(drawing, len(part))
        spec = {"data": {"values": values}, "layer": layers, "height": drawing.height, "padding": padding}
        found.append(Panel(str(facet), spec))
    return found


def _sparse(rows: pd.DataFrame, n_names: int) -> bool:
    """Whether under three quarters of the places have every series."""
    pairs = len(set(zip(rows["x"], rows["series"], strict=True)))
    return n_names > 1 and pairs < 0.75 * len(set(rows["x"])) * n_names


def _pairs(rows: pd.DataFrame) -> Any:
    """'dual-bn, clean'; only x where it has one series."""
    single = rows.groupby("x")["series"].transform("nunique") == 1
    return rows["x"].where(single, rows["x"] + ", " + rows["series"])


def bars(d: Drawing, n_rows: int) -> list[Part]:
    """A bar each with its whisker, side by side within a place; on a log axis a bar has no foot, so dots instead."""
    if d.chart.y_scale == "log":
        return points(d, n_rows)
    drawn = d.layer("bar", d.value(), cornerRadiusEnd=2, opacity=0.6 if d.chart.low else 0.85)
    layers = [drawn, *d.whiskers(), *d.zero()]
    if d.lying and d.ends[0] == 0 and not (d.small and n_rows > 8):
        text = {"text": {"field": "y", "type": "quantitative", "format": ".3~g"}, "color": {"value": GREY}}
        layers.append(d.layer("text", {**d.value("high"), **text}, align="left", dx=5, fontSize=11))
    return layers


def points(d: Drawing, _n_rows: int) -> list[Part]:
    """Marks with their intervals."""
    encoding = {**d.value(), **d.series("shape", SHAPES)}
    marks = d.layer("point", encoding, filled=True, size=45 if d.small else 70, opacity=1)
    return [*d.whiskers(), marks, *d.zero()]


def lines(d: Drawing, n_rows: int) -> list[Part]:
    """Lines with bands; every point is marked where there are few."""
    few = n_rows <= 24 * max(1, len(d.names)) and not d.small
    point = {"size": 35} if few else False
    line = d.layer("line", {**d.value(), **d.series("strokeDash", DASHES)}, point=point, strokeWidth=2)
    band = d.layer("area", {**d.value("low"), "y2": {"field": "high"}}, opacity=0.18)
    return [*([band] if d.chart.low else []), line, *d.zero()]


def grid(d: Drawing, _n_rows: int) -> list[Part]:
    """A matrix: the darker a cell, the higher its value, which stands in it."""
    low, high = d.ends
    axis = {"labelFlush": False, "ticks": False, "labelLimit": 130, "labelAngle": 0}
    sides = {
        "x": {"field": "x", "type": "nominal", "sort": d.places, "title": d.chart.x_title or None, "axis": axis},
        "y": {"field": "series", "type": "nominal", "sort": d.names, "title": None, "axis": axis},
        "tooltip": d.base["tooltip"],
    }
    value = {"field": "y", "type": "quantitative"}
    fill = {**value, "scale": {"domain": [low, high], "range": ["#e9eff6", "#33518f"]}, "legend": None}
    dark = {"test": f"datum.y > {low + 0.5 * (high - low)}", "value": "#ffffff"}
    ink = {"condition": dark, "value": "#1d2b35"}
    return [
        {"mark": {"type": "rect", "cornerRadius": 2}, "encoding": {**sides, "color": fill}},
        {"mark": {"type": "text", "fontSize": 11 if d.small else 13},
         "encoding": {**sides, "text": {**value, "format": ".3~g"}, "color": ink}},
    ]  # fmt: skip
