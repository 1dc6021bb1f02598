"""Confusion matrices: what a network makes of each true class."""

from __future__ import annotations

import altair as alt
import pandas as pd


def confusion_chart(rows: pd.DataFrame, title: str) -> alt.LayerChart | alt.FacetChart:
    """Heat map of rows (true, given, count, share in percent of the true class); the diagonal is what is right."""
    order = list(dict.fromkeys(rows["true"]))
    base = alt.Chart(rows).encode(
        x=alt.X("given:N", sort=order, title="the network says", axis=alt.Axis(labelAngle=-40, labelOverlap=False)),
        y=alt.Y("true:N", sort=order, title="it is", axis=alt.Axis(labelOverlap=False)),
    )
    cells = base.mark_rect().encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 100], range=["#eef2f7", "#33518f"]), legend=None),
        tooltip=[
            alt.Tooltip("true:N", title="it is"),
            alt.Tooltip("given:N", title="the network says"),
            alt.Tooltip("count:Q", title="images"),
            alt.Tooltip("share:Q", format=".0f", title="% of this class"),
        ],
    )
    text = (
        base.transform_filter("datum.count > 0")
        .mark_text(fontSize=12)
        .encode(text="count:Q", color=alt.condition("datum.share > 45", alt.value("#ffffff"), alt.value("#22303a")))
    )
    return alt.layer(cells, text).properties(height=330, title=title)
