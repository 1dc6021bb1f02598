"""Charts of attacks: accuracy against eps and steps, distances, the transfer matrix, the loss surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd
import plotly.graph_objects as go

from engine import api

COLOURS = ["#1b8ea3", "#e0681f"]
"""Of the left and the right network; attacks have colours of their own."""
ATTACK_COLOURS = ["#9a8a1f", "#5b7fd6", "#c9549b", "#3f9d78", "#8a6fd1"]
DASHES = [[1, 0], [7, 4], [2, 3], [10, 3, 2, 3], [4, 4]]
BIN = 2
AXES = ("along the attack", "random signs", "loss")
Layered = alt.LayerChart | alt.FacetChart


def curve_chart(
    rows: pd.DataFrame, x: str, title: str, colours: Mapping[str, str], here: float | None = None
) -> Layered:
    """Accuracy in percent with its 95 % band against column `x`; a line each value of column `curve`, in its colour.

    here: where on `x` a dotted rule stands.
    """
    order = list(dict.fromkeys(rows["curve"]))
    ticks = sorted(set(rows[x]))
    every, form = {"steps": (0, "d"), "eps_255": (4, "d"), "lambda": (0.25, "~g")}[x]
    shown = [tick for tick in ticks if not every or tick % every == 0]
    scale = alt.Scale(type="log" if x == "steps" else "linear", nice=False, domain=[ticks[0], ticks[-1]])
    span = alt.Scale(domain=[0, 100])
    legend = alt.Legend(
        orient="top", title=None, columns=3, symbolType="stroke", symbolStrokeWidth=3, symbolSize=400, symbolOpacity=1
    )
    base = alt.Chart(rows.drop(columns=["command", "weights"])).encode(
        x=alt.X(
            f"{x}:Q", title=title, scale=scale, axis=alt.Axis(values=shown, grid=False, labelOverlap=True, format=form)
        ),
        color=alt.Color("curve:N", scale=alt.Scale(domain=order, range=[colours[one] for one in order]), legend=legend),
    )
    band = base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q", scale=span), y2="high:Q")
    line = base.mark_line(strokeWidth=2.5).encode(
        y=alt.Y("accuracy:Q", title="still right, %", scale=span, axis=alt.Axis(tickCount=5)),
        strokeDash=alt.StrokeDash("curve:N", scale=alt.Scale(domain=order, range=DASHES[: len(order)]), legend=legend),
    )
    points = base.mark_point(size=45, filled=True, opacity=1).encode(
        y=alt.Y("accuracy:Q", scale=span),
        tooltip=[
            alt.Tooltip("curve:N"), alt.Tooltip(f"{x}:Q", title=title),
            alt.Tooltip("accuracy:Q", format=".1f", title="still right, %"),
            alt.Tooltip("low:Q", format=".1f", title="95 % from"), alt.Tooltip("high:Q", format=".1f", title="to"),
            alt.Tooltip("n:Q"), alt.Tooltip("attack:N"),
        ],
    )  # fmt: skip
    if here is None:
        return alt.layer(band, line, points).properties(height=300)
    rule = alt.Chart(pd.DataFrame({x: [here]})).mark_rule(color="#56656d", strokeDash=[2, 3]).encode(x=f"{x}:Q")
    return alt.layer(band, line, points, rule).properties(height=300)


def film_chart(rows: pd.DataFrame, y: str, title: str) -> alt.Chart:
    """Column `y` of a film's frames, a line a network. rows: lambda, frame, loss, margin."""
    names = [f"λ = {lam:g}" for lam in dict.fromkeys(rows["lambda"])]
    rows = rows.assign(network=rows["lambda"].map("λ = {:g}".format), at=rows.groupby("lambda").cumcount() - 1)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1)
    return (
        alt.Chart(rows[["lambda", "network", "at", "frame", y]])
        .mark_line(point=alt.OverlayMarkDef(size=30))
        .encode(
            x=alt.X("at:Q", title="step; -1: the image", axis=alt.Axis(grid=False, format="d", tickMinStep=1)),
            y=alt.Y(f"{y}:Q", title=title),
            color=alt.Color("network:N", scale=alt.Scale(domain=names, range=COLOURS[: len(names)]), legend=legend),
        )
        .properties(height=260)
    )


def surface_chart(rows: pd.DataFrame, highest: float) -> alt.Chart:
    """The loss around an image from above, the darkest at `highest`. rows: along_attack, random_signs, loss."""
    return (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=alt.X("along_attack:O", title=AXES[0], axis=alt.Axis(labelOverlap=True, labelAngle=0, format=".1f")),
            y=alt.Y("random_signs:O", title=AXES[1], sort="descending", axis=alt.Axis(labelOverlap=True, format=".1f")),
            color=alt.Color("loss:Q", scale=alt.Scale(domain=[0, highest], range=["#eef2f7", "#33518f"])),
        )
        .properties(height=340)
    )


def distance_chart(rows: pd.DataFrame, farthest: float, most: int, colour: str) -> alt.Chart:
    """Histogram of one network's smallest eps per image, up to `most` images high; those beyond `farthest` left out."""
    near = rows[rows["smallest_eps_255"] <= farthest].drop(columns=["command", "weights"])
    return (
        alt.Chart(near)
        .mark_bar(cornerRadiusTopLeft=2, cornerRadiusTopRight=2, color=colour)
        .encode(
            x=alt.X(
                "smallest_eps_255:Q", bin=alt.Bin(extent=[0, farthest], step=BIN),
                title="smallest eps that fools it, in 1/255", scale=alt.Scale(domain=[0, farthest]),
                axis=alt.Axis(values=list(range(0, int(farthest) + 1, 4)), format="d", grid=False),
            ),
            y=alt.Y(
                "count():Q", title="images", scale=alt.Scale(domain=[0, most]), axis=alt.Axis(tickCount=4, format="d")
            ),
            tooltip=[alt.Tooltip("count():Q", title="images")],
        )
        .properties(height=220)
    )  # fmt: skip


def matrix_chart(rows: pd.DataFrame) -> Layered:
    """Accuracy in percent: crafted at (up), judged at (right); the framed diagonal is white-box."""
    cells = rows.assign(
        range=[f"{low:.0f} to {high:.0f}" for low, high in zip(rows["low"], rows["high"], strict=True)]
    ).drop(columns=["command", "weights"])
    base = alt.Chart(cells).encode(
        x=alt.X("judged_at:O", title="judged at λ", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("crafted_at:O", title="crafted at λ", sort="descending"),
        tooltip=[
            "crafted_at:O", "judged_at:O", alt.Tooltip("accuracy:Q", format=".1f"),
            alt.Tooltip("range:N", title="95 % interval"), "n:Q",
        ],
    )  # fmt: skip
    fill = alt.Color("accuracy:Q", scale=alt.Scale(domain=[0, 100], range=["#eef2f7", "#33518f"]), legend=None)
    ink = alt.condition("datum.accuracy > 65", alt.value("#ffffff"), alt.value("#22303a"))
    rect = base.mark_rect().encode(color=fill)
    frame = base.transform_filter("datum.white_box").mark_rect(
        filled=False, stroke="#e0681f", strokeWidth=3, fillOpacity=0
    )
    text = base.mark_text(fontSize=15, fontWeight=600, dy=-7).encode(
        text=alt.Text("accuracy:Q", format=".0f"), color=ink
    )
    small = base.mark_text(fontSize=11, dy=10).encode(text="range:N", color=ink)
    return alt.layer(rect, frame, text, small).properties(height=64 * rows["crafted_at"].nunique() + 60)


def surface_figure(found: api.Surface, every: Sequence[api.Surface]) -> go.Figure:
    """The loss as a landscape, coloured by the margin (blue right, orange fooled), on scales common to `every`."""
    limit = min(float(abs(one.margin).max()) for one in every) or 1.0
    highest = max(float(one.loss.max()) for one in every) * 1.08 or 1.0
    shading = [[0.0, "#1b6f93"], [0.5, "#f2efe9"], [1.0, "#c8540c"]]
    landscape = go.Surface(
        x=found.ticks, y=found.ticks, z=found.loss, surfacecolor=found.margin, cmin=-limit, cmax=limit,
        colorscale=shading, showscale=False,
        hovertemplate="attack %{x:.1f}, random %{y:.1f}<br>loss %{z:.2f}<extra></extra>",
    )  # fmt: skip
    middle = len(found.ticks) // 2
    one = int(abs(found.ticks - 1).argmin())
    marks = go.Scatter3d(
        x=[found.ticks[middle], found.ticks[one]], y=[0, 0],
        z=[found.loss[middle, at] + highest / 40 for at in (middle, one)],
        mode="lines+markers", line={"color": "#0d161b", "width": 4},
        marker={"size": 6, "color": "#ffffff", "line": {"color": "#0d161b", "width": 2}},
        text=["image", "attacked image"], hovertemplate="%{text}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure = go.Figure([landscape, marks])
    axes: dict[str, object] = {
        f"{axis}axis": {"title": {"text": title, "font": {"size": 12}}, "nticks": 5, "tickfont": {"size": 10}}
        for axis, title in zip("xyz", AXES, strict=True)
    }
    axes["zaxis"] = {"title": {"text": "loss"}, "nticks": 5, "tickfont": {"size": 10}, "range": [0, highest]}
    axes |= {"aspectmode": "manual", "aspectratio": {"x": 1.25, "y": 1.25, "z": 0.85}}
    axes |= {"camera": {"eye": {"x": -0.8, "y": -1.9, "z": 1}, "center": {"z": -0.28}}}
    figure.update_layout(height=380, margin={"l": 8, "r": 8, "t": 0, "b": 0}, scene=axes)
    return figure
