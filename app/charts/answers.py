"""What a network says of one picture along lambda: a line a class."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from app.charts.attacks import ATTACK_COLOURS, DASHES

MOST, LEAST = len(ATTACK_COLOURS), 0.02
"""Lines at most; a class below this probability everywhere gets none."""


def answer_rows(
    lams: Sequence[float], probabilities: npt.NDArray[np.floating], classes: Sequence[str], label: int
) -> pd.DataFrame:
    """A row a lambda and class, probability in percent: the likeliest classes, and the label whatever it gets."""
    order = [int(k) for k in probabilities.max(0).argsort()[::-1] if probabilities[:, k].max() >= LEAST]
    kept = order[:MOST] if label in order[:MOST] else [*order[: MOST - 1], label]
    rows = [
        {"lambda": lam, "class": classes[k], "probability": 100 * float(probabilities[i, k])}
        for k in kept
        for i, lam in enumerate(lams)
    ]
    return pd.DataFrame(rows)


def answer_chart(rows: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Probability over lambda, a line a class in its own colour and dash."""
    order = list(dict.fromkeys(rows["class"]))
    legend = alt.Legend(
        orient="top", title=None, symbolType="stroke", symbolStrokeWidth=3, symbolSize=400, symbolOpacity=1
    )
    base = alt.Chart(rows).encode(
        x=alt.X("lambda:Q", title="λ: clean → adversarial", axis=alt.Axis(grid=False, tickCount=5, format=".2~f")),
        y=alt.Y("probability:Q", title="probability, %", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=5)),
        color=alt.Color("class:N", scale=alt.Scale(domain=order, range=ATTACK_COLOURS[: len(order)]), legend=legend),
    )
    line = base.mark_line(strokeWidth=2.5).encode(
        strokeDash=alt.StrokeDash("class:N", scale=alt.Scale(domain=order, range=DASHES[: len(order)]), legend=legend)
    )
    points = base.mark_point(size=45, filled=True, opacity=1).encode(
        tooltip=[
            alt.Tooltip("class:N"),
            alt.Tooltip("lambda:Q", title="λ"),
            alt.Tooltip("probability:Q", format=".1f", title="probability, %"),
        ],
    )
    return alt.layer(line, points).properties(height=280)
