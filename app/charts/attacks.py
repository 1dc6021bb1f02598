"""Charts of attacks: robust accuracy against eps and steps, the transfer matrix, the loss surface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import altair as alt
import pandas as pd
import plotly.graph_objects as go

from engine import api

COLOURS = ["#1b8ea3", "#e0681f"]
AXES = ("along the attack", "random signs", "loss")


def curve_rows(points: Iterable[tuple[float, str, api.EvalRecord]]) -> pd.DataFrame:
    """One row a point: x, setting, accuracy in percent with its 95 % interval."""
    return pd.DataFrame(
        {"x": x, "setting": setting, "accuracy": 100 * r.interval.value, "low": 100 * r.interval.low,
         "high": 100 * r.interval.high, "n": r.n}
        for x, setting, r in points
    )  # fmt: skip


def curve_chart(rows: pd.DataFrame, title: str, log: bool) -> alt.LayerChart | alt.FacetChart:
    """Accuracy with its band, a line a setting."""
    order = list(dict.fromkeys(rows["setting"]))
    scale = alt.Scale(domain=order, range=COLOURS)
    base = alt.Chart(rows).encode(
        x=alt.X("x:Q", title=title, scale=alt.Scale(type="log") if log else alt.Scale()),
        color=alt.Color("setting:N", scale=scale, legend=alt.Legend(orient="top", title=None)),
    )
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", scale=alt.Scale(domain=[0, 100])), y2="high:Q")
    line = base.mark_line(point=alt.OverlayMarkDef(size=45)).encode(
        y=alt.Y("accuracy:Q", title="accuracy, %", scale=alt.Scale(domain=[0, 100])),
        strokeDash=alt.StrokeDash("setting:N", scale=alt.Scale(domain=order, range=[[1, 0], [7, 5]]), legend=None),
        tooltip=[
            alt.Tooltip("setting:N"), alt.Tooltip("x:Q", title=title), alt.Tooltip("accuracy:Q", format=".1f"),
            alt.Tooltip("low:Q", format=".1f", title="95 % from"), alt.Tooltip("high:Q", format=".1f", title="to"),
            alt.Tooltip("n:Q"),
        ],
    )  # fmt: skip
    return alt.layer(band, line).properties(height=280)


def distance_chart(rows: Sequence[tuple[str, float]], farthest: float) -> alt.Chart:
    """Histogram of the smallest eps per image, a colour a setting; images beyond the largest eps are left out."""
    frame = pd.DataFrame(rows, columns=["setting", "eps"])
    order = list(dict.fromkeys(frame["setting"]))
    return (
        alt.Chart(frame.query("eps <= @farthest"))
        .mark_bar(opacity=0.6)
        .encode(
            x=alt.X("eps:Q", bin=alt.Bin(extent=[0, farthest], step=2), title="smallest eps that fools it, in 1/255"),
            y=alt.Y("count():Q", title="images", stack=None),
            color=alt.Color(
                "setting:N", scale=alt.Scale(domain=order, range=COLOURS), legend=alt.Legend(orient="top", title=None)
            ),
            tooltip=["setting:N", alt.Tooltip("count():Q", title="images")],
        )
        .properties(height=240)
    )


def matrix_chart(rows: Sequence[api.Transfer]) -> alt.LayerChart | alt.FacetChart:
    """Accuracy in percent: crafted at (up), judged at (right); the diagonal is white-box."""
    cells = pd.DataFrame(
        {"crafted": row.crafted_at.affine, "judged": setting.affine, "accuracy": 100 * i.value,
         "interval": f"{100 * i.low:.0f} to {100 * i.high:.0f} %, n {row.n}", "white": row.crafted_at == setting}
        for row in rows if isinstance(row.crafted_at, api.NormSetting)
        for setting, i in zip(row.judged_at, row.intervals, strict=True)
    )  # fmt: skip
    base = alt.Chart(cells).encode(
        x=alt.X("judged:O", title="judged at λ", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("crafted:O", title="crafted at λ", sort="descending"),
    )
    fill = alt.Color("accuracy:Q", scale=alt.Scale(domain=[0, 100], range=["#eef2f7", "#33518f"]), legend=None)
    rect = base.mark_rect().encode(
        color=fill,
        stroke=alt.condition("datum.white", alt.value("#d9580d"), alt.value("#00000000")),
        strokeWidth=alt.value(2),
        tooltip=["crafted:O", "judged:O", alt.Tooltip("accuracy:Q", format=".1f"), "interval:N"],
    )
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text("accuracy:Q", format=".0f"),
        color=alt.condition("datum.accuracy > 45", alt.value("#ffffff"), alt.value("#22303a")),
    )
    return alt.layer(rect, text).properties(height=300)


def surface_figure(found: api.Surface, dark: bool) -> go.Figure:
    """The loss as a landscape, coloured by the margin: blue is right, orange is fooled."""
    limit = float(abs(found.margin).max()) or 1.0
    shading = [[0.0, "#1b6f93"], [0.5, "#f2efe9"], [1.0, "#c8540c"]]
    landscape = go.Surface(
        x=found.ticks, y=found.ticks, z=found.loss, surfacecolor=found.margin, cmin=-limit, cmax=limit,
        colorscale=shading, colorbar={"title": "margin", "thickness": 12, "len": 0.6},
        hovertemplate="attack %{x:.1f}, random %{y:.1f}<br>loss %{z:.2f}<extra></extra>",
    )  # fmt: skip
    middle = len(found.ticks) // 2
    one = int(abs(found.ticks - 1).argmin())
    marks = go.Scatter3d(
        x=[found.ticks[middle], found.ticks[one]], y=[0, 0],
        z=[found.loss[middle, middle], found.loss[middle, one]],
        mode="markers+text", text=["image", "attacked"], textposition="top center",
        marker={"size": 5, "color": "#e6edf0" if dark else "#0d161b"}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    figure = go.Figure([landscape, marks])
    axes: dict[str, object] = {f"{axis}axis_title": title for axis, title in zip("xyz", AXES, strict=True)}
    axes |= {"aspectmode": "cube", "camera_eye": {"x": 1.3, "y": -1.4, "z": 0.8}}
    axes["camera_center"] = {"z": -0.15}
    figure.update_layout(height=440, margin={"l": 0, "r": 0, "t": 0, "b": 0}, scene=axes)
    return figure
