"""Charts of the Layers page: distances by depth, bars of channels, accuracies, one channel's values, a mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

ATTACKED, NOISY, OTHER, STORED = "attacked images", "noisy images", "other clean images", "the two stored NS"
COLOURS = {ATTACKED: "#e0681f", NOISY: "#8f6fcf", OTHER: "#7b8a93", STORED: "#5b78c4"}
DASHES = {ATTACKED: [1, 0], NOISY: [7, 4], OTHER: [2, 3], STORED: [1, 0]}
CLEAN_COLOUR, ADV_COLOUR = "#1b8ea3", "#e0681f"


def depth_chart(rows: pd.DataFrame, title: str, selected: int, stored: bool) -> alt.LayerChart | alt.FacetChart:
    """Distance from the clean images by depth, a line a source, with its 95 % band and the picked layer marked.

    rows: depth, layer, source, value, low, high.
    """
    rows = rows if stored else rows.query("source != @STORED")
    order = [name for name in COLOURS if name in set(rows["source"])]
    scale = alt.Scale(domain=order, range=[COLOURS[name] for name in order])
    base = alt.Chart(rows).encode(
        x=alt.X("depth:Q", title="norm layer, input to output", axis=alt.Axis(tickMinStep=1, grid=False)),
        color=alt.Color(
            "source:N",
            scale=scale,
            legend=alt.Legend(
                orient="top",
                title=None,
                columns=2,
                labelLimit=220,
                symbolType="stroke",
                symbolSize=200,
                columnPadding=8,
                symbolOpacity=1,
            ),
        ),
    )
    rule = alt.Chart(pd.DataFrame({"depth": [selected]})).mark_rule(color="#7b8a93", opacity=0.6).encode(x="depth:Q")
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    line = base.mark_line(point=alt.OverlayMarkDef(size=32), strokeWidth=2).encode(
        y=alt.Y("value:Q", title=title, axis=alt.Axis(tickCount=4, format="~g")),
        strokeDash=alt.StrokeDash(
            "source:N", scale=alt.Scale(domain=order, range=[DASHES[name] for name in order]), legend=None
        ),
        tooltip=[
            alt.Tooltip("layer:N"), alt.Tooltip("source:N"), alt.Tooltip("value:Q", format=".4f", title="distance"),
            alt.Tooltip("low:Q", format=".4f", title="95 % from"), alt.Tooltip("high:Q", format=".4f", title="to"),
        ],
    )  # fmt: skip
    return alt.layer(rule, band, line).properties(height=270)


def bars_chart(rows: pd.DataFrame, axis: str, picked: int) -> alt.LayerChart | alt.FacetChart:
    """Two bars a channel, and a grey band behind the picked one. rows: channel, images, value, each channel twice."""
    order = list(dict.fromkeys(rows["images"]))
    x = alt.X("channel:O", title="channel", axis=alt.Axis(labelOverlap=True, labelAngle=0, ticks=False))
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=x, xOffset=alt.XOffset("images:N", sort=order),
            y=alt.Y("value:Q", title=axis, axis=alt.Axis(tickCount=4)),
            color=alt.Color(
                "images:N", scale=alt.Scale(domain=order, range=[CLEAN_COLOUR, ADV_COLOUR]),
                legend=alt.Legend(orient="top", title=None, labelLimit=340),
            ),
        )
    )  # fmt: skip
    here = alt.Chart(pd.DataFrame({"channel": [picked]})).mark_bar(color="#7b8a93", opacity=0.2)
    band = here.encode(x=x, y=alt.value(0), y2=alt.value("height"))
    return alt.layer(band, bars).properties(height=220)


def accuracy_chart(rows: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Share of each source's images that are told right, with its interval. rows: source, accuracy, low, high, n."""
    order = list(rows["source"])
    colours = {"clean images": CLEAN_COLOUR} | COLOURS
    base = alt.Chart(rows).encode(
        y=alt.Y("source:N", sort=order, title=None, axis=alt.Axis(labelLimit=140, ticks=False, domain=False)),
        color=alt.Color(
            "source:N", scale=alt.Scale(domain=order, range=[colours[name] for name in order]), legend=None
        ),
        tooltip=[
            alt.Tooltip("source:N"), alt.Tooltip("accuracy:Q", format=".1f", title="accuracy, %"),
            alt.Tooltip("low:Q", format=".1f", title="95 % from"), alt.Tooltip("high:Q", format=".1f", title="to"),
            alt.Tooltip("n:Q"),
        ],
    )  # fmt: skip
    scale = alt.Scale(domain=[0, 100])
    bar = base.mark_bar(opacity=0.85, height=20, cornerRadiusEnd=3).encode(
        x=alt.X("accuracy:Q", title="told right, %", scale=scale)
    )
    whisker = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q", color=alt.value("#7b8a93")
    )
    return alt.layer(bar, whisker).properties(height=190)


def histogram_rows(bounds: Sequence[float], counts: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Counts between bounds, as percent of each source's values."""
    return pd.DataFrame(
        {"from": low, "to": high, "source": name, "share": 100 * count / max(1, sum(values))}
        for name, values in counts.items()
        for low, high, count in zip(bounds[:-1], bounds[1:], values, strict=True)
    )


def histogram_chart(rows: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Both sources' values over each other, as filled steps."""
    order = list(dict.fromkeys(rows["source"]))
    base = alt.Chart(rows).encode(
        x=alt.X("from:Q", title="value that enters the layer", axis=alt.Axis(grid=False, tickCount=7)),
        y=alt.Y("share:Q", title="% of all values", stack=None, axis=alt.Axis(tickCount=4)),
        color=alt.Color(
            "source:N", scale=alt.Scale(domain=order, range=[CLEAN_COLOUR, ADV_COLOUR]),
            legend=alt.Legend(orient="top", title=None, labelLimit=220),
        ),
        tooltip=[
            alt.Tooltip("source:N"), alt.Tooltip("from:Q", format=".2f"), alt.Tooltip("to:Q", format=".2f"),
            alt.Tooltip("share:Q", format=".2f", title="% of values"),
        ],
    )  # fmt: skip
    area = base.mark_area(opacity=0.35, interpolate="step-after", line={"strokeWidth": 1.5})
    return alt.layer(area).properties(height=250)


def plane_chart() -> alt.LayerChart | alt.FacetChart:
    """Clean against robust accuracy: the uniform blends as a line, the mix with both intervals. Its data come later:
    kind (uniform, mix), lam, clean, robust, clean_low, clean_high, robust_low, robust_high, n."""
    columns = ["kind", "lam", "clean", "robust", "clean_low", "clean_high", "robust_low", "robust_high", "n"]
    base = alt.Chart(pd.DataFrame({name: [] for name in columns}))
    x = alt.X("clean:Q", title="clean accuracy, %", scale=alt.Scale(zero=False, nice=True, padding=12))
    y = alt.Y("robust:Q", title="robust accuracy, %", scale=alt.Scale(domain=[0, 100]))
    tooltip = [
        alt.Tooltip("kind:N"), alt.Tooltip("lam:N", title="λ"), alt.Tooltip("clean:Q", format=".1f"),
        alt.Tooltip("robust:Q", format=".1f"), alt.Tooltip("n:Q"),
    ]  # fmt: skip
    uniform = base.transform_filter("datum.kind == 'uniform blend'")
    line = uniform.mark_line(color="#7b8a93", strokeWidth=1.5).encode(x=x, y=y, order="lam:Q")
    dots = uniform.mark_point(filled=True, size=34, opacity=1).encode(
        x=x, y=y, tooltip=tooltip,
        color=alt.Color("lam:Q", scale=alt.Scale(domain=[0, 1], range=[CLEAN_COLOUR, ADV_COLOUR]), legend=None),
    )  # fmt: skip
    ends = uniform.transform_filter("datum.lam == 0 || datum.lam == 1").mark_text(dy=-12, color="#7b8a93")
    labels = ends.encode(x=x, y=y, text=alt.Text("label:N"))
    mix = base.transform_filter("datum.kind == 'your mix'")
    across = mix.mark_rule(color="#8f6fcf", strokeWidth=2).encode(x=alt.X("clean_low:Q"), x2="clean_high:Q", y=y)
    up = mix.mark_rule(color="#8f6fcf", strokeWidth=2).encode(x=x, y=alt.Y("robust_low:Q"), y2="robust_high:Q")
    here = mix.mark_point(filled=True, size=130, shape="diamond", color="#8f6fcf", opacity=1).encode(
        x=x, y=y, tooltip=tooltip
    )
    return alt.layer(line, dots, labels, across, up, here).properties(height=330)
