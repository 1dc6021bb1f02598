"""One way to draw every chart of an experiment: bars, lines, points or a grid, a panel for each value of its facet.

Usage::

    for panel in panels(finding, 0):
        panel.title, panel.spec         # the first chart of engine.api.Finding `finding`, as Vega-Lite

Written as Vega-Lite itself: Altair checks every part of a chart against its schema, which takes 50 ms a panel, and a
page of claims has forty. It checks them in the tests instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.charts.evidence import GREY, OTHERS, colours, decades, ends_of, label, pairs_of, rows_of, sparse
from engine import api

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
        unit = ", points" if self.ends[0] < 0 else ", %"  # below 0 it is a difference of shares
        return self.chart.y_title + unit if self.chart.percent else self.chart.y_title

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
            axis |= {"values": decades(self.ends), "format": "~g"}
        if self.small and self.lying:  # the names leave little room for it
            axis |= {"titleAnchor": "end"}
        title = self.value_title or None
        return {self.across: {"field": field, "type": "quantitative", "scale": scale, "title": title, "axis": axis}}

    def place(self) -> Part:
        """The other axis: names in the order of the table, or numbers; series side by side within a name."""
        along = "y" if self.lying else "x"
        share = ", %" if self.chart.percent and self.chart.kind == "points" and not self.named else ""
        title = None if self.small or not self.chart.x_title else self.chart.x_title + share
        if self.small and self.upright:  # there is no room for the names
            title = self.chart.x_title or self.chart.x
        axis: Part = {"labelFlush": False}
        if not self.named and self.chart.kind != "bars":
            if all(place.isdecimal() for place in self.places):
                axis |= {"tickMinStep": 1, "format": "d"}
            scale = {"zero": False, "nice": False, "padding": 16 if self.chart.kind == "points" else 0}
            return {along: {"field": "x", "type": "quantitative", "title": title, "scale": scale, "axis": axis}}
        axis |= {"ticks": False, "labelAngle": 0, "labelOverlap": False if self.lying else "greedy"}
        axis["labelLimit"] = 120 if self.small else 175
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

    @property
    def stacked(self) -> bool:
        """Whether a grid's names below it stand word under word, because its cells are narrow on a phone."""
        return self.chart.kind == "grid" and len(self.places) > 3

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
        labels = (26 if self.small else 90) if self.upright else 34 if self.stacked else 22
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


def panels(finding: api.Finding, index: int, small: bool = False) -> list[Panel]:
    """The chart's plots; none where no row has a value. Small: for a row of the overview.

    All on the same scale, unless one would be flat on it: metrics have units of their own.
    """
    chart, rows = finding.charts[index], rows_of(finding, index)
    if rows.empty:
        return []
    if chart.kind == "points" and chart.percent and all(isinstance(x, (int, float)) for x in rows["x"]):
        rows["x"] = 100 * rows["x"]  # a scatter of two shares
    named = chart.kind == "grid" or bool(rows["x"].map(lambda x: isinstance(x, str)).any())
    if named or chart.kind == "bars":
        rows["x"] = rows["x"].map(label)
    names = list(dict.fromkeys(rows["series"])) if chart.series else []
    merged = named and chart.kind in ("bars", "points") and sparse(rows, len(names))
    if merged:
        rows["x"] = pairs_of(rows)
    places = list(dict.fromkeys(map(label, rows["x"])))
    draw = {"bars": bars, "lines": lines, "points": points, "grid": grid}[chart.kind]
    ends = ends_of(rows, chart)
    parts = [(str(facet), part) for facet, part in rows.groupby("facet", sort=False)]
    own = {facet: ends_of(part, chart) for facet, part in parts}
    alike = chart.percent or all(4 * (high - low) >= ends[1] - ends[0] for low, high in own.values())
    found: list[Panel] = []
    for facet, part in parts:
        drawing = Drawing(chart, small, names, places, ends if alike else own[facet], named, merged, "n" in rows)
        values = part.drop(columns="facet").astype(object).where(part.notna(), None).to_dict("records")
        padding = {"top": 4, "bottom": 4, "left": 2, "right": 10}
        layers = draw(drawing, len(part))
        spec = {"data": {"values": values}, "layer": layers, "height": drawing.height, "padding": padding}
        found.append(Panel(facet, spec))
    return found


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
    axis: Part = {"labelFlush": False, "ticks": False, "labelLimit": 130, "labelAngle": 0, "labelOverlap": False}
    stack = "split(replace(datum.label, 'adversarial', 'adv.'), ' ')"
    below: Part = {**axis, "labelExpr": stack, "labelFontSize": 10} if d.stacked else axis
    sides = {
        "x": {"field": "x", "type": "nominal", "sort": d.places, "title": d.chart.x_title or None, "axis": below},
        "y": {"field": "series", "type": "nominal", "sort": d.names, "title": d.chart.series, "axis": axis},
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
