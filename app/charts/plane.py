"""The NS x AP plane: clean and robust accuracy of every combination, as two heatmaps."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from engine import api


def plane(records: Iterable[api.EvalRecord], design: api.NormDesign) -> pd.DataFrame:
    """One row a cell (7 x 7) and kind: ap, ns, accuracy in percent with its interval; empty where not swept."""
    found = {(r.setting, "clean" if r.attack is None else "robust"): r for r in records if _main(r)}
    rows: list[dict[str, object]] = []
    for ap in api.PLANE:
        for ns in api.PLANE:
            key = api.canonical(api.NormSetting(ap, api.Stored(ns)), design)
            for kind in ("clean", "robust"):
                record = found.get((key, kind))
                if record is not None:
                    low, high = 100 * record.interval.low, 100 * record.interval.high
                    rows.append({
                        "ap": round(ap, 2), "ns": round(ns, 2), "kind": f"{kind} accuracy",
                        "accuracy": 100 * record.interval.value, "interval": f"{low:.0f} to {high:.0f} %, n {record.n}",
                    })  # fmt: skip
    return pd.DataFrame(rows)


def _main(record: api.EvalRecord) -> bool:
    return record.attack is None or record.attack == api.pgd(10, api.MAIN_EPS)


def plane_chart(frame: pd.DataFrame, kind: str) -> alt.LayerChart | alt.FacetChart:
    """One kind's heatmap; a click on a cell selects it (selection 'cell', fields ap and ns)."""
    frame = frame.query("kind == @kind")
    pick = alt.selection_point(name="cell", fields=["ap", "ns"], on="click", empty=False)
    base = alt.Chart(frame).encode(
        x=alt.X("ap:O", title="λ of AP: clean → adversarial", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("ns:O", title="λ of NS", sort="descending"),
    )
    cells = base.mark_rect(cursor="pointer").encode(
        color=alt.Color(
            "accuracy:Q",
            scale=alt.Scale(domain=[0, 100], range=["#eef2f7", "#33518f"]),
            legend=None,
        ),
        stroke=alt.condition(pick, alt.value("#d9580d"), alt.value("#00000000")),
        strokeWidth=alt.value(2),
        tooltip=[
            alt.Tooltip("ap:O", title="λ of AP"),
            alt.Tooltip("ns:O", title="λ of NS"),
            alt.Tooltip("accuracy:Q", format=".1f", title="accuracy, %"),
            alt.Tooltip("interval:N", title="95 % interval"),
        ],
    )
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("accuracy:Q", format=".0f"),
        color=alt.condition("datum.accuracy > 45", alt.value("#ffffff"), alt.value("#22303a")),
    )
    return alt.layer(cells.add_params(pick), text).properties(height=270, title=kind)
